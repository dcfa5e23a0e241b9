"""The figures of docs/reproduction.md: the penalty chart of each report, from the records under results/paper/."""

from __future__ import annotations

import pandas as pd
from judged import FOLDER, over_seeds

import modelstitch as ms
from modelstitch.recipe import paper_recipe, paper_recipes
from modelstitch.recipe.published import Reference
from modelstitch.report import Findings
from modelstitch.report.gallery import Gallery


def draw() -> None:
    """Write a PNG beside the records of every figure that was run."""
    for figure in run():
        recipe, text = paper_recipe(figure, "small")
        findings = Findings(
            recipe.name,
            recipe.question,
            text,
            by_kind(ms.open_records(FOLDER / f"{figure}-small.jsonl").to_pandas()),
            references=[Reference(f"{one.curve}, {one.figure}", one.figure, one.curve) for one in recipe.reference],
        )
        ms.save_figure(Gallery(findings).print()["penalty"], FOLDER / f"{figure}-small.png")


def by_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs that differ in their seeds alone as one, called after their kinds; where one failed, so has the kind.

    The penalty becomes the mean over the pairs, and its interval Student's; of a single pair both stay as they are.
    """
    kinds = {side: frame[side].str.rsplit("-", n=1).str[0] for side in ("bottom_network", "top_network")}
    alike = ["bottom_cut", "top_cut", "control", "data", "family", "matching", "batch_norm", "n_fit", "seed"]
    found = []
    for _, rows in frame.assign(**kinds).groupby([*kinds, *alike], sort=False):
        failed = rows[rows["status"] != "ok"]
        one = (rows if failed.empty else failed).iloc[0].copy()
        if len(rows) > 1 and failed.empty:
            mean = over_seeds(list(rows["penalty"]))
            one["penalty"], one["penalty_low"], one["penalty_high"] = mean.value, mean.low, mean.high
        found.append(one)
    return pd.DataFrame(found).reset_index(drop=True)


def pictures() -> str:
    """Each figure with its question, and with what stands in the way of comparing heights."""
    found = []
    for figure in run():
        recipe, _ = paper_recipe(figure, "small")
        picture = f"![Penalty over the depth of the bottom: {figure}](../results/paper/{figure}-small.png)"
        curves = ", ".join(f"“{one.curve}” of {one.figure}" for one in recipe.reference)
        beside = f" Dashed: {curves} in the paper, CIFAR-10, for the shape." if curves else ""
        found.append(f"**{figure}.** {recipe.question}{beside}\n\n{picture}")
    return "\n\n".join(found)


def run() -> list[str]:
    """The figures whose records are there."""
    return [figure for figure in paper_recipes() if (FOLDER / f"{figure}-small.jsonl").exists()]

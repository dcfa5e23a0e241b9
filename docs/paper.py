"""The figures of docs/reproduction.md: penalty over depth as each report draws it, over seeds where it has some."""

from __future__ import annotations

from judged import FOLDER

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
            ms.open_records(FOLDER / f"{figure}-small.jsonl").to_pandas(),
            references=[Reference(f"{one.curve}, {one.figure}", one.figure, one.curve) for one in recipe.reference],
            kinds=recipe.kinds(),
        )
        charts = Gallery(findings).print()
        ms.save_figure(charts.get("over_seeds", charts["penalty"]), FOLDER / f"{figure}-small.png")


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

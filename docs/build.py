"""Redraw every figure and table of README and docs from the records under results/: no number is typed by hand.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``, where NAME is a key of `tables`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import choices
import pandas as pd
import paper
import parts
import real
import reproduction
import speed

import modelstitch as ms
import networks
from modelstitch.figures import connectivity_curves
from modelstitch.vocabulary import spoken

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def penalty_table(frame: pd.DataFrame) -> str:
    """One row a cut: the stitchings both ways, the untrained control both ways, CKA; then the recipe."""
    ok = frame[frame["status"] == "ok"]
    real, untrained = ok[ok["control"] == ""], ok[ok["control"] == "untrained"]
    ways = list(dict.fromkeys(zip(real["bottom_network"], real["top_network"], strict=True)))
    head = ["cut of the top", *(f"{a} → {b}" for a, b in ways), *(f"untrained → {b}" for _, b in ways), "CKA"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cut in dict.fromkeys(real["top_cut"]):
        cells = [_cell(part, way, cut) for part in (real, untrained) for way in ways]
        cka = real[real["top_cut"] == cut]["cka"].mean()
        lines.append("| " + " | ".join([f"`{cut}`", *cells, f"{cka:.3f}"]) + " |")
    return "\n".join([*lines, "", _recipe(frame)])


def _cell(rows: pd.DataFrame, way: tuple[str, str], cut: str) -> str:
    found = rows[(rows["bottom_network"] == way[0]) & (rows["top_network"] == way[1]) & (rows["top_cut"] == cut)]
    if found.empty:
        return "–"
    row = found.iloc[0]
    return f"{row['penalty']:+.2f} ({row['penalty_low']:+.2f} to {row['penalty_high']:+.2f})"


def _recipe(frame: pd.DataFrame) -> str:
    first = frame[frame["control"] == ""].iloc[0]
    bases = frame[frame["control"] == ""].groupby("top_network")["error_top"].first()
    selves = frame[frame["control"] == "self"]["penalty"]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    return (
        "Penalty in percentage points of test error, with its 95 % interval over the test examples. "
        f"Base errors: {', '.join(f'{name} {error:.2f} %' for name, error in bases.items())}. "
        f"Self-stitches with the identity: {len(selves)}, penalties from {selves.min():.2f} to {selves.max():.2f}. "
        f"Failed: {int((frame['status'] == 'failed').sum())} of {len(frame)}. "
        f"Data {first['data']}, fitted on {first['n_fit']:,}, measured on {first['n_test']:,}; "
        f"`{spoken(first['family'])}` by `{spoken(first['matching'])}`, batch norm {first['batch_norm']}, "
        f"seed {first['seed']}; {versions}; {first['device']}, {first['threads']} thread."
    )


def between() -> tuple[pd.DataFrame, dict[str, Any]]:
    """The networks between two others, and what was asked and found of them."""
    told = json.loads((parts.CONNECTIVITY / "connectivity.json").read_text(encoding="utf-8"))
    return parts.between(), told


def connectivity_table() -> str:
    """One row a way between two networks: where it is worst; then how it was made."""
    points, told = between()
    lines = ["| way | worst at | test error there | points above the worse network | barrier |", "|---" * 5 + "|"]
    for way, rows in points[points["x"].between(0, 1, inclusive="neither")].groupby("way", sort=False):
        worst, barrier = rows.loc[rows["error"].idxmax()], told["barriers"][way]
        place = f"`{worst['cut']}`" if isinstance(worst["cut"], str) else f"x = {worst['x']:.1f}"
        interval = f"{worst['penalty']:+.2f} ({worst['penalty_low']:+.2f} to {worst['penalty_high']:+.2f})"
        rise = f"{barrier['error']:.2f}" if barrier else "–"
        lines.append(f"| {way} | {place} | {worst['error']:.2f} % | {interval} | {rise} |")
    ends = points[(points["way"] == "stitching") & points["x"].isin((0, 1))]["error"]
    failed = f"Failed: {int((points['status'] == 'failed').sum())} of {len(points)} points"
    bases = f"The two networks themselves: {ends.iloc[0]:.2f} % and {ends.iloc[-1]:.2f} %. {failed}."
    known = ("device", "threads", "versions", "commit")
    asked = "; ".join(
        f"{name} {value}" for name, value in [*told["asked"].items(), *((one, told[one]) for one in known)]
    )
    return "\n".join([*lines, "", f"{told['verdict'].capitalize()}. {bases} Made with {asked}."])


def promises_table() -> str:
    """One row a measure: what it declares, as the tests hold it to."""
    names = ("orthogonal", "isotropic_scale", "translation", "invertible_linear", "permutation")
    head = ["measure", "range", "more is", "metric", *(name.replace("_", " ") for name in names), "rows", "streams"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for measure in ms.MEASURES.values():
        kept = measure.promises
        low, high = (f"{bound:.3g}" for bound in kept.range)
        alike = "alike" if kept.higher_is_more_similar else "apart"
        rows = {"any": "", "advised": ", more than channels advised", "required": ", more than dimensions required"}
        streams = measure.from_moments is not None or measure.streaming is not None
        cells = [f"`{measure.name}`: {measure.title}", f"{low} to {high}", alike, "yes" if kept.metric else "no"]
        cells += ["yes" if name in kept.invariances else "no" for name in names]
        cells += [f"{kept.least_rows}{rows[kept.rows_per_channel]}", "yes" if streams else "no"]
        lines.append("| " + " | ".join(cells) + " |")
    asymmetric = ", ".join(f"`{one.name}`" for one in ms.MEASURES.values() if not one.promises.symmetric)
    return "\n".join(lines) + f"\n\nAll but {asymmetric} are symmetric. Least number of rows in the column *rows*."


def tables() -> dict[str, str]:
    """Every table that a page may ask for, by name."""
    seeds = ms.open_records(ROOT / "results" / "fashion_mnist_seeds" / "records.jsonl")
    return {
        "fashion_mnist_seeds": penalty_table(seeds.to_pandas()),
        "connectivity": connectivity_table(),
        "promises": promises_table(),
        "which_measure": parts.recipe("which_measure").table(ROOT / "results" / "which_measure"),
        "spurious_features": parts.recipe("spurious_figure").table(ROOT / "results" / "spurious_features"),
        "reproduction": reproduction.table(),
        "reproduction_figures": paper.pictures(),
        "batch_norm_choice": choices.batch_norm(),
        "stitch_data_choice": choices.stitch_data(),
        "reproduction_made": reproduction.made_with(),
        **speed.tables(),
        **real.tables(),
        **networks.tables(),
    }


def main() -> None:
    """Figures first, then the tables of every page."""
    folder = ROOT / "results" / "fashion_mnist_seeds"
    records = ms.open_records(folder / "records.jsonl")
    for ending in ("png", "html"):
        ms.save_figure(records.plot(), folder / f"penalty.{ending}")
    spurious = ROOT / "results" / "spurious_features"
    ms.save_figure(parts.recipe("spurious_figure").figure(spurious), spurious / "spurious.png")
    speed.draw()
    paper.draw()
    real.draw()
    points, told = between()
    ms.save_figure(connectivity_curves(points, told), parts.CONNECTIVITY / "connectivity.png")
    made = tables()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        asked = {name for _, name, _ in MARKED.findall(text)}
        if asked - made.keys():
            sys.exit(f"{page} asks for tables of {sorted(asked - made.keys())}, which nothing makes")
        page.write_text(MARKED.sub(lambda m: m[1] + made[m[2]] + "\n" + m[3], text), encoding="utf-8")


if __name__ == "__main__":
    main()

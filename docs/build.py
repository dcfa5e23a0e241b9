"""Redraw every figure and table of README and docs from the records under results/: no number is typed by hand.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``, where NAME is a folder of results/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd

import modelstitch as ms

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
        f"Data {first['data']}, fitted on {first['n_fit']:,}, measured on {first['n_test']:,}; `{first['family']}` by "
        f"`{first['matching']}`, batch norm {first['batch_norm']}, seed {first['seed']}; {versions}; "
        f"{first['device']}, {first['threads']} thread."
    )


def main() -> None:
    """Figures first, then the tables of every page."""
    tables = {}
    for path in sorted((ROOT / "results").glob("*/records.jsonl")):
        records = ms.open_records(path)
        for ending in ("png", "html"):
            ms.save_figure(records.plot(), path.with_name(f"penalty.{ending}"))
        tables[path.parent.name] = penalty_table(records.to_pandas())
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        asked = {name for _, name, _ in MARKED.findall(text)}
        if asked - tables.keys():
            sys.exit(f"{page} asks for tables of {sorted(asked - tables.keys())}, which have no records under results/")
        page.write_text(MARKED.sub(lambda m: m[1] + tables[m[2]] + "\n" + m[3], text), encoding="utf-8")


if __name__ == "__main__":
    main()

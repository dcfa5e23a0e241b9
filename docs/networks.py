"""The tables of docs/networks.md, from the rows that tests/zoo/record.py keeps in results/zoo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelstitch.vocabulary import TASKS

ROWS = Path(__file__).resolve().parents[1] / "results" / "zoo" / "networks.jsonl"
SOURCES = ("timm", "torchvision", "transformers", "awkward")
HEAD = ("network", "captured by", "seconds", "cuts", "first names", "kinds", "halves", "stitched", "axes")
_STEPS = {"capture": "capturing it", "halves": "comparing its halves", "stitch": "stitching it", "axis": "its axes"}

Row = dict[str, Any]


def rows() -> list[Row]:
    """One row a network."""
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def tables() -> dict[str, str]:
    """Every table of the page, by name."""
    found = rows()
    by_source = {f"networks_{source}": _table(HEAD, map(_cells, _of(found, source))) for source in SOURCES}
    return {"networks_totals": _totals(found), "networks_refused": _refused(found), **by_source}


def _of(found: list[Row], source: str) -> list[Row]:
    return [row for row in found if row["source"] == source]


def _table(head: Any, lines: Any) -> str:
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(line) + " |" for line in lines)]
    )


def _captured(row: Row) -> bool:
    return row["captured"] != "no"


def _whole(row: Row) -> bool:
    return row.get("unequal") == []


def _stitched(row: Row) -> bool:
    return "affine" in row and row["self"] == [0, 0, 0]


def _proved(row: Row) -> bool:
    axis = row.get("axis")
    return bool(axis and axis["right"] and not axis["wrong"])


def _totals(found: list[Row]) -> str:
    questions = {
        "networks": lambda row: True,
        "captured": _captured,
        "of these by hooks": lambda row: row["captured"] == "replay",
        "halves equal bit for bit": _whole,
        "stitched end to end": _stitched,
        "built at two widths": lambda row: "axis" in row,
        "axes proved by it": _proved,
    }
    parts = {**{source: _of(found, source) for source in SOURCES}, "all": found}
    lines = [[name, *(str(sum(map(asks, part))) for part in parts.values())] for name, asks in questions.items()]
    compared = sum(row["offered"] for row in found if "unequal" in row)
    legal = sum(row.get("legal", 0) for row in found)
    below = f"Halves were compared at {compared:,} cuts, one a block, of {legal:,} legal ones. {_made(found)}"
    return f"{_table(['', *parts], lines)}\n\n{below}"


def _made(found: list[Row]) -> str:
    told = {
        name: list(dict.fromkeys(json.dumps(row[name]) for row in found))
        for name in ("versions", "device", "threads", "commit")
    }
    versions = "; ".join(", ".join(f"{k} {v}" for k, v in json.loads(one).items()) for one in told["versions"])
    machines, threads, commits = (
        " and ".join(str(json.loads(one)) for one in told[name]) for name in ("device", "threads", "commit")
    )
    return f"Made with {versions}; {machines}, {threads} thread; commit {commits}."


def _cells(row: Row) -> list[str]:
    if not _captured(row):
        return [_name(row), "–", f"{row['seconds']:.1f}", *["–"] * 6]
    more = ", …" if row["offered"] > len(row["names"]) else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in row["kinds"].items())
    return [
        _name(row),
        {"export": "export", "replay": "hooks"}[row["captured"]],
        f"{row['seconds']:.1f}",
        f"{row['offered']} of {row['legal']}",
        ", ".join(f"`{name}`" for name in row["names"]) + more,
        kinds,
        _halves(row),
        f"{TASKS[row['task']].title}, `{row['cut']}`" if _stitched(row) else "–",
        _axes(row),
    ]


def _halves(row: Row) -> str:
    if "unequal" not in row:
        return "–"
    different = ", ".join(f"`{name}`" for name in row["unequal"])
    return f"differ at {different}" if different else "equal, unfused" if row["fused"] else "equal"


def _name(row: Row) -> str:
    return f"`{row['name']}`" if row["source"] != "awkward" else row["name"]


def _axes(row: Row) -> str:
    axis = row.get("axis")
    if not axis:
        return "not tried" if "axis" not in row else "–"
    wrong = f", {len(axis['wrong'])} wrong" if axis["wrong"] else ""
    return f"{axis['right']} right{wrong}" + (f", {axis['unknown']} unknown" if axis["unknown"] else "")


def _refused(found: list[Row]) -> str:
    lines = [
        [
            f"{row['source']}: {_name(row)}",
            _STEPS.get(step, step),
            "<br>".join(_plain(line) for line in text.splitlines()),
        ]
        for row in found
        for step, text in row["cannot"].items()
    ]
    return _table(["network", "refused", "what it says"], lines)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

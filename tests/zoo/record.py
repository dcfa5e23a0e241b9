"""Examine every network of the catalogue and keep what was found: one line of JSON each, in results/zoo.

    PYTHONPATH=.zoo:tests .venv/bin/python tests/zoo/record.py            goes on where it stopped
    PYTHONPATH=.zoo:tests .venv/bin/python tests/zoo/record.py timm:vgg11 examines that one again

`make zoo` builds .zoo. One process, one thread. Beware: seconds are of a single run.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import operators  # noqa: F401
import torch
from catalogue import ENTRIES
from examine import Row, examine

from modelstitch.compute import Compute
from modelstitch.stitching import provenance

RECORDS = Path(__file__).resolve().parents[2] / "results" / "zoo" / "networks.jsonl"
PACKAGES = ("timm", "torchvision", "transformers", "peft")


def recorded() -> dict[str, Row]:
    """Every row that is kept, by the network's source and name."""
    lines = RECORDS.read_text(encoding="utf-8").splitlines() if RECORDS.exists() else []
    rows = map(json.loads, lines)
    return {f"{row['source']}:{row['name']}": row for row in rows}


def keep(rows: dict[str, Row]) -> None:
    """Write all rows in the order of the catalogue; those of networks that it has lost are dropped."""
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(rows[name], ensure_ascii=False) + "\n" for name in map(str, ENTRIES) if name in rows)
    written = RECORDS.with_suffix(".new")
    written.write_text(text, encoding="utf-8")
    written.replace(RECORDS)


def main(again: list[str]) -> None:
    """Examine what is not kept yet, and what is asked for again."""
    torch.set_num_threads(1)
    made = provenance(Compute("cpu"))
    made["versions"] |= {name: importlib.metadata.version(name) for name in PACKAGES}
    rows = {name: row for name, row in recorded().items() if name not in again}
    for entry in ENTRIES:
        if str(entry) not in rows:
            rows[str(entry)] = examine(entry) | made
            keep(rows)
            print(f"{entry}: {rows[str(entry)]['seconds_in_all']} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

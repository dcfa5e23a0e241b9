"""What the committed record of benchmarks/extract.py shows: a bottom costs no more than a hook, and tells the truth."""

import json
from pathlib import Path

import pytest

RECORD = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "extract.json"
ROWS = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]


def rows(what, way):
    return [row for row in ROWS if (row["what"], row["way"]) == (what, way)]


def test_a_bottom_is_no_slower_than_a_plain_hook():
    found = rows("time", "ours")
    assert {row["network"] for row in found} == {"GPT-2", "ResNet-18"}
    assert max(row["over_hook"] for row in found) <= 1


@pytest.mark.parametrize("way", ["ours", "hook", "stopping hook", "torchvision", "nnsight", "nnsight, stopped"])
def test_every_way_was_measured_or_has_a_reason(way):
    for row in rows("time", way) + rows("in-place", way):
        assert bool(row["reason"]) is ("milliseconds" not in row and "wrong" not in row)
    assert rows("time", way)
    assert rows("in-place", way)


def test_a_bottom_alone_is_right_where_an_operator_overwrites_its_input():
    assert [row["wrong"] for row in rows("in-place", "ours")] == [0, 0]
    others = {row["way"] for row in ROWS if row["what"] == "in-place" and row.get("wrong")}
    assert others == {"hook", "stopping hook", "torchvision", "nnsight", "nnsight, stopped"}

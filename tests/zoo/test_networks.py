"""Every network of the catalogue: what must hold of any network, and what results/zoo says of this one.

The kept rows are made by record.py. A change for the better has to be recorded anew as well.
"""

import dataclasses
from collections import Counter

import pytest
import torch
from catalogue import ENTRIES, QUARTER, awkward
from catalogue.timm import family
from examine import examine
from record import recorded

from modelstitch.cut import Top

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = recorded()
# What no two machines need share: times, rounding, where and with what it was made, and a message of torch's.
VARIES = {"seconds", "seconds_in_all", "identity", "affine", "replayed"}
MADE = {"device", "threads", "versions", "commit", "created"}


def broken(entry, row):
    """The laws that a row breaks."""
    found = []
    unequal = row.get("unequal", [])
    if tuple(unequal) != entry.unequal:
        found.append(f"halves differ from the network at {unequal}, expected at {entry.unequal}")
    if missed := [cut for cut in unequal if f"self-stitch at {cut}" not in row["cannot"]]:
        found.append(f"stitched in spite of it at {missed}")
    if row.get("self", [0.0] * 3) != [0.0] * 3:
        found.append(f"a self-stitch loses {row['self']}")
    if tuple(row.get("unknown", ())) != entry.unknown:
        found.append(f"channels unknown at {row['unknown']}, expected at {entry.unknown}")
    axis = row.get("axis")
    if axis and (axis["wrong"] or not axis["right"]):
        found.append(f"channel axes: {axis}")
    told = "; ".join(f"{step}: {text}" for step, text in row["cannot"].items())
    if entry.cannot not in told or bool(told) != bool(entry.cannot):
        found.append(f"refused because {told!r}, expected {entry.cannot!r}")
    return found


def lasting(row):
    """What must be the same on every machine."""
    kept = {name: value for name, value in row.items() if name not in VARIES | MADE}
    # What a refusal says may hold numbers; `broken` looks for the words that matter.
    return kept | {"cannot": sorted(row["cannot"])}


def parameters():
    marks = {True: [pytest.mark.quarter], False: []}
    return [pytest.param(entry, id=str(entry), marks=marks[entry.quarter]) for entry in ENTRIES]


@pytest.mark.parametrize("entry", parameters())
def test_a_network_keeps_the_laws_and_its_record(entry):
    row = examine(entry)
    assert broken(entry, row) == []
    assert lasting(row) == lasting(ROWS[str(entry)])


@pytest.mark.quarter
def test_the_catalogue_is_as_large_as_promised_and_recorded_whole():
    counts = Counter(entry.source for entry in ENTRIES)
    families = {family(entry.name) for entry in ENTRIES if entry.source == "timm"}
    assert len(families) >= 60
    assert counts["torchvision"] >= 15
    assert counts["transformers"] >= 25
    assert counts["awkward"] >= 30
    assert list(ROWS) == [str(entry) for entry in ENTRIES]


@pytest.mark.quarter
def test_the_quarter_is_one_and_has_some_of_every_source():
    chosen = [entry for entry in ENTRIES if entry.quarter]
    assert {str(entry) for entry in chosen} == set(QUARTER)
    assert 4 * len(chosen) >= len(ENTRIES)
    assert all(count >= 4 for count in Counter(entry.source for entry in chosen).values())
    assert {entry.source for entry in chosen} == {entry.source for entry in ENTRIES}


TINY = next(entry for entry in awkward.ENTRIES if entry.name == "one layer three times")


@pytest.mark.quarter
def test_halves_that_are_wrong_in_the_last_digit_are_seen(monkeypatch):
    after = Top.after

    def off(self, *given):
        found = after(self, *given)
        return torch.nextafter(found, found + 1) if self.cut.name != "input" else found

    monkeypatch.setattr(Top, "after", off)
    row = examine(TINY)
    assert row["unequal"] == [*row["unequal"]] != []
    assert any("halves differ" in one for one in broken(TINY, row))


@pytest.mark.quarter
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"unequal": ["stem"]}, "halves differ"),
        ({"self": [0.0, 0.0, 1e-9]}, "a self-stitch loses"),
        ({"unknown": ["stem"]}, "channels unknown"),
        ({"axis": {"right": 3, "wrong": ["stem"]}}, "channel axes"),
        ({"axis": {"right": 0, "wrong": []}}, "channel axes"),
        ({"cannot": {"stitch": "asked: …"}}, "refused because"),
    ],
)
def test_a_row_that_breaks_a_law_is_seen(change, told):
    row = ROWS[str(TINY)]
    assert broken(TINY, row) == []
    assert [one for one in broken(TINY, row | change) if told in one]


@pytest.mark.quarter
def test_a_refusal_that_is_gone_is_seen():
    refused = dataclasses.replace(TINY, cannot="asked: to cut it")
    assert broken(refused, ROWS[str(TINY)])

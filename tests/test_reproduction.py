"""The verdicts of docs/reproduction.md: made from records, one-sided where they should be, never without numbers."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

import choices
import judged
import reproduction

from modelstitch.report.seeds import student


def value(low, high):
    return judged.Value((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("values", "bounds", "verdict"),
    [
        ([value(1, 2), value(-3, 4.9)], {"high": 5}, "holds"),
        ([value(1, 2), value(4, 6)], {"high": 5}, "cannot tell"),
        ([value(1, 6), value(5.1, 6)], {"high": 5}, "fails"),
        ([value(1, 2)], {"low": 0}, "holds"),
        ([value(-1, 2)], {"low": 0}, "cannot tell"),
        ([value(-2, -1)], {"low": 0}, "fails"),
        ([value(-1, 1)], {"low": -1, "high": 1}, "holds"),
    ],
)
def test_a_claim_holds_fails_or_cannot_be_told(values, bounds, verdict):
    assert judged.within("", values, **bounds).verdict == verdict


def test_what_is_shown_is_nearest_to_breaking_the_bound():
    assert judged.within("x ", [value(1, 2), value(3, 4), value(0, 1)], high=5).told == "x +3.50 (+3.00 to +4.00)"
    assert judged.within("x ", [value(1, 2), value(3, 4), value(0, 1)], low=0).told == "x +0.50 (+0.00 to +1.00)"


def test_the_interval_over_seeds_is_students():
    values = [1.0, 2.5, 0.5]
    found = judged.over_seeds(values)
    assert (found.value, found.low, found.high) == student(values)
    with pytest.raises(judged.NotRun, match="1 pairs of seeds"):
        judged.over_seeds([1.0])


def made(rows):
    names = ("bottom_network", "top_network", "top_cut", "penalty", "control", "batch_norm")
    frame = pd.DataFrame(rows, columns=list(names))
    frame["penalty_low"], frame["penalty_high"] = frame["penalty"] - 0.1, frame["penalty"] + 0.1
    frame["of"] = frame["bottom_network"].str.rsplit("-", n=1).str[0]
    frame["under"] = frame["top_network"].str.rsplit("-", n=1).str[0]
    return frame


def test_a_difference_is_taken_below_the_same_tops(monkeypatch):
    rows = [
        *(("wide-0", f"net-{top}", cut, top + 1, "", "frozen") for top in (0, 1, 2) for cut in ("a", "b")),
        *(("net-5", f"net-{top}", cut, 3 * top, "", "frozen") for top in (0, 1, 2) for cut in ("a", "b")),
        # Neither of these is asked for.
        ("wide-0", "net-0", "a", 99, "untrained", "frozen"),
        ("wide-0", "net-0", "a", 99, "", "batch"),
    ]
    monkeypatch.setattr(judged, "records", lambda figure: made(rows))
    found = judged.difference("x", "wide", "net", "net")
    assert (found.value, found.low, found.high) == pytest.approx(
        (-1.0, *stats.ttest_1samp([1.0, -1.0, -3.0], 0).confidence_interval(0.95))
    )
    with pytest.raises(judged.NotRun, match="thin below net"):
        judged.difference("x", "thin", "net", "net")


def test_of_one_pair_the_difference_reaches_as_far_as_both_intervals(monkeypatch):
    rows = [("wide-0", "net-0", "a", 2.0, "", "frozen"), ("net-5", "net-0", "a", 1.0, "", "frozen")]
    monkeypatch.setattr(judged, "records", lambda figure: made(rows))
    found = judged.difference("x", "wide", "net", "net")
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.8, 1.2))


def test_of_one_top_in_common_nothing_else_enters_the_interval(monkeypatch):
    rows = [("wide-0", f"net-{top}", "a", 2.0 + 10 * top, "", "frozen") for top in (0, 1)]
    rows += [("net-5", "net-0", "a", 1.0, "", "frozen")]
    monkeypatch.setattr(judged, "records", lambda figure: made(rows))
    found = judged.difference("x", "wide", "net", "net")
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.8, 1.2))
    monkeypatch.setattr(judged, "records", lambda figure: made(rows[1:]))
    with pytest.raises(judged.NotRun, match="below one top"):
        judged.difference("x", "wide", "net", "net")


def test_a_number_outside_its_own_interval_is_refused():
    with pytest.raises(ValueError, match="outside its own interval"):
        judged.Value(1.83, 2.19, 4.16)


def test_without_records_a_claim_is_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(judged, "FOLDER", tmp_path)
    judged.records.cache_clear()
    for claim in reproduction.CLAIMS:
        # These two have folders of their own.
        if claim.name not in ("C15", "C16"):
            assert {reproduction.looked_at(part).verdict for part in claim.parts} == {"not run"}


def test_every_claim_has_a_row():
    assert [claim.name for claim in reproduction.CLAIMS] == [f"C{n}" for n in range(1, 19)]


def test_what_batch_statistics_change_is_told_cut_by_cut_over_pairs(monkeypatch):
    more = {("a", 0): 1.0, ("a", 1): 2.0, ("b", 0): 0.0, ("b", 1): 4.0}
    rows = [
        (f"net-{pair}", f"net-{pair + 1}", cut, 1.0 + (mode == "batch") * change, "", mode)
        for mode in ("frozen", "batch")
        for (cut, pair), change in more.items()
    ]
    deep = {"a": 0.1, "b": 0.5}
    monkeypatch.setattr(judged, "records", lambda figure: made(rows).assign(top_depth=lambda x: x["top_cut"].map(deep)))
    head, _, *lines = choices.batch_norm().splitlines()
    assert head.startswith("| cut | frozen | batch |")
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| `a`", "+1.00", "+2.50"],
        ["| `b`", "+1.00", "+3.00"],
        ["| mean", "+1.00", "+2.75"],
    ]
    assert lines[-1].endswith(f"| {judged.over_seeds([0.5, 3.0])} |")


def test_what_the_stitchs_data_change_is_told_for_each_bottom(monkeypatch):
    rows = [(f"{of}-0", "some-1", "a", n, "", "frozen") for n, of in enumerate(choices.BOTTOMS) for _ in range(2)]
    fitted = [10_000, 3_000] * 3
    frame = made(rows).assign(top_depth=0.1, n_fit=fitted)
    frame["penalty"] += frame["n_fit"] / 1e5
    monkeypatch.setattr(judged, "records", lambda figure: frame)
    assert choices.stitch_data().splitlines()[2] == "| `a` | +0.10 | +0.03 | +1.10 | +1.03 | +2.10 | +2.03 |"


def test_without_records_nothing_is_said_of_choices(monkeypatch, tmp_path):
    monkeypatch.setattr(judged, "FOLDER", tmp_path)
    judged.records.cache_clear()
    assert choices.batch_norm() == "No records: fig2a."
    assert choices.stitch_data() == "No records: fig2c."

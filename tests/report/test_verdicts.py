"""Verdicts: three answers, by intervals alone, and never a score for a failure."""

import pytest
from made import frame, record
from pydantic import ValidationError

from modelstitch.recipe import Claim
from modelstitch.records import Records
from modelstitch.report import judge

FAILED = {"status": "failed", "reason": "the loss is not finite"}


def at(*penalties, half=0.5):
    """Records with these penalties, at cuts c0, c1, …"""
    return frame(*(record(cut=f"c{i}", penalty=penalty, half=half) for i, penalty in enumerate(penalties)))


def answer(records, **bounds):
    return judge(Claim(claim="so it is", **bounds), records).answer


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"at_most": 1.5}, "holds"),
        ({"at_most": 1.4}, "cannot tell"),
        ({"at_most": 0.5}, "cannot tell"),
        ({"at_most": 0.4}, "fails"),
        ({"at_least": 0.5}, "holds"),
        ({"at_least": 0.6}, "cannot tell"),
        ({"at_least": 1.5}, "cannot tell"),
        ({"at_least": 1.6}, "fails"),
        ({"at_least": 0.5, "at_most": 1.5}, "holds"),
        ({"at_least": 0.6, "at_most": 1.5}, "cannot tell"),
        ({"at_least": 0.6, "at_most": 1.4}, "cannot tell"),
        ({"at_least": 2.0, "at_most": 3.0}, "fails"),
        ({"at_least": -1.0, "at_most": 0.0}, "fails"),
    ],
    ids=str,
)
@pytest.mark.parametrize("statistic", ["each", "some", "mean"])
def test_one_record_is_judged_by_its_whole_interval(bounds, expected, statistic):
    assert answer(at(1.0), statistic=statistic, **bounds) == expected


# Penalties with intervals of half a point to either side, against at most 1: 0 holds, 1 cannot tell, 2 fails.
@pytest.mark.parametrize(
    ("penalties", "each", "some", "mean"),
    [
        ((0, 0), "holds", "holds", "holds"),
        ((0, 1), "cannot tell", "holds", "holds"),
        ((0, 2), "fails", "holds", "cannot tell"),
        ((1, 2), "fails", "cannot tell", "cannot tell"),
        ((1, 1), "cannot tell", "cannot tell", "cannot tell"),
        ((2, 2), "fails", "fails", "fails"),
    ],
    ids=str,
)
def test_many_are_judged_by_three_valued_logic(penalties, each, some, mean):
    found = [answer(at(*penalties), statistic=statistic, at_most=1.0) for statistic in ("each", "some", "mean")]
    assert found == [each, some, mean]


@pytest.mark.parametrize(
    ("penalty", "each", "some", "mean"),
    [(0, "cannot tell", "holds", "cannot tell"), (2, "fails", "cannot tell", "cannot tell")],
)
def test_a_failure_is_never_a_score(penalty, each, some, mean):
    records = frame(record(penalty=penalty), record(cut="layer2", **FAILED))
    verdicts = [judge(Claim(claim="so it is", statistic=s, at_most=1.0), records) for s in ("each", "some", "mean")]
    assert [verdict.answer for verdict in verdicts] == [each, some, mean]
    assert all(verdict.n == 2 and "1 of 2 failed" in verdict.why for verdict in verdicts)


def test_where_no_record_fits_it_cannot_tell_and_says_why():
    for records in (Records().to_pandas(), at(1.0)):
        verdict = judge(Claim(claim="so it is", bottoms="nobody", at_most=1.0), records)
        assert (verdict.answer, verdict.penalty, verdict.n) == ("cannot tell", None, 0)
        assert "no stitching fits" in verdict.why
    verdict = judge(Claim(claim="so it is", at_most=1.0), frame(record(**FAILED)))
    assert (verdict.answer, verdict.why, verdict.n) == ("cannot tell", "all 1 stitchings failed", 1)


@pytest.mark.parametrize(
    ("statistic", "bounds", "decides"),
    [
        ("each", {"at_most": 9.0}, 3.0),
        ("each", {"at_least": -9.0}, 0.0),
        ("some", {"at_most": 9.0}, 0.0),
        ("some", {"at_least": 1.0}, 3.0),
    ],
    ids=str,
)
def test_the_number_shown_is_of_the_record_that_decides(statistic, bounds, decides):
    records = at(0.0, 3.0, 1.0)
    verdict = judge(Claim(claim="so it is", statistic=statistic, **bounds), records)
    assert (verdict.penalty, verdict.low, verdict.high) == (decides, decides - 0.5, decides + 0.5)
    assert verdict.key == records.loc[records["penalty"] == decides, "key"].item()
    assert verdict.n_test == (297,)


def test_the_number_shown_agrees_with_the_answer():
    # The wide interval reaches furthest, but the narrow one alone lies wholly above.
    wide, narrow = record(cut="c0", penalty=2.0, half=5.0), record(cut="c1", penalty=1.5, half=0.1)
    verdict = judge(Claim(claim="so it is", at_most=1.0), frame(wide, narrow))
    assert (verdict.answer, verdict.penalty) == ("fails", 1.5)


def test_a_mean_has_the_means_of_the_ends():
    verdict = judge(Claim(claim="so it is", statistic="mean", at_most=9.0), at(0.0, 3.0))
    assert (verdict.penalty, verdict.low, verdict.high, verdict.key) == (1.5, 1.0, 2.0, "")


def test_patterns_choose_networks_cuts_and_control():
    records = frame(
        record("wide1", "B", "layer4.0", penalty=5),
        record("wide2", "B", "layer1.0", penalty=0),
        record("slim", "C", "layer1.0", penalty=0),
        record("wide1", "B", "layer1.0", penalty=50, control="untrained"),
    )
    assert judge(Claim(claim="so it is", at_most=1.0), records).n == 3
    assert judge(Claim(claim="so it is", bottoms="wide*", at_most=1.0), records).n == 2
    assert judge(Claim(claim="so it is", tops="C", at_most=1.0), records).n == 1
    assert answer(records, cuts="layer1*", at_most=1.0) == "holds"
    assert answer(records, control="untrained", at_least=10.0) == "holds"
    assert "wide* → *" in judge(Claim(claim="so it is", bottoms="wide*", at_most=1.0), records).asked


def test_a_claim_without_a_bound_is_refused():
    with pytest.raises(ValidationError, match="a claim without at_most and at_least"):
        answer(at(1.0))


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValidationError, match="'each', 'some' or 'mean'"):
        answer(at(1.0), statistic="means", at_most=1.0)

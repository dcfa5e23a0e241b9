"""Pairs that differ in their seeds alone: their mean, Student's interval, and never a mean that hides a failure."""

import numpy as np
import pytest
from made import frame, layers, record
from scipy import stats

from modelstitch.recipe import Claim, parse_recipe
from modelstitch.records import Store
from modelstitch.report import findings_of, judge
from modelstitch.report.gallery import Gallery
from modelstitch.report.page import page
from modelstitch.report.seeds import over_seeds, student

KINDS = {f"net-{seed}": "net" for seed in range(4)}
RECIPE = """
name: kinds
question: Which?
data: {name: digits}
networks:
  net: {architecture: resnet18, epochs: 1, seeds: [0, 1, 2, 7]}
  given: {load: "timm:resnet18"}
stitchings: [{pairs: [[net-0, net-1], [net-1, net-2]]}]
claims: [{claim: so it is, statistic: mean, at_most: 9.0}]
"""
FAILED = {"status": "failed", "reason": "the loss is not finite"}


def pairs(*penalties, **more):
    """Pairs of one kind with these penalties, with intervals over test examples of half a point to either side."""
    return [record(f"net-{i}", f"net-{i + 1}", penalty=one, **more) for i, one in enumerate(penalties)]


def rows(*records):
    return over_seeds(frame(*records), KINDS).to_dict("records")


def test_the_interval_is_students():
    values = [1.0, 2.5, 0.5]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student(values) == pytest.approx((np.mean(values), *expected))


def test_pairs_of_one_kind_become_their_mean():
    (one,) = rows(*pairs(1.0, 2.5, 0.5))
    assert (one["bottom_network"], one["top_network"], one["n_pairs"]) == ("net", "net", 3)
    assert (one["penalty"], one["penalty_low"], one["penalty_high"]) == student([1.0, 2.5, 0.5])


def test_a_single_pair_keeps_its_interval_over_test_examples():
    (one,) = rows(*pairs(1.0))
    assert (one["penalty"], one["penalty_low"], one["penalty_high"], one["n_pairs"]) == (1.0, 0.5, 1.5, 1)


def test_seeds_of_the_matching_are_averaged_within_a_pair_and_count_as_one():
    again = record("net-0", "net-1", penalty=3.0, seed=1)
    (one,) = rows(*pairs(1.0), again)
    assert (one["penalty"], one["penalty_low"], one["penalty_high"], one["n_pairs"]) == (2.0, 1.5, 2.5, 1)
    (one,) = rows(*pairs(1.0, 4.0), again)
    assert (one["penalty"], one["penalty_low"], one["penalty_high"]) == student([2.0, 4.0])


def test_what_differs_in_more_than_the_seed_stays_apart():
    told = [
        *pairs(1.0, 2.0),
        *pairs(1.0, family="orthogonal"),
        *pairs(1.0, control="untrained"),
        *pairs(1.0, batch_norm="batch"),
        *pairs(1.0, n_fit=99),
        *pairs(1.0, cut="layer2"),
        *pairs(1.0, task='{"name": "regression"}'),
        record("net-0", "other"),
    ]
    assert [one["n_pairs"] for one in rows(*told)] == [2, 1, 1, 1, 1, 1, 1, 1]


def test_a_failed_pair_leaves_its_kind_without_a_mean():
    (one,) = rows(*pairs(1.0), record("net-1", "net-2", **FAILED))
    assert (one["status"], one["n_pairs"]) == ("failed", 2)
    assert np.isnan(one["penalty"])


def test_a_failed_seed_of_the_matching_leaves_its_kind_without_a_mean():
    (one,) = rows(*pairs(1.0), record("net-0", "net-1", seed=1, **FAILED))
    assert one["status"] == "failed"
    assert np.isnan(one["penalty"])


def test_no_records_are_no_rows():
    assert rows() == []


def test_the_kinds_are_those_of_the_recipe():
    assert parse_recipe(RECIPE, "kinds").kinds() == {"net-0": "net", "net-1": "net", "net-2": "net", "net-7": "net"}


def test_the_page_of_a_run_draws_and_judges_by_the_kinds_of_its_recipe(tmp_path):
    store = Store(tmp_path / "run.sqlite")
    store.add_recipe("kinds", RECIPE)
    for one in pairs(1.0, 2.5):
        store.append(one)
    text = page(findings_of(store.path))
    assert "interval over 2 pairs of seeds" in text
    assert 'id="chart-over_seeds"' in text


def test_a_run_of_several_seeds_has_a_chart_of_their_means():
    several = Gallery(layers(records=frame(*pairs(1.0, 2.0, 4.0)), kinds=KINDS))
    assert list(several.over_seeds["pair"]) == ["net → net"]
    assert "over_seeds" in several.screen()
    (row,) = several.print()["over_seeds"].datasets["over_seeds"]
    assert row["penalty"] == pytest.approx(7 / 3, abs=1e-5)  # as the page packs it
    assert "over_seeds" not in Gallery(layers(records=frame(*pairs(1.0)), kinds=KINDS)).screen()


def test_a_pair_with_itself_is_no_pair_of_seeds():
    selves = [record(name, name, control="self", penalty=0.0, half=0.0) for name in ("net-0", "net-1")]
    assert "over_seeds" not in Gallery(layers(records=frame(*pairs(1.0), *selves), kinds=KINDS)).screen()


def mean(*records, kinds=KINDS):
    return judge(Claim(claim="so it is", statistic="mean", at_most=9.0), frame(*records), kinds)


def test_a_mean_over_pairs_of_seeds_is_judged_by_students_interval():
    verdict = mean(*pairs(1.0, 2.5, 0.5), *pairs(3.0, 4.5, 2.5, cut="layer2"))
    assert (verdict.penalty, verdict.low, verdict.high) == pytest.approx(student([2.0, 3.5, 1.5]))
    assert "3 pairs of seeds" in verdict.why


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([*pairs(1.0, 3.0), record("other", "net-1", penalty=2.0)], id="of two kinds"),
        pytest.param([*pairs(1.0, 3.0), *pairs(2.0, cut="layer2")], id="at other cuts"),
        pytest.param([*pairs(2.0, half=0.5)], id="of one pair"),
    ],
)
def test_other_means_keep_the_means_of_the_ends(records):
    verdict = mean(*records)
    assert (verdict.penalty, verdict.low, verdict.high, verdict.why) == (2.0, 1.5, 2.5, "over all")

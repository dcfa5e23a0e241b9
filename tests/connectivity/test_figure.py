"""The figure of connectivity: every way is drawn, failures are counted and never drawn."""

import dataclasses
import json

import pytest
from found import CLASSIFICATION, penalty

from modelstitch.connectivity import Connectivity, Point
from modelstitch.errors import DataError
from modelstitch.figures import save_figure
from modelstitch.tasks import Regression

ASKED = {"data": "digits", "n_fit": 1498, "n_test": 299, "seed": 0}
ASKED |= {"family": '{"name": "affine", "kernel": 1}', "matching": '{"name": "direct"}'}


def found(*, failed=(), scores=CLASSIFICATION):
    first, second = scores
    sign = 1 if first.better == "lower" else -1
    points = []
    for way in ("stitching", "linear", "permuted", "curve"):
        for x, value in ((0.0, 4.0), (0.5, 30.0 if way == "linear" else 6.0), (1.0, 5.0)):
            value = value if sign > 0 else 10 - value
            worse = 5.0
            found = (sign * (value - worse), sign * (value - worse) - 1, sign * (value - worse) + 1)
            each = (penalty(value, *found, score=first), penalty(0.5, 0, 0, 0, score=second))
            broken = Point(way, x, status="failed", reason="the loss is nan")
            points.append(broken if way in failed and x == 0.5 else Point(way, x, "c", each, "same architecture"))
    return Connectivity(("one", "other"), tuple(points), scores, 3.0, ASKED, {"versions": {"torch": "2"}})


def drawn(chart):
    return json.dumps(chart.to_dict(), ensure_ascii=False).replace("\N{NO-BREAK SPACE}", " ")


def test_every_way_its_barrier_and_the_verdict_are_told():
    text = drawn(found().plot())
    for name in ("stitching chain", "straight line", "straight line, units matched", "trained curve"):
        assert f'"series": "{name}"' in text
    assert "From other to one" in text
    assert "stitching-connected at 3 points" in text
    assert "barrier of the straight line 25.5 points" in text
    assert "failed" not in text
    # The threshold stands above the worse of the two networks.
    assert '"limit": 8.0' in text


def test_the_recipe_is_told_in_words():
    assert "family Affine(kernel=1) · matching Direct()" in drawn(found().plot())


def test_percent_is_drawn_and_penalties_are_points():
    text = drawn(found().plot())
    assert '"title": "test error, %"' in text
    assert '"title": "test loss, nats"' in text
    assert '"title": "points above the worse network"' in text
    assert '"domain": [2.5, 11.0]' in text


def test_of_a_score_of_which_more_is_better_the_threshold_is_below(tmp_path):
    chart = found(scores=Regression().scores).plot()
    text = drawn(chart)
    assert '"limit": 2.0' in text
    assert '"title": "test R²"' in text
    assert "dashed: the threshold below the worse network" in text
    # From twice the threshold below the worse network to a little above the best interval.
    assert '"domain": [-1.0, 7.3]' in text
    save_figure(chart, tmp_path / "connectivity.svg")


def test_a_failure_is_counted_and_not_drawn(tmp_path):
    chart = found(failed=("curve", "stitching")).plot()
    text = drawn(chart)
    assert "2 of 12 points failed and are not drawn" in text
    assert "barrier of the trained curve" not in text
    assert "cannot tell" in text
    save_figure(chart, tmp_path / "connectivity.svg")
    assert "stitching chain" in (tmp_path / "connectivity.svg").read_text()


def test_nothing_to_draw_is_refused():
    whole = found()
    failures = tuple(Point(point.way, point.x, status="failed", reason="no") for point in whole.points)
    with pytest.raises(DataError, match="none of 12 points has a value"):
        dataclasses.replace(whole, points=failures).plot()

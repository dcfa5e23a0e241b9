"""The figure of connectivity: every way is drawn, failures are counted and never drawn."""

import dataclasses

import pytest

from modelstitch.connectivity import Connectivity, Point
from modelstitch.errors import DataError
from modelstitch.figures import save_figure

ASKED = {"data": "digits", "n_fit": 1498, "n_test": 299, "family": "Affine()", "matching": "Direct()", "seed": 0}


def found(*, failed=()):
    points = []
    for way in ("stitching", "linear", "permuted", "curve"):
        for x, error in ((0.0, 4.0), (0.5, 30.0 if way == "linear" else 6.0), (1.0, 5.0)):
            penalty = error - 5.0
            point = Point(
                way, x, "c", error, 0.5, penalty, penalty - 1, penalty + 1, 0.0, 0.0, 0.0, "same architecture"
            )
            broken = Point(way, x, status="failed", reason="the loss is nan")
            points.append(broken if way in failed and x == 0.5 else point)
    return Connectivity(("one", "other"), tuple(points), 3.0, ASKED, {"versions": {"torch": "2"}})


def drawn(chart):
    return chart.to_json().replace("\N{NO-BREAK SPACE}", " ")


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

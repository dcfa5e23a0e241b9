"""Published curves: they are there, they say where they come from, and a wrong name is told."""

import pytest

from modelstitch.errors import SettingError
from modelstitch.recipe.published import curve_of, published
from modelstitch.report import Reference

CURVES = [(figure, curve) for figure, held in published()["figures"].items() for curve in held["curves"]]


@pytest.mark.parametrize(("figure", "curve"), CURVES)
def test_each_curve_runs_upwards_over_depth(figure, curve):
    rows = curve_of(Reference("paper", figure, curve))
    places = [row["place"] for row in rows]
    assert places == sorted(set(places))
    assert 0 <= places[0] < places[-1] <= 1
    assert {row["quantity"] for row in rows} <= {"penalty", "cka"}
    if rows[0]["quantity"] == "cka":
        assert all(0 <= row["value"] <= 1 for row in rows)


def test_values_stand_as_they_were_read():
    by_place = {row["place"]: row["value"] for row in curve_of(Reference("paper", "fig2A", "ResNet-18"))}
    assert by_place[0.7222] == 3.32
    assert "2106.07682" in published()["source"]


def test_a_wrong_name_is_told_the_right_ones():
    with pytest.raises(SettingError, match="did you mean 'fig2A'"):
        curve_of(Reference("paper", "figure2A", "ResNet-18"))
    with pytest.raises(SettingError, match="did you mean 'ResNet-18"):
        curve_of(Reference("paper", "fig2A", "ResNet18"))

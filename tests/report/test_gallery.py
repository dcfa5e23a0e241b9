"""The charts of a run: which there are, and what a paper gets of them."""

import dataclasses
import itertools
import xml.etree.ElementTree

import pytest
from altair.utils.schemapi import SchemaValidationError
from made import frame, grid, layers, nothing, real, record

from modelstitch.errors import SettingError
from modelstitch.report import Reference, charts, write_figures
from modelstitch.report.charts import Names
from modelstitch.report.gallery import Gallery
from modelstitch.report.tables import controls
from modelstitch.vocabulary import CONTROLS

ALL = ["untrained", "penalty", "scatter", "measure_over_depth", "penalty_map", "similarity_map", "learning", "training"]


def shown(findings):
    return set(Gallery(findings).screen())


def test_a_chart_is_there_when_it_has_something_to_show():
    assert shown(layers()) == set(ALL)
    assert shown(nothing()) == set()
    assert shown(real()) == {"untrained", "penalty", "scatter", "measure_over_depth", "training"}
    one = frame(record(values={"cka": None, "procrustes": None}))
    assert shown(dataclasses.replace(nothing(), records=one)) == {"penalty"}


@pytest.mark.parametrize("control", [one for one in CONTROLS if one != "self"])
def test_each_control_has_a_chart_and_a_line_in_the_table(control):
    found = Gallery(dataclasses.replace(nothing(), records=frame(record(), record(control=control, penalty=7))))
    assert set(found.screen()) >= {control, "penalty"}
    assert f"datum.control == '{control}'" in str(found.screen()[control].to_dict())
    ((kind, networks, valued, told),) = controls(found).rows
    assert (networks, valued, told) == ("A → B", "1 of 1", "+7.00 (layer1) to +7.00 (layer1)")
    assert kind == CONTROLS[control].title


def test_a_measure_that_nobody_knows_is_drawn_too():
    found = Gallery(
        dataclasses.replace(nothing(), records=frame(record(values={"my_measure": 0.3}), record(cut="layer2")))
    )
    assert found.measures == {"cka": "linear CKA", "procrustes": "Procrustes distance", "my_measure": "my measure"}
    assert "scatter_my_measure" in found.print()


def test_a_map_of_small_penalties_has_a_scale_of_its_own():
    crossed = [record(cut=cut, top_cut="layer1", penalty=0.3, score=("r2", "R²")) for cut in ("layer1", "layer2")]
    drawn = str(Gallery(dataclasses.replace(nothing(), records=frame(*crossed))).screen()["penalty_map"].to_dict())
    assert "'domain': [-0.3, 0.3]" in drawn
    assert "'values': [-0.3, -0.1, -0.03, -0.01, 0.0, 0.01, 0.03, 0.1, 0.3]" in drawn
    assert "'title': 'penalty, R²'" in drawn


def test_one_bottom_a_top_is_no_map():
    diagonal = frame(record(cut="layer1"), record(cut="layer2"))
    assert "penalty_map" not in shown(dataclasses.replace(nothing(), records=diagonal))
    crossed = frame(record(cut="layer1"), record(cut="layer2", top_cut="layer1"))
    assert "penalty_map" in shown(dataclasses.replace(nothing(), records=crossed))


def test_many_lines_begin_with_one_setting():
    few, many = Names("AB", ("x", "y")), Names("ABCDEFGH", ("x", "y"))
    assert (few.setting, many.setting) == ("", "x")


@pytest.mark.parametrize("findings", [layers, real])
def test_charts_are_what_vega_lite_says_a_chart_is(findings):
    charts = Gallery(findings()).screen()
    assert charts
    for chart in charts.values():
        chart.to_dict(context={"pre_transform": False})
    wrong = next(iter(charts.values())).copy()
    wrong.layer[0].mark.type = "pint"
    with pytest.raises(SchemaValidationError, match="pint"):
        wrong.to_dict(context={"pre_transform": False})


def test_charts_carry_no_rows_and_no_name_in_an_expression():
    chart = Gallery(layers()).screen()["penalty"].to_dict()
    # The line at zero has a row of its own, with nothing in it.
    assert list(chart["datasets"].values()) == [[{}]]
    filters = str([layer.get("transform") for layer in chart["layer"]])
    assert "A → B" not in filters


def test_the_scale_of_penalties_has_its_middle_at_zero():
    chart = Gallery(layers()).screen()["penalty_map"].to_dict()
    scale = chart["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == [-scale["domain"][1], scale["domain"][1]]
    assert scale["domain"][1] >= grid()["penalty"].abs().max() - 9 * 3


@pytest.mark.parametrize("findings", [layers(), real()], ids=["layers", "real"])
def test_a_paper_gets_each_chart_in_three_formats(findings, tmp_path):
    paths = write_figures(findings, tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    names = {path.stem for path in paths}
    measures = Gallery(findings).measures
    each = {f"{kind}_{name}" for kind in ("scatter", "measure_over_depth") for name in measures}
    assert names == shown(findings) - {"scatter", "measure_over_depth"} | each
    for path in paths:
        content = path.read_bytes()
        assert content.startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<svg"}[path.suffix])
        if path.suffix == ".svg":
            root = xml.etree.ElementTree.fromstring(content)
            # One column of a paper: no wider than it is read at without scaling.
            assert 300 < float(root.get("width")) < 460
            assert b"var(" not in content
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_paper_figures_name_their_measure_and_the_published_curve(tmp_path):
    write_figures(real(), tmp_path)
    assert "linear CKA" in (tmp_path / "scatter_cka.svg").read_text()
    assert "paper: ResNet-18 (CIFAR-10)" in (tmp_path / "penalty.svg").read_text()


def test_a_curve_that_was_never_published_is_refused():
    with pytest.raises(SettingError, match="published figure 'fig99'"):
        Gallery(dataclasses.replace(nothing(), references=[Reference("x", "fig99", "y")])).datasets()


def test_names_of_published_curves_do_not_stand_on_each_other():
    alike = ("Object-Animal", "50% noise", "10% noise", "100% noise")
    found = Gallery(
        dataclasses.replace(nothing(), references=[Reference(one, "fig3A", one) for one in alike])
    ).published
    named = found.dropna(subset="lift")
    assert sorted(named["label"]) == sorted(alike)
    pixels = 240 / found["value"].max()
    heights = sorted(named["value"] * pixels + named["lift"])
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 14
    # Far apart from all others, a name stands right above its curve.
    assert named.set_index("label")["lift"]["100% noise"] == 10


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (("Affine(), TaskLoss(epochs=4, learning_rate=0.003)", "Identity(), FineTune(epochs=10, top='fresh')"), True),
        (("TaskLoss(epochs=4, learning_rate=0.003)", "TaskLoss(epochs=4, learning_rate=0.003, patience=2)"), False),
    ],
)
def test_long_names_of_settings_are_cut_only_where_they_stay_distinct(settings, limit):
    names = Names(("A → B",), settings)
    legend = charts.penalty(names, charts.PRINT, (300, 220)).to_dict()["layer"][-1]["encoding"]["shape"]["legend"]
    assert (legend["labelLimit"] > 0) == limit

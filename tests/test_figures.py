"""Figures: what is drawn, what is told, and that every file stands on its own."""

import dataclasses
import json
import os
import re
import xml.etree.ElementTree

import pytest

from modelstitch.errors import DataError, NotWritable, SettingError
from modelstitch.figures import penalty_curves, save_figure
from modelstitch.records import MeasureRow, Record, Records, ScoreRow

DEPTHS = (0.1, 0.5, 0.9)


def record(bottom="A", top="B", depth=0.5, penalty=1.0, control="", family="affine", cka=0.9, seed=0, score=None):
    name, unit = score or ("error", "points")
    rows = [ScoreRow(name, unit, "lower", 0.5, 0.5, 0.5, penalty, penalty - 0.5, penalty + 0.5)]
    rows += [] if score else [ScoreRow("loss", "nats", "lower", *(0.5,) * 6)]
    told = _asked(bottom, top, depth, control, family, seed)
    return Record(**told, status="ok", scores=tuple(rows), measures=(MeasureRow("cka", cka),))


@pytest.mark.parametrize("control", ["stem_reset", "noise", "shuffled"])
def test_every_control_but_the_self_stitch_stands_at_a_scale_of_its_own(control):
    name = control.replace("_", " ")
    controls = Records(record(depth=depth, penalty=80.0, control=control) for depth in DEPTHS)
    panels = drawn((both_ways() + controls + itself()).plot())
    assert {row["control"] for row in panels["The stitchings"]} == {"", "self"}
    rows = panels[f"The same beside the {name} control"]
    assert f"control: {name} A → B" in {row["series"] for row in rows}
    assert "The same beside controls" in drawn((both_ways() + controls + untrained()).plot())


def failure():
    return Record(**_asked("A", "B", 0.3, "", "affine", 0), status="failed", reason="the loss is nan")


def _asked(bottom, top, depth, control, family, seed):
    return {
        "key": "0" * 16,
        "stitching": f"{bottom}@c -> {top}@c",
        "control": control,
        "task": '{"name": "classification"}',
        "family": json.dumps({"name": family}),
        "seed": seed,
        "bottom_network": bottom,
        "top_network": top,
        "bottom_depth": depth,
        "top_depth": depth,
        "bottom_weights": "",
        "top_weights": "",
        "bottom_graph": "",
        "top_graph": "",
        "bottom_cut": "c",
        "top_cut": "c",
        "bottom_kind": "",
        "top_kind": "",
        "data": "digits",
        "fit_data": "",
        "test_data": "",
        "n_fit": 1500,
        "n_test": 297,
        "matching": '{"name": "direct", "ridge": 0.5}',
        "batch_norm": "frozen",
        "seconds": 1.0,
        "device": "cpu",
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "commit": "",
        "created": "",
    }


def both_ways():
    return Records(record(b, t, depth) for b, t in ("AB", "BA") for depth in DEPTHS)


def untrained():
    return Records(record(depth=depth, penalty=80 * depth, control="untrained") for depth in DEPTHS)


def itself():
    return Records(record("A", "A", depth, 0.0, "self", "identity", 1.0) for depth in DEPTHS)


def drawn(chart):
    """Per panel title, the rows behind its points."""
    spec = chart.to_dict()
    panels = {}
    for panel in spec["hconcat"]:
        # Altair lifts data shared by all layers to their panel.
        names = [layer.get("data", panel.get("data", {}))["name"] for layer in panel["layer"]]
        panels[panel["title"]["text"]] = spec["datasets"][names[-1]]
    return panels


def subtitle(records):
    return " ".join(records.plot().to_dict()["title"]["subtitle"]).replace("\N{NO-BREAK SPACE}", " ")


def test_the_first_panel_shows_the_stitchings_at_their_own_scale():
    panels = drawn((both_ways() + untrained() + itself()).plot())
    assert [*panels] == ["The stitchings", "The same beside the untrained control", "What the activations alone say"]
    stitchings, beside, cka = panels.values()
    assert {row["control"] for row in stitchings} == {"", "self"}
    assert (len(stitchings), len(beside), len(cka)) == (9, 12, 12)
    assert max(row["penalty_high"] for row in stitchings) < 2 < 70 < max(row["penalty"] for row in beside)


def test_panels_with_nothing_to_show_are_left_out():
    without_cka = Records(record(depth=depth, cka=None) for depth in DEPTHS)
    assert [*drawn(without_cka.plot())] == ["The stitchings"]
    assert next(iter(drawn(untrained().plot()))) == "The same beside the untrained control"


def test_a_record_without_cka_is_missing_from_that_panel_only():
    panels = drawn((both_ways() + Records([record(cka=None)])).plot())
    assert (len(panels["The stitchings"]), len(panels["What the activations alone say"])) == (7, 6)


def test_series_are_named_by_who_meets_whom():
    rows = drawn((both_ways() + untrained() + itself()).plot())["The same beside the untrained control"]
    names = {"A → B", "B → A", "control: A with itself (Identity())", "control: untrained A → B"}
    assert {row["series"] for row in rows} == names


def test_mixed_recipes_are_told_apart():
    records = both_ways() + Records(record(depth=depth, family="orthogonal") for depth in DEPTHS) + itself()
    names = {"A → B, Affine()", "B → A, Affine()", "A → B, Orthogonal()", "control: A with itself (Identity())"}
    assert {row["series"] for row in drawn(records.plot())["The stitchings"]} == names


def test_series_at_one_place_stand_apart_by_less_than_a_layer():
    places = {row["place"] for row in drawn(both_ways().plot())["The stitchings"]}
    assert len(places) == 6
    assert all(min(abs(place - depth) for depth in DEPTHS) < 0.02 for place in places)


def test_cuts_at_one_depth_stand_beside_each_other():
    one, other = record(depth=0.9), dataclasses.replace(record(depth=0.9, seed=1), bottom_cut="pool")
    places = [row["place"] for row in drawn(Records([one, other, one]).plot())["The stitchings"]]
    assert places[0] == pytest.approx(0.9)
    assert places[1] > places[0]
    assert places[2] == places[0]


def test_each_series_has_its_own_colour_and_shape():
    spec = (both_ways() + untrained() + itself()).plot().to_dict()
    points = spec["hconcat"][0]["layer"][-1]["encoding"]
    for channel in ("color", "shape"):
        scale = points[channel]["scale"]
        assert len(set(scale["range"])) == len(scale["domain"]) == 4


def test_failures_are_counted_and_never_drawn():
    records = both_ways() + Records([failure()])
    assert len(drawn(records.plot())["The stitchings"]) == 6
    assert "6 records, 1 more failed and are not drawn" in subtitle(records)


def titles_of(records):
    """The titles of the vertical axes, and of what a point tells, in the first panel."""
    layers = records.plot().to_dict()["hconcat"][0]["layer"]
    axes = {layer["encoding"]["y"].get("title") for layer in layers} - {None}
    return axes, [tip.get("title") for tip in layers[-1]["encoding"]["tooltip"]]


def test_the_axis_and_the_tips_tell_the_unit():
    axes, tips = titles_of(both_ways())
    assert axes == {"penalty, points of test error"}
    assert {"penalty, points", "penalty in loss, nats", "error stitched, %", "error of the top, %"} <= set(tips)
    axes, tips = titles_of(Records([record(score=("R²", "R²"))]))
    assert axes == {"penalty, R²"}
    assert {"penalty, R²", "R² stitched", "R² of the bottom"} <= set(tips)
    assert not any("error" in tip or "loss" in tip for tip in tips)
    axes, tips = titles_of(both_ways() + Records([record(score=("R²", "R²"))]))
    assert axes == {"penalty, points of test error or R²"}
    assert {"penalty, points or R²", "error stitched, %", "R² stitched"} <= set(tips)


def test_the_subtitle_carries_the_recipe():
    told = subtitle(both_ways() + itself() + Records([record(seed=1)]))
    for part in ("data digits", "fitted on 1,500", "measured on 297", "family Affine() ", "matching Direct(ridge=0.5)"):
        assert part in told
    for part in ("batch norm frozen", "seed 0, 1", "95% paired bootstrap", "torch 2.13.0", "10 records"):
        assert part in told


def test_more_records_than_a_frame_may_have_are_all_drawn():
    records = Records([record()] * 5001)
    assert len(records.plot().datasets["trained"]) == 5001


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(DataError, match="found: none of 1 records has a value\ndo:    read their `reason`"):
        Records([failure()]).plot()


def test_the_frame_is_left_as_it_was():
    frame = both_ways().to_pandas()
    penalty_curves(frame)
    assert frame.equals(both_ways().to_pandas())


@pytest.mark.parametrize(
    ("ending", "begins"), [("png", b"\x89PNG"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<svg")]
)
def test_each_ending_has_its_format(tmp_path, ending, begins):
    save_figure(both_ways().plot(), tmp_path / f"figure.{ending}")
    assert (tmp_path / f"figure.{ending}").read_bytes().startswith(begins)
    assert os.listdir(tmp_path) == [f"figure.{ending}"]


def test_an_svg_holds_the_words_as_text(tmp_path):
    save_figure((both_ways() + itself()).plot(), tmp_path / "figure.svg")
    words = " ".join(xml.etree.ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    for word in ("The stitchings", "share of layers in the bottom", "A → B", "control: A with itself (Identity())"):
        assert word in words


def fetched(page):
    """The addresses that a browser would fetch on opening the page."""
    return re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]+)", page)


def test_a_page_works_offline(tmp_path):
    save_figure(both_ways().plot(), tmp_path / "figure.html")
    page = (tmp_path / "figure.html").read_text()
    assert fetched(page) == []
    assert r"A \u2192 B" in page
    assert len(page) > 500_000


def test_the_offline_check_sees_a_page_that_fetches():
    assert fetched(both_ways().plot().to_html())


def test_an_unknown_ending(tmp_path):
    with pytest.raises(SettingError, match=r"the ending '.jpg'\ndo:    use one of .png, .svg, .pdf, .html"):
        save_figure(both_ways().plot(), tmp_path / "figure.jpg")
    with pytest.raises(SettingError, match="the ending ''"):
        save_figure(both_ways().plot(), tmp_path / "figure")


def test_a_place_that_refuses(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match=r"asked: write .*figure\.svg"):
        save_figure(both_ways().plot(), tmp_path / "file" / "figure.svg")

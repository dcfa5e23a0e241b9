"""Rows: what a pair and a setting are, which stitching a curve shows, and JSON that stays data."""

import json

import numpy as np
import pandas as pd
import pytest
from made import HOSTILE, frame, grid, record

from modelstitch.records import Records
from modelstitch.report.rows import farthest, measures_of, names_of, packed, prepared, rows_of, script_json


def test_only_what_differs_names_a_setting():
    same = prepared(frame(record(), record(cut="layer2")))
    assert names_of(same, "setting") == [""]
    mixed = prepared(frame(record(), record(batch_norm="batch", n_fit=2000)))
    assert names_of(mixed, "setting") == ["batch norm frozen, fitted on 1,500", "batch norm batch, fitted on 2,000"]


def test_a_network_with_itself_makes_no_setting():
    made = prepared(frame(record(), record("A", "A", control="self", family="identity")))
    assert names_of(made, "setting") == [""]
    assert names_of(made, "pair") == ["A → B"]
    mixed = prepared(grid())
    assert set(mixed.loc[mixed["control"] == "self", "setting"]) == {""}


def test_a_curve_shows_the_top_at_the_nearest_depth():
    made = prepared(grid(families=("affine",)))
    shown = made[made["matched"] & (made["control"] == "") & (made["status"] == "ok")]
    assert (shown["bottom_cut"] == shown["top_cut"]).all()
    assert len(shown) == 8


def test_none_at_all_has_the_same_columns():
    assert set(prepared(Records().to_pandas()).columns) == set(prepared(grid()).columns)


def unpacked(held):
    columns = held["columns"].items()
    return [
        {name: one["values"][i] if "values" in one else one["levels"][one["rows"][i]] for name, one in columns}
        for i in range(held["n"])
    ]


def test_packed_rows_come_out_as_they_went_in():
    made = prepared(grid())
    assert unpacked(packed(made)) == rows_of(made)
    assert json.loads(json.dumps(rows_of(made), allow_nan=False)) == rows_of(made)


def test_what_is_no_number_is_nothing():
    told = pd.DataFrame({"x": [float("nan"), float("inf"), np.float64(1 / 3)], "y": ["a", "a", "b"]})
    assert rows_of(told)[0]["x"] is None is rows_of(told)[1]["x"]
    assert rows_of(told)[2]["x"] == 0.333333
    assert packed(told)["columns"]["y"] == {"levels": ["a", "b"], "rows": [0, 0, 1]}


@pytest.mark.parametrize("text", [*HOSTILE, "<!--", "]]>", "\u2028", "&lt;"])
def test_no_text_can_end_a_block_of_json(text):
    held = script_json({text: [text]})
    assert not set(held) & set("<>&\u2028\u2029")
    assert json.loads(held) == {text: [text]}


def test_settings_read_as_python_would_write_them():
    (one,) = prepared(frame(record())).to_dict("records")
    assert (one["family"], one["matching"]) == ("Affine(kernel=1)", "Direct(ridge=0.1)")
    assert one["task"] == "Classification()"


def test_the_measures_are_those_of_activations_and_those_that_nobody_knows():
    told = measures_of(frame(record(values={"mine": 0.5, "residual": 0.1})))
    assert (told["cka"], told["mine"]) == ("linear CKA", "mine")
    assert not {"residual", "agreement_top", "error", "loss_penalty", "penalty", "seconds"} & set(told)
    assert (farthest("cka"), farthest("mine")) == (None, None)
    assert farthest("procrustes") == pytest.approx(2**0.5)

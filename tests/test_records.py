"""Records: what a record may hold, what an export gives back, and what can be asked of many."""

import json
import os

import pytest

from modelstitch.errors import BadFile, NotWritable, NumericalFailure, SettingError
from modelstitch.records import Record, Records, Store, open_records
from modelstitch.records.lines import line_of

MEASURED = {
    "error": 9.0,
    "error_top": 7.5,
    "error_bottom": 7.0,
    "loss": 0.3,
    "loss_top": 0.25,
    "loss_bottom": 0.24,
    "penalty": 1.5,
    "penalty_low": 1.0,
    "penalty_high": 2.0,
    "loss_penalty": 0.05,
    "loss_penalty_low": 0.01,
    "loss_penalty_high": 0.09,
    "agreement_top": 0.9,
    "agreement_bottom": 0.8,
    "cka": 0.7,
    "residual": None,
    "learning_curve": (1.5, 0.1 + 0.2),
}
ASKED = {
    "key": "0123456789abcdef",
    "stitching": "A@layer2.1 -> B@layer2.1",
    "control": "",
    "bottom_network": "A",
    "top_network": "B",
    "bottom_weights": "a" * 16,
    "top_weights": "b" * 16,
    "bottom_cut": "layer2.1",
    "top_cut": "layer2.1",
    "bottom_depth": 0.5,
    "top_depth": 0.5,
    "data": "digits",
    "fit_data": "c" * 16,
    "test_data": "d" * 16,
    "n_fit": 1500,
    "n_test": 297,
    "family": "Affine",
    "matching": "TaskLoss",
    "batch_norm": "frozen",
    "seed": 0,
    "seconds": 1.25,
    "device": "cpu",
    "threads": 1,
    "versions": {"torch": "2.13.0"},
    "commit": "",
    "created": "2025",
}


def record(**changes):
    return Record(**{**ASKED, **MEASURED, "status": "ok", **changes})


def failure(**changes):
    return Record(**{**ASKED, "status": "failed", "reason": "NumericalFailure: the loss is nan", **changes})


def numbered(i):
    return record(key=f"{i:016x}", seed=i)


@pytest.mark.parametrize("name", [name for name, value in MEASURED.items() if isinstance(value, float)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_is_not_finite_enters_a_record(name, value):
    with pytest.raises(NumericalFailure, match=rf"found: {name} is {value}\ndo:    look at the learning rate"):
        record(**{name: value})


def test_an_ok_record_has_every_number():
    with pytest.raises(NumericalFailure, match="penalty_low is None"):
        record(penalty_low=None)
    assert record(cka=None, residual=None).cka is None


def test_a_learning_curve_and_the_depths_are_finite():
    with pytest.raises(NumericalFailure, match="learning_curve holds nan"):
        record(learning_curve=(1.0, float("nan")))
    with pytest.raises(NumericalFailure, match="bottom_depth is nan"):
        failure(bottom_depth=float("nan"))


@pytest.mark.parametrize("name", [*MEASURED])
def test_a_failure_has_no_score(name):
    value = (1.0,) if name == "learning_curve" else 0.0
    with pytest.raises(SettingError, match=rf"carries {name}\ndo:    leave every measured value out"):
        failure(**{name: value})


def test_a_failure_says_why_and_a_success_does_not():
    with pytest.raises(SettingError, match="reason is empty\ndo:    say why"):
        failure(reason="")
    with pytest.raises(SettingError, match="status 'ok' with the reason 'odd'"):
        record(reason="odd")


@pytest.mark.parametrize(("column", "value"), [("status", "done"), ("control", "none"), ("batch_norm", "eval")])
def test_columns_with_choices_hold_one_of_them(column, value):
    with pytest.raises(SettingError, match=f"{column} is '{value}'\ndo:    use one of "):
        record(**{column: value})


def test_a_file_gives_back_what_was_saved(tmp_path):
    records = Records([record(), failure(), record(control="self", versions={"torch": "2", "é": "ü\n"})])
    records.save(tmp_path / "deep" / "records.jsonl")
    assert open_records(tmp_path / "deep" / "records.jsonl") == records
    assert os.listdir(tmp_path / "deep") == ["records.jsonl"]


def test_every_line_is_strict_json(tmp_path):
    Records([record(), failure()]).save(tmp_path / "r")

    def refuse(constant):
        raise AssertionError(constant)

    ok, failed = (json.loads(line, parse_constant=refuse) for line in (tmp_path / "r").read_text().splitlines())
    assert ok["learning_curve"] == [1.5, 0.1 + 0.2]
    assert failed["penalty"] is None


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    Records([record()]).save(path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Records().save(path)
    assert os.listdir(tmp_path) == ["records.jsonl"]
    assert open_records(path) == Records([record()])


def test_a_place_that_refuses(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (Records().save, Store):
        with pytest.raises(NotWritable, match=r"asked: write .*records.jsonl\n.*\ndo:    name a file in a folder"):
            write(tmp_path / "file" / "records.jsonl")


def changed(**changes):
    return json.dumps({**json.loads(line_of(record())), **changes}).encode()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (line_of(record())[:-30], "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"", "no JSON"),
        (b"[1]", "JSON, but a list"),
        (b'{"key": "x"}', "missing columns stitching, control"),
        (changed(speed=3), "unknown columns speed"),
        (changed(n_test="many"), "n_test is 'many'"),
        (changed(seed=True), "seed is True"),
        (changed(versions={"torch": 2}), "versions is {'torch': 2}"),
        (changed(learning_curve=["low"]), "learning_curve is"),
        (changed(penalty=None), "penalty is None"),
        (changed(penalty=float("nan")), "penalty is nan"),
        (changed(status="done"), "status is 'done'"),
    ],
)
def test_a_foreign_line_is_named(tmp_path, line, found):
    path = tmp_path / "records.jsonl"
    path.write_bytes(line_of(record()) + line + b"\n" + line_of(record()))
    with pytest.raises(
        BadFile, match=rf"records.jsonl, line 2\nfound: .*{found}.*\ndo:    .*delete that line".replace("{", r"\{")
    ):
        open_records(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(BadFile, match="found: No such file or directory\ndo:    name a file"):
        open_records(tmp_path / "none.jsonl")


def test_records_are_a_sequence():
    records = Records(map(numbered, range(3)))
    assert [r.seed for r in records] == [0, 1, 2]
    assert records[1:] == Records([numbered(1), numbered(2)])
    assert records[-1] == numbered(2)
    assert len(records + records) == 6
    assert len({records, records + Records()}) == 1
    assert records != [*records]


def test_only_filters_and_names_unknown_columns():
    records = Records([record(), failure(), record(control="self")])
    assert records.only(status="ok", control="") == Records([record()])
    with pytest.raises(SettingError, match="did you mean 'family'"):
        records.only(famly="Affine")


def test_a_frame_has_the_same_types_for_any_number_of_records():
    frames = [Records(r).to_pandas() for r in ([], [record()], [failure()], [record(), failure()])]
    for frame in frames:
        assert frame.dtypes.to_dict() == frames[0].dtypes.to_dict()
    assert frames[0].dtypes["penalty"] == "float64"
    assert frames[0].dtypes["seed"] == "int64"
    assert frames[3]["penalty"].tolist()[0] == 1.5
    assert frames[3]["penalty"].isna().tolist() == [False, True]


def test_the_table_shows_values_failures_and_what_is_left_out():
    text = repr(Records([record(), failure(), record(cka=None)] * 8))
    assert text.startswith("24 records, 8 failed\nstitching")
    assert "+1.50 [+1.00, +2.00]    9.00  0.700  Affine" in text
    assert "failed: NumericalFailure: the loss is nan" in text
    assert text.endswith("… and 4 more")
    assert repr(Records()) == "0 records, 0 failed"

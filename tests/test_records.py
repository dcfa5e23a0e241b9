"""Records: what a record may hold, what an export gives back, and what can be asked of many."""

import dataclasses
import json
import math
import os

import pytest

from modelstitch.errors import BadFile, NotWritable, NumericalFailure, SettingError
from modelstitch.records import MeasureRow, Record, Records, ScoreRow, Store, open_records
from modelstitch.records.lines import line_of

SCORES = (
    ScoreRow("error", "points", "lower", 9.0, 7.5, 7.0, 1.5, 1.0, 2.0),
    ScoreRow("loss", "nats", "lower", 0.3, 0.25, 0.24, 0.05, 0.01, 0.09),
)
MEASURES = (MeasureRow("agreement_top", 0.9), MeasureRow("agreement_bottom", 0.8), MeasureRow("cka", 0.7))
CURVE = (1.5, 0.1 + 0.2)
FOUND = {"scores": SCORES, "measures": MEASURES, "curve": CURVE}
ASKED = {
    "key": "0123456789abcdef",
    "stitching": "A@layer2.1 -> B@layer2.1",
    "control": "",
    "bottom_network": "A",
    "top_network": "B",
    "bottom_weights": "a" * 16,
    "top_weights": "b" * 16,
    "bottom_graph": "e" * 16,
    "top_graph": "f" * 16,
    "bottom_cut": "layer2.1",
    "top_cut": "layer2.1",
    "bottom_kind": "map",
    "top_kind": "map",
    "bottom_depth": 0.5,
    "top_depth": 0.5,
    "data": "digits",
    "fit_data": "c" * 16,
    "test_data": "d" * 16,
    "n_fit": 1500,
    "n_test": 297,
    "task": '{"name": "classification"}',
    "family": '{"name": "affine", "kernel": 1}',
    "matching": '{"name": "task", "epochs": 2}',
    "batch_norm": "frozen",
    "seed": 0,
    "seconds": 1.25,
    "device": "cpu",
    "threads": 1,
    "versions": {"torch": "2.13.0"},
    "commit": "",
    "created": "2025",
}


def record(penalty=None, **changes):
    """A record that is ok; with a penalty of its own where one is given."""
    scores = SCORES if penalty is None else (dataclasses.replace(SCORES[0], penalty=penalty), SCORES[1])
    return Record(**{**ASKED, **FOUND, "scores": scores, "status": "ok", **changes})


def regression(**changes):
    """A record of a task of another kind, with a measure that nobody knows."""
    scores = (ScoreRow("r2", "R²", "higher", 0.85, 0.95, None, 0.1, 0.05, 0.2),)
    told = {"key": "r" * 16, "task": '{"name": "regression"}', "measures": (MeasureRow("mine", None, "too few"),)}
    return record(**{**told, "scores": scores, **changes})


def failure(**changes):
    return Record(**{**ASKED, "status": "failed", "reason": "NumericalFailure: the loss is nan", **changes})


def numbered(i):
    return record(key=f"{i:016x}", seed=i)


NUMBERS = ("stitched", "top", "bottom", "penalty", "low", "high")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("at", [0, 1])
def test_no_number_that_is_not_finite_enters_a_score(name, value, at):
    scores = list(SCORES)
    scores[at] = dataclasses.replace(scores[at], **{name: value})
    found = rf"found: {name} of {scores[at].score} is {value}\ndo:    look at the learning rate"
    with pytest.raises(NumericalFailure, match=found):
        record(scores=tuple(scores))


def test_an_ok_record_has_a_score_with_every_number_but_the_bottoms():
    with pytest.raises(NumericalFailure, match="found: no score"):
        record(scores=())
    lacking = dataclasses.replace(SCORES[0])
    object.__setattr__(lacking, "low", None)
    with pytest.raises(NumericalFailure, match="low of error is None"):
        record(scores=(lacking,))
    assert record(scores=(dataclasses.replace(SCORES[0], bottom=None),)).scores[0].bottom is None


def test_measures_curve_and_depths_are_finite():
    with pytest.raises(NumericalFailure, match="cka is nan"):
        record(measures=(MeasureRow("cka", float("nan")),))
    assert record(measures=(MeasureRow("cka", None),)).measure("cka") is None
    with pytest.raises(NumericalFailure, match="curve holds nan"):
        record(curve=(1.0, float("nan")))
    with pytest.raises(NumericalFailure, match="bottom_depth is nan"):
        failure(bottom_depth=float("nan"))


@pytest.mark.parametrize("name", [*FOUND])
def test_a_failure_has_no_value(name):
    with pytest.raises(SettingError, match=rf"carries {name}\ndo:    leave every measured value out"):
        failure(**{name: FOUND[name]})


def test_a_score_and_a_measure_are_there_once():
    with pytest.raises(SettingError, match="found: the score 'error' twice\ndo:    give each score once"):
        record(scores=(*SCORES, SCORES[0]))
    with pytest.raises(SettingError, match="found: the measure 'cka' twice\ndo:    give each measure once"):
        record(measures=(*MEASURES, MEASURES[2]))


def test_what_was_found_is_asked_by_name():
    one = regression()
    assert (one.penalty, one.penalty_low, one.penalty_high, one.unit) == (0.1, 0.05, 0.2, "R²")
    assert (one.score("r2"), one.score("error")) == (one.scores[0], None)
    assert (one.measure("mine"), one.note("mine"), one.note("cka")) == (None, "too few", "")
    assert (record().measure("cka"), record().score("loss")) == (0.7, SCORES[1])
    assert (failure().penalty, failure().penalty_low, failure().penalty_high, failure().unit) == (None, None, None, "")


def test_a_failure_says_why_and_a_success_does_not():
    with pytest.raises(SettingError, match="reason is empty\ndo:    say why"):
        failure(reason="")
    with pytest.raises(SettingError, match="status 'ok' with the reason 'odd'"):
        record(reason="odd")


@pytest.mark.parametrize(("column", "value"), [("status", "done"), ("control", "none"), ("batch_norm", "eval")])
def test_columns_with_choices_hold_one_of_them(column, value):
    with pytest.raises(SettingError, match=f"{column} is '{value}'\ndo:    use one of "):
        record(**{column: value})


def test_a_score_has_a_better_side():
    with pytest.raises(SettingError, match="found: better of error is 'left'\ndo:    use one of 'lower', 'higher'"):
        record(scores=(dataclasses.replace(SCORES[0], better="left"),))


def test_a_file_gives_back_what_was_saved(tmp_path):
    records = Records([record(), failure(), regression(), record(control="self", versions={"torch": "2", "é": "ü\n"})])
    records.save(tmp_path / "deep" / "records.jsonl")
    assert open_records(tmp_path / "deep" / "records.jsonl") == records
    assert os.listdir(tmp_path / "deep") == ["records.jsonl"]


def test_every_line_is_strict_json(tmp_path):
    Records([record(), failure()]).save(tmp_path / "r")

    def refuse(constant):
        raise AssertionError(constant)

    ok, failed = (json.loads(line, parse_constant=refuse) for line in (tmp_path / "r").read_text().splitlines())
    assert ok["curve"] == [1.5, 0.1 + 0.2]
    assert (ok["scores"][0]["penalty"], ok["measures"][2]) == (1.5, {"measure": "cka", "value": 0.7})
    assert (failed["scores"], failed["measures"], failed["curve"]) == ([], [], [])


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


def with_score(**changes):
    return changed(scores=[{**dataclasses.asdict(SCORES[0]), **changes}])


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
        (changed(curve=["low"]), "curve is"),
        (changed(curve={}), "curve is"),
        (changed(scores=[]), "no score"),
        (changed(scores={"error": 1}), "scores is {'error': 1}"),
        (changed(scores=["error"]), "scores is"),
        (with_score(penalty=None), "scores is .*'penalty': None"),
        (with_score(penalty=float("nan")), "penalty of error is nan"),
        (with_score(more=1.0), "scores is .*'more'"),
        (with_score(better="left"), "better of error is 'left'"),
        (changed(measures=[{"measure": "cka"}]), "measures is"),
        (changed(measures=[{"measure": "cka", "value": "high"}]), "measures is"),
        (changed(measures=[{"measure": "cka", "value": 1.0, "note": None}]), "measures is"),
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
    records = Records([record(), failure(), record(control="self"), regression()])
    assert records.only(status="ok", control="", score="error") == Records([record()])
    assert records.only(score="r2") == records.only(r2=0.85) == Records([regression()])
    assert records.only(cka=0.7, control="") == Records([record()])
    with pytest.raises(SettingError, match="did you mean 'family'"):
        records.only(famly="Affine")


def test_a_frame_has_the_same_types_for_any_number_of_records():
    frames = [Records(r).to_pandas() for r in ([], [record()], [failure()], [record(), failure()])]
    for frame in frames:
        assert frame.dtypes.to_dict() == frames[0].dtypes.to_dict()
    assert frames[0].dtypes["penalty"] == frames[0].dtypes["loss_penalty_low"] == frames[0].dtypes["pwcca"] == "float64"
    assert frames[0].dtypes["seed"] == "int64"
    assert frames[3]["penalty"].tolist()[0] == 1.5
    assert frames[3]["penalty"].isna().tolist() == [False, True]


def test_a_frame_has_columns_for_what_was_found():
    one = Records([record()]).to_pandas().iloc[0]
    assert (one["unit"], one["penalty"]) == ("points", 1.5)
    told = ("error", "error_top", "error_bottom", "loss_top", "penalty_low", "loss_penalty_high", "cka", "score")
    assert [one[name] for name in told] == [9.0, 7.5, 7.0, 0.25, 1.0, 0.09, 0.7, "error"]
    assert (one["curve"], one["measure_notes"]) == (CURVE, {})
    assert not {"error_penalty", "r2"} & set(one.index)
    other = Records([regression()]).to_pandas().iloc[0]
    assert (other["r2"], other["r2_top"], other["penalty"], other["unit"]) == (0.85, 0.95, 0.1, "R²")
    assert math.isnan(other["mine"])
    assert math.isnan(other["r2_bottom"])
    assert other["measure_notes"] == {"mine": "too few"}
    assert not {"error", "loss", "r2_penalty"} & set(other.index)
    mixed = Records([record(), regression()]).to_pandas()
    assert mixed["penalty"].tolist() == [1.5, 0.1]
    assert mixed["r2"].isna().tolist() == mixed["error"].isna().tolist()[::-1] == [True, False]


def test_a_measure_called_as_another_column_stands_beside_it():
    odd = record(measures=(MeasureRow("penalty", 3.0), MeasureRow("error_top", 4.0), MeasureRow("key", 5.0)))
    one = Records([odd]).to_pandas().iloc[0]
    assert (one["key"], one["penalty"], one["error_top"]) == (ASKED["key"], 1.5, 7.5)
    assert (one["found_penalty"], one["found_error_top"], one["found_key"]) == (3.0, 4.0, 5.0)


def test_the_table_shows_values_failures_and_what_is_left_out():
    text = repr(Records([record(), failure(), record(measures=())] * 8))
    assert text.startswith("24 records, 8 failed\nstitching")
    assert "  penalty [95%], points   error    CKA  family\n" in text
    assert "+1.50 [+1.00, +2.00]    9.00  0.700  Affine(kernel=1)" in text
    assert "+1.50 [+1.00, +2.00]    9.00      –  Affine(kernel=1)" in text
    assert "failed: NumericalFailure: the loss is nan" in text
    assert text.endswith("… and 4 more")
    assert repr(Records()) == "0 records, 0 failed"
    assert "penalty [95%]" in repr(Records([failure()]))


def test_the_table_of_mixed_tasks_tells_each_unit():
    text = repr(Records([regression()]))
    assert "  penalty [95%], R²      r2    CKA" in text
    text = repr(Records([record(), regression()]))
    assert "  penalty [95%]           score    CKA" in text
    assert "+1.50 [+1.00, +2.00] points      error 9.00  0.700" in text
    assert "+0.1000 [+0.0500, +0.2000] R²       r2 0.8500" in text
    widths = {len(line.partition("Affine")[0]) for line in text.splitlines()[2:]}
    assert len(widths) == 1

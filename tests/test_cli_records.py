"""The verbs that read runs: what they print, what they write, and that they change nothing."""

import csv
import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from modelstitch.records import Answer, Records, Store, export, open_records
from test_cli import check_refusal, run  # noqa: F401 - a fixture
from test_records import ASKED, MEASURES, SCORES, failure, numbered, record, regression

KEY = ASKED["key"]
HOSTILE = "'); DROP TABLE records;-- <b>[red]\n\x1b[31m"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("run.sqlite")
    store.append(record(versions={"torch": '2,"3"\n'}), b"a stitch")
    store.append(failure(key="f", stitching="A@fc -> B@fc"))
    store.append(record(key="s", control="self", family='{"name": "identity"}', matching="", penalty=0.0))
    store.add_failure("train C", "no such data")
    return store


def looks():
    return {path: path.read_bytes() for path in Path().iterdir()}


# The table


def test_the_table_is_that_of_stitch(run, store):  # noqa: F811
    before = looks()
    ended = run("records", "run.sqlite")
    assert ended.code == 0
    assert ended.out.splitlines()[:4] == [
        "A: 7.00 % test error",
        "B: 7.50 % test error",
        "digits: fitted on 1,500, measured on 297 examples",
        "Affine(kernel=1), TaskLoss(epochs=2), seed 0",
    ]
    assert "A@layer2.1 -> B@layer2.1" in ended.out
    assert "+1.50 [+1.00, +2.00]" in ended.out
    assert "1 self-stitches" in ended.out
    assert "failed: A@fc -> B@fc\nNumericalFailure: the loss is nan\n" in ended.out
    assert ended.err == "failed as a whole: train C\nno such data\n"
    assert looks() == before


def test_records_of_other_settings_stand_under_headings_of_their_own(run, store):  # noqa: F811
    store.append(record(key="d", matching='{"name": "direct"}', penalty=3.0))
    store.append(record(key="e", data="cifar10", fit_data="e" * 16, penalty=4.0))
    store.append(record(key="g", control="self", data="cifar10", fit_data="e" * 16, family='{"name": "identity"}'))
    out = run("records", "run.sqlite").out
    headings = ["Affine(kernel=1), TaskLoss(epochs=2)", "Affine(kernel=1), Direct()", "cifar10: fitted on 1,500"]
    places = [out.index(heading) for heading in headings]
    assert places == sorted(places)
    assert out.count("\n", 0, out.index("+3.00")) > out.count("\n", 0, places[1])
    assert places[1] < out.index("+3.00") < places[2] < out.index("+4.00")
    # Each self-stitch stands with its data.
    assert out.index("1 self-stitches") < places[1]
    assert out.rindex("each network with itself") > places[2]
    assert out.count("penalty  points of test error") == 1


def test_every_control_stands_in_a_section_of_its_own(run, store):  # noqa: F811
    titles = {
        "untrained": "untrained bottoms",
        "stem_reset": "a fresh stem",
        "noise": "noise in place",
        "clustered_noise": "noise that tells the class",
        "shuffled": "fitted on shuffled pairs",
    }
    for number, control in enumerate(titles, 1):
        other = (dataclasses.replace(SCORES[0], penalty=60.0 + number, bottom=55.0),)
        store.append(record(key=control, control=control, scores=other))
    out = run("records", "run.sqlite").out
    places = [out.index(text) for n, title in enumerate(titles.values(), 1) for text in (title, f"+{60 + n}.00")]
    assert places == sorted(places)
    # The error of a bottom with a fresh stem is not that of the network whose name it has.
    assert "55.00 % test error" not in out


def test_without_targets_each_bottom_is_told_beside_the_top_whose_answers_are_right(run, tmp_path):  # noqa: F811
    task = '{"name": "imitation", "by": "kl"}'
    scores = (dataclasses.replace(SCORES[0], top=0.0, bottom=45.0), dataclasses.replace(SCORES[1], top=0.0))
    there = Store(tmp_path / "own.sqlite")
    there.append(record(key="1", task=task, scores=scores))
    there.append(record(key="2", task=task, scores=scores, bottom_network="B", top_network="A"))
    out = run("records", tmp_path / "own.sqlite").out
    assert "A beside B: 45.00 % decisions other than the top's" in out
    assert "B beside A: 45.00 % decisions other than the top's" in out
    assert "points of decisions other than the top's, worse than" in out
    assert "test error" not in out


def test_another_score_is_told_with_its_unit(run, tmp_path):  # noqa: F811
    store = Store(tmp_path / "run.sqlite")
    store.append(regression(key="1", measures=MEASURES))
    out = run("records", tmp_path / "run.sqlite").out
    assert out.splitlines()[:2] == ["A: no R²", "B: 0.9500 R²"]
    assert "penalty [95 %], R²" in out
    assert "+0.1000 [+0.0500, +0.2000]" in out
    assert "R², worse than the top's own network where positive" in out
    store.append(record())
    out = run("records", tmp_path / "run.sqlite").out
    assert "R² or points of test error, worse than the top's own network where positive" in out
    assert out.index("penalty [95 %], R²") < out.index("7.50 % test error") < out.index("+1.50 [+1.00, +2.00]")


def test_a_run_that_has_found_nothing_yet(run, tmp_path):  # noqa: F811
    Store(tmp_path / "run.sqlite")
    assert run("records", tmp_path / "run.sqlite").out == "no records yet\n"
    assert run("records", tmp_path / "run.sqlite", "--json").out == ""


def test_an_export_is_shown_alike(run, store):  # noqa: F811
    store.records().save("run.jsonl")
    assert run("records", "run.jsonl").out == run("records", "run.sqlite").out
    assert run("records", "run.jsonl", "--csv").out == run("records", "run.sqlite", "--csv").out


# Forms


def test_json_is_the_export(run, store):  # noqa: F811
    store.records().save("saved.jsonl")
    assert run("records", "run.sqlite", "--json").out.encode() == Path("saved.jsonl").read_bytes()
    ended = run("records", "run.sqlite", "--json", "--out", "deep/written.jsonl")
    assert (ended.out, ended.err) == ("", "written: deep/written.jsonl\n")
    assert open_records("deep/written.jsonl") == store.records()


def test_csv_has_a_column_for_each_of_a_record(run, store):  # noqa: F811
    rows = list(csv.DictReader(io.StringIO(run("records", "run.sqlite", "--csv").out)))
    assert list(rows[0]) == list(Records().to_pandas().columns)
    assert [row["key"] for row in rows] == [KEY, "f", "s"]
    assert (float(rows[0]["penalty"]), rows[1]["penalty"]) == (1.5, "")
    assert json.loads(rows[0]["curve"]) == [1.5, 0.1 + 0.2]
    assert json.loads(rows[0]["versions"]) == {"torch": '2,"3"\n'}


def test_parquet_has_the_types_of_the_columns(run, store):  # noqa: F811
    assert run("records", "run.sqlite", "--parquet", "--out", "run.parquet").code == 0
    frame = pandas.read_parquet("run.parquet")
    expected = store.records().to_pandas()
    assert list(frame.columns) == list(expected.columns)
    assert frame["penalty"].tolist()[0] == 1.5
    assert frame["penalty"].isna().tolist() == [False, True, False]
    assert (frame["penalty"].dtype, frame["seed"].dtype) == ("float64", "int64")
    assert json.loads(frame["versions"][0]) == {"torch": '2,"3"\n'}
    sql = "SELECT key, penalty FROM records WHERE status = 'ok'"
    assert run("records", "run.sqlite", "--sql", sql, "--parquet", "--out", "asked.parquet").code == 0
    assert pandas.read_parquet("asked.parquet").to_dict("list") == {"key": [KEY, "s"], "penalty": [1.5, 0.0]}


def test_parquet_of_no_records_has_all_columns(tmp_path):
    (tmp_path / "none").write_bytes(export(Records(), "parquet"))
    assert len(pandas.read_parquet(tmp_path / "none").columns) == len(Records().to_pandas().columns)


def test_parquet_without_pyarrow_says_what_to_install(run, store, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pandas.io.parquet", None)
    asked = ("records", "run.sqlite", "--parquet", "--out", "run.parquet")
    check_refusal(run(*asked), "no pyarrow", r"pip install 'modelstitch\[parquet\]'")
    assert not Path("run.parquet").exists()


# Questions


def test_sql_is_answered_in_each_form(run, store):  # noqa: F811
    sql = "SELECT key, penalty AS p, seed FROM records ORDER BY key"
    lines = run("records", "run.sqlite", "--sql", sql).out.splitlines()
    assert lines[1].split() == ["key", "p", "seed"]
    assert [line.split() for line in lines[3:-1]] == [[KEY, "1.5", "0"], ["f", "–", "0"], ["s", "0", "0"]]
    assert run("records", "run.sqlite", "--sql", sql, "--csv").out == f"key,p,seed\n{KEY},1.5,0\nf,,0\ns,0.0,0\n"
    rows = [json.loads(line) for line in run("records", "run.sqlite", "--sql", sql, "--json").out.splitlines()]
    assert rows[:2] == [{"key": KEY, "p": 1.5, "seed": 0}, {"key": "f", "p": None, "seed": 0}]


def test_bytes_and_infinity_have_a_form(run, store):  # noqa: F811
    sql = "SELECT weights, 9e999 AS much FROM stitches"
    assert json.loads(run("records", "run.sqlite", "--sql", sql, "--json").out) == {
        "weights": b"a stitch".hex(),
        "much": None,
    }
    assert b"a stitch".hex() in run("records", "run.sqlite", "--sql", sql, "--csv").out
    assert "8 bytes" in run("records", "run.sqlite", "--sql", sql).out
    assert export(Answer(("a",), [("ü",)]), "json") == '{"a": "ü"}\n'.encode()


def test_hostile_text_breaks_no_form(run, store):  # noqa: F811
    store.append(record(key=HOSTILE, device=HOSTILE))
    sql = f"SELECT device FROM records WHERE key <> '{KEY}' AND length(key) > 1"
    shown = run("records", "run.sqlite", "--sql", sql).out
    assert len(shown.splitlines()) == 5
    assert r"<b>[red]\n\x1b[31m" in shown
    assert json.loads(run("records", "run.sqlite", "--sql", sql, "--json").out) == {"device": HOSTILE}
    ((_,), (value,)) = csv.reader(io.StringIO(run("records", "run.sqlite", "--sql", sql, "--csv").out, newline=""))
    assert value == HOSTILE
    assert run("records", "run.sqlite").code == 0


@pytest.mark.parametrize(
    ("sql", "found", "do"),
    [
        ("DELETE FROM records", "does not only read", "ask a SELECT"),
        ("ATTACH 'new.sqlite' AS n", "does not only read", "ask a SELECT"),
        ("SELECT penalti FROM records", "no such column: penalti", "see the tables"),
        ("SELECT 1; SELECT 2", "one statement at a time", "see the tables"),
        ("", "no statement", "ask a SELECT"),
    ],
)
def test_a_wrong_question_is_refused_in_three_lines(run, store, sql, found, do):  # noqa: F811
    before = looks()
    check_refusal(run("records", "run.sqlite", "--sql", sql), found, do)
    assert looks() == before


# Stitches


def test_a_stitch_is_written(run, store):  # noqa: F811
    ended = run("records", "run.sqlite", "--stitch", KEY, "--out", "one.safetensors")
    assert (ended.code, ended.out, ended.err) == (0, "", "written: one.safetensors\n")
    assert Path("one.safetensors").read_bytes() == b"a stitch"


# Requests that are none

WRONG = {
    "no file": (["none.sqlite"], "No such file", "name a file"),
    "a folder": (["."], "unable to open", "name a file"),
    "text": (["text"], "no line of it is a record", "Records.save"),
    "sql of an export": (["run.jsonl", "--sql", "SELECT 1"], "lines of JSON", "modelstitch merge NEW.sqlite run.jsonl"),
    "no stitch": (["run.sqlite", "--stitch", "f", "--out", "x"], "status 'failed' and no stitch", "see the keys"),
    "no such stitch": (["run.sqlite", "--stitch", "x", "--out", "x"], "no record of that key", "see the keys"),
    "stitch of an export": (["run.jsonl", "--stitch", KEY, "--out", "x"], "lines of JSON", "modelstitch merge"),
    "stitch on the screen": (["run.sqlite", "--stitch", KEY], "bytes that no screen shows", "--out FILE"),
    "stitch as CSV": (["run.sqlite", "--stitch", KEY, "--csv", "--out", "x"], "one form", "leave --csv out"),
    "stitch by SQL": (["run.sqlite", "--stitch", KEY, "--sql", "x", "--out", "x"], "one form", "leave --sql out"),
    "parquet on the screen": (["run.sqlite", "--parquet"], "bytes that no screen shows", "--out FILE"),
    "two forms": (["run.sqlite", "--json", "--csv"], "2 forms", "choose one"),
    "a table in a file": (["run.sqlite", "--out", "x"], "no form for a file", "--json, --csv, --parquet"),
    "a place that refuses": (["run.sqlite", "--csv", "--out", "text/x"], ".", "name a file"),
}


@pytest.mark.parametrize(("typed", "found", "do"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_refused_in_three_lines(run, store, typed, found, do):  # noqa: F811
    store.records().save("run.jsonl")
    Path("text").write_text("import this\n")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    check_refusal(run("records", *typed), found, do)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


# Merging


def test_merge_joins_stores_and_exports(run, store):  # noqa: F811
    other = Store("other.sqlite")
    other.append(numbered(1), b"one")
    other.append(record(key="f"), b"it worked")
    Records([numbered(2), numbered(1)]).save("export.jsonl")
    ended = run("merge", "all.sqlite", "run.sqlite", "other.sqlite", "export.jsonl")
    assert (ended.code, ended.out) == (0, "5 records in all.sqlite\n")
    assert ended.err.splitlines() == [
        "run.sqlite: 3 records taken",
        "other.sqlite: 2 records taken",
        "export.jsonl: 1 records taken",
    ]
    assert [r.key for r in Store("all.sqlite").records()] == [KEY, "f", "s", numbered(1).key, numbered(2).key]
    assert Store("all.sqlite").stitch("f") == b"it worked"
    again = run("merge", "all.sqlite", "run.sqlite", "--json")
    assert (json.loads(again.out), again.err) == (
        {"store": "all.sqlite", "records": 5},
        "run.sqlite: 0 records taken\n",
    )


def test_merge_refuses_what_is_no_run(run, store):  # noqa: F811
    store.records().save("run.jsonl")
    check_refusal(run("merge", "run.jsonl", "run.sqlite"), "an export", "make a store of it")
    check_refusal(run("merge", "run.sqlite", "none.sqlite"), "No such file", "name a file")
    assert run("merge", "run.sqlite").code == 2
    assert len(store.records()) == 3


@pytest.mark.parametrize("verb", ["records", "merge"])
def test_the_verbs_need_no_torch(store, verb):
    arguments = {"records": ["records", "run.sqlite", "--csv"], "merge": ["merge", "new.sqlite", "run.sqlite"]}[verb]
    code = (
        f"import sys\nfrom modelstitch.cli import main\ntry: main({arguments})\n"
        "except SystemExit as left: assert not left.code\nsys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0

"""The store: what was added is there once, whatever kills its writers, fills the disk or is written in its columns."""

import dataclasses
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import modelstitch
from modelstitch.comparison.comparison import Similarity
from modelstitch.errors import BadFile, NotWritable, NumericalFailure, SettingError, StitchNotFound
from modelstitch.records import (
    MeasureRow,
    Records,
    ScoreRow,
    Store,
    contents,
    database,
    open_records,
    open_stitch,
    query,
)
from modelstitch.records.lines import line_of
from modelstitch.records.rows import SIMILARITY
from test_records import ASKED, SCORES, failure, numbered, record, regression

KEY = ASKED["key"]
HOSTILE = [
    "'); DROP TABLE records;--",
    "<script>alert(1)</script>",
    "a\nb\r\n\tc",
    'quo"te',
    "nul\0inside",
    "ü – 🧵",
    "",
]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run.sqlite")


def similarity(**changes):
    one = Similarity("cka", "A", "layer1", 0.25, "B", "layer2", 0.5, 0.1 + 0.2, "", "digits", 299, "flatten")
    return {**dataclasses.asdict(one), "weights_a": "a" * 16, "weights_b": "b" * 16, **changes}


def bits(value):
    return value.hex() if isinstance(value, float) else value


# What is put in comes out


def test_a_store_grows_in_order_and_a_success_takes_the_place_of_a_failure(tmp_path):
    store = Store(tmp_path / "deep" / "run.sqlite")
    assert store.keys() == frozenset()
    assert store.records() == Records()
    store.append(failure())
    store.append(numbered(1))
    store.append(record())
    assert store.keys() == {KEY, numbered(1).key}
    assert store.records() == open_records(store.path) == Records([record(), numbered(1)])
    assert Store(store.path).records() == store.records()


def test_one_whole_file_is_left(store):
    store.append(record(), b"stitch")
    assert os.listdir(store.path.parent) == ["run.sqlite"]
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=30) | st.sampled_from(HOSTILE)
scores = st.builds(
    ScoreRow,
    *(texts, texts, st.sampled_from(["lower", "higher"]), numbers, numbers, st.none() | numbers),
    *(numbers, numbers, numbers),
)
measures = st.builds(MeasureRow, texts, st.none() | numbers, texts)
# Built within the test: the type checker of the tests draws random numbers, which a strategy must not.
columns_of_any_kind = st.fixed_dictionaries(
    {
        **{
            name: texts
            for name, value in ASKED.items()
            if isinstance(value, str) and name not in ("control", "batch_norm")
        },
        "scores": st.lists(scores, min_size=1, max_size=3, unique_by=lambda row: row.score).map(tuple),
        "measures": st.lists(measures, max_size=4, unique_by=lambda row: row.measure).map(tuple),
        "curve": st.lists(numbers, max_size=4).map(tuple),
        "versions": st.dictionaries(texts, texts, max_size=3),
        "seed": st.integers(-(2**63), 2**63 - 1),
        **dict.fromkeys(("bottom_depth", "top_depth", "seconds"), numbers),
    }
)


def bits_of(record):
    """All that a record holds, its numbers bit by bit; SQLite knows no negative zero."""
    return json.loads(
        json.dumps(dataclasses.asdict(record)),
        parse_float=lambda text: (float(text) + 0.0).hex(),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=columns_of_any_kind, stitch=st.binary(max_size=50))
def test_a_record_and_its_stitch_come_back_bit_for_bit(tmp_path, columns, stitch):
    store, one = Store(tmp_path / "run.sqlite"), record(**columns)
    try:
        store.append(one, stitch)
        (again,) = store.records()
        assert again == one
        assert bits_of(again) == bits_of(one)
        assert store.stitch(one.key) == stitch
        Records([one]).save(tmp_path / "r.jsonl")
        (line,) = open_records(tmp_path / "r.jsonl")
        assert (line, bits_of(line)) == (one, bits_of(one))
        Records([one]).to_pandas()
    finally:
        store.path.unlink()


def test_a_score_and_a_measure_that_nobody_knows_come_back(store, tmp_path):
    store.append(regression())
    store.append(record())
    assert store.records() == Records([regression(), record()])
    other = Store(tmp_path / "other.sqlite")
    assert other.merge(store.path) == 2
    assert other.records() == store.records()
    assert query(store.path, "SELECT penalty, unit, error FROM records").rows == [
        (0.1, "R²", None),
        (1.5, "points", 9.0),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(store, text):
    hostile = (dataclasses.replace(SCORES[0], score=text, unit=text),)
    one = record(
        key=text, stitching=text, versions={text: text}, scores=hostile, measures=(MeasureRow(text, 1.0, text),)
    )
    store.append(one, b"s")
    store.append(failure(key="x", reason=text + "."))
    store.add_recipe(text, text)
    store.add_network(text, text, {text: [text]})
    store.add_failure(text, text)
    store.add_similarities([similarity(cut_a=text, note=text)])
    assert store.records()[0] == one
    assert store.records()[1].reason == text + "."
    assert store.finished([text]) == {text: one}
    assert store.stitch(text) == b"s"
    assert store.recipes() == [(text, text)]
    assert store.networks() == [(text, text, {text: [text]})]
    assert store.failures() == {text: text}
    assert store.similarities() == [similarity(cut_a=text, note=text)]


def test_any_tool_reads_the_columns(store):
    store.append(record(key="a", penalty=2.0))
    store.append(failure(key="b"))
    answer = query(store.path, "SELECT key, penalty, typeof(penalty), typeof(seed), unit, error_top FROM records")
    assert answer.columns == ("key", "penalty", "typeof(penalty)", "typeof(seed)", "unit", "error_top")
    assert answer.rows[0] == ("a", 2.0, "real", "integer", "points", 7.5)
    assert answer.rows[1] == ("b", None, "null", "integer", None, None)
    assert query(store.path, "SELECT epoch, loss FROM curves").rows == [(1, 1.5), (2, 0.1 + 0.2)]
    assert query(store.path, "SELECT measure, value FROM measures WHERE value > 0.8").rows == [("agreement_top", 0.9)]


def test_the_view_is_the_wide_table(store):
    noted = record(measures=(MeasureRow("cka", None, "too few rows"), MeasureRow("pwcca", 0.1 + 0.2)))
    store.append(noted)
    store.append(failure(key="f"))
    told = query(store.path, "SELECT * FROM records")
    frame = store.records().to_pandas()
    # The curve is a table of its own.
    assert told.columns == tuple(name for name in frame.columns if name != "curve")
    for row, values in zip(told.rows, frame.to_dict("records"), strict=True):
        for name, value in zip(told.columns, row, strict=True):
            known = json.loads(value) if isinstance(values[name], dict) else value
            assert known == values[name] or (value is None and (values[name] == "" or math.isnan(values[name]))), name


def test_a_number_that_no_column_holds_is_refused(store):
    with pytest.raises(SettingError, match=f"found: seed is {2**63}\ndo:    choose a number below"):
        store.append(record(seed=2**63))
    assert store.keys() == frozenset()


# Which of two stays


NEW, OLD = "2025-02-02T00:00:00+00:00", "2025-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("there", "new", "stays"),
    [
        (record(created=OLD), record(created=NEW, penalty=9.0), "there"),
        (record(created=OLD), failure(created=NEW), "there"),
        (failure(created=OLD), record(created=NEW), "new"),
        (failure(created=NEW), record(created=OLD), "new"),
        (failure(created=OLD), failure(created=NEW, reason="again"), "new"),
        (failure(created=OLD), failure(created=OLD, reason="within a second"), "new"),
        (failure(created=NEW), failure(created=OLD, reason="earlier"), "there"),
    ],
)
@pytest.mark.parametrize("how", ["append", "merge", "merge an export"])
def test_a_success_stays_and_a_failure_gives_way(tmp_path, store, there, new, stays, how):
    store.append(there)
    store.append(numbered(1))
    if how == "append":
        store.append(new)
    else:
        other = tmp_path / "other"
        Records([new]).save(other) if how == "merge an export" else Store(other).append(new)
        assert store.merge(other) == (stays == "new")
        assert store.merge(other) == 0
    assert store.records() == Records([{"there": there, "new": new}[stays], numbered(1)])


def test_finished_are_the_successes_among_those_asked(store):
    store.append(failure(key="f"))
    for i in range(3):
        store.append(numbered(i))
    asked = [numbered(2).key, "f", "unknown", numbered(0).key, *map(str, range(2000))]
    assert store.finished(iter(asked)) == {numbered(i).key: numbered(i) for i in (0, 2)}
    assert store.finished([]) == {}


# Stitches


def test_a_stitch_belongs_to_the_numbers_measured_with_it(store):
    store.append(record())
    with pytest.raises(StitchNotFound, match=f"stitch of {KEY} in .*\nfound: a record of status 'ok' and no stitch\n"):
        store.stitch(KEY)
    store.append(record(penalty=9.0), b"another")
    with pytest.raises(LookupError, match="no stitch"):
        store.stitch(KEY)
    store.append(record(), b"its own")
    store.append(record(), b"a third")
    assert store.stitch(KEY) == open_stitch(store.path, KEY) == b"its own"
    with pytest.raises(StitchNotFound, match="found: no record of that key\ndo:    see the keys: `modelstitch records"):
        open_stitch(store.path, "unknown")


def test_a_failure_has_no_stitch(store):
    with pytest.raises(SettingError, match=r"failed A@layer2.1 -> B@layer2.1\nfound: a stitch\ndo:    leave it out"):
        store.append(failure(), b"stitch")
    assert store.keys() == frozenset()


def test_a_record_and_its_stitch_are_there_together_or_not_at_all(store):
    refusing = "CREATE TRIGGER t BEFORE INSERT ON stitches BEGIN SELECT RAISE(ABORT, 'refused'); END"
    change(store.path, refusing)
    with pytest.raises(BadFile, match=r"a damaged store \(refused\)"):
        store.append(record(), b"stitch")
    assert store.keys() == frozenset()


# Recipes, networks, similarities, failed jobs


def test_each_text_of_a_recipe_is_kept_once_and_verbatim(store):
    for name, text in [
        ("b", "one:\n  two # why\n\n"),
        ("a", "other"),
        ("c", "one:\n  two # why\n\n"),
        ("a", "third\r\n"),
    ]:
        store.add_recipe(name, text)
    assert store.recipes() == [("b", "one:\n  two # why\n\n"), ("a", "other"), ("a", "third\r\n")]


def test_a_network_is_kept_once_for_its_name_and_weights(store):
    for name, weights, config in [("B", "1", {"seed": 1}), ("A", "1", {}), ("B", "1", {"seed": 2}), ("B", "2", {})]:
        store.add_network(name, weights, config)
    assert store.networks() == [
        ("B", "1", {"seed": 1}),
        ("A", "1", {}),
        ("B", "2", {}),
    ]
    for config in ({"loss": math.nan}, {"model": object()}):
        with pytest.raises(
            SettingError, match=r"store the network C\nfound: .*JSON.*\ndo:    give a configuration that"
        ):
            store.add_network("C", "3", config)


def test_similarities_are_those_of_a_comparison():
    assert set(SIMILARITY) == {*Similarity.__dataclass_fields__, "weights_a", "weights_b"}
    kinds = {name: field.type for name, field in Similarity.__dataclass_fields__.items()}
    assert {name: SIMILARITY[name] for name in kinds} == kinds


@pytest.mark.parametrize("column", SIMILARITY)
def test_a_similarity_of_the_same_place_is_ignored(store, column):
    same = {"measure", "weights_a", "cut_a", "weights_b", "cut_b", "data", "n", "layout"}
    other = 300 if column == "n" else 0.75 if SIMILARITY[column].startswith("float") else "other"
    store.add_similarities([similarity()])
    store.add_similarities([similarity(), similarity(**{column: other})])
    expected = [similarity(), similarity(**{column: other})] if column in same else [similarity()]
    assert store.similarities() == expected


def test_a_similarity_without_a_value_and_wrong_ones(store):
    store.add_similarities([similarity(value=None, note="too few rows")])
    assert store.similarities() == [similarity(value=None, note="too few rows")]
    for wrong, found in [
        ({"value": "high"}, "value is 'high'"),
        ({"n": 2.5}, "n is 2.5"),
        ({"speed": 1}, "missing or unknown columns speed"),
    ]:
        with pytest.raises(SettingError, match=f"store the similarity 'cka'\nfound: {found}"):
            store.add_similarities([similarity(measure="new"), similarity(**wrong)])
    with pytest.raises(NumericalFailure, match="found: value is nan\ndo:    give None"):
        store.add_similarities([similarity(value=math.nan)])
    assert len(store.similarities()) == 1


def test_a_failed_job_is_kept_until_it_succeeds(store):
    store.add_failure("train A", "no data")
    store.add_failure("A with B", "shapes")
    store.add_failure("train A", "still no data")
    assert store.failures() == {"A with B": "shapes", "train A": "still no data"}
    store.clear_failure("train A")
    store.clear_failure("unknown")
    assert store.failures() == {"A with B": "shapes"}


# Merging


def filled(path, *numbers):
    store = Store(path)
    for i in numbers:
        store.append(numbered(i), b"stitch %d" % i)
    store.add_recipe(f"recipe {numbers}", f"text {numbers}")
    store.add_recipe("both", "both")
    store.add_network("A", str(numbers), {})
    store.add_similarities([similarity(), similarity(cut_a=str(numbers))])
    store.add_failure("both", f"reason {numbers}")
    store.add_failure(f"job {numbers}", "reason")
    return store


def test_a_merge_takes_everything_and_keeps_what_is_there(tmp_path):
    one, other = filled(tmp_path / "1", 1, 2), filled(tmp_path / "2", 2, 3, 4)
    before = other.path.read_bytes()
    assert one.merge(other.path) == 2
    assert one.merge(other.path) == 0
    assert [r.seed for r in one.records()] == [1, 2, 3, 4]
    assert [one.stitch(r.key) for r in one.records()] == [b"stitch %d" % i for i in (1, 2, 3, 4)]
    assert [name for name, _ in one.recipes()] == ["recipe (1, 2)", "both", "recipe (2, 3, 4)"]
    assert [n.weights for n in one.networks()] == ["(1, 2)", "(2, 3, 4)"]
    assert [s["cut_a"] for s in one.similarities()] == ["layer1", "(1, 2)", "(2, 3, 4)"]
    assert one.failures() == {"both": "reason (1, 2)", "job (1, 2)": "reason", "job (2, 3, 4)": "reason"}
    assert other.path.read_bytes() == before


def test_an_export_merged_into_a_new_store_gives_the_export_again(tmp_path, store):
    records = Records([record(), failure(key="f"), numbered(1)])
    records.save(tmp_path / "r.jsonl")
    assert store.merge(tmp_path / "r.jsonl") == 3
    store.records().save(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "r.jsonl").read_bytes()
    assert store.merge(store.path) == 0


@pytest.mark.parametrize("kind", ["export", "store"])
def test_a_merge_that_fails_adds_nothing(tmp_path, store, kind):
    other = tmp_path / "other"
    if kind == "export":
        other.write_bytes(line_of(numbered(1)) + b"torn")
    else:
        filled(other, 1, 2)
        change(other, "UPDATE networks SET config = '}'")
        change(other, "UPDATE similarities SET value = 'high'")
    with pytest.raises(BadFile, match=r"line 2|value is 'high'"):
        store.merge(other)
    assert store.keys() == frozenset()
    with pytest.raises(BadFile, match="found: No such file"):
        store.merge(tmp_path / "none")


def test_a_store_that_changes_while_it_is_merged_is_read_again(tmp_path, store, monkeypatch):
    other = filled(tmp_path / "other", 1)
    right, taken = contents.take, []

    def written_meanwhile(*given):
        taken.append(right(*given))
        if len(taken) == 1:
            other.append(numbered(2))
        return taken[-1]

    monkeypatch.setattr(contents, "take", written_meanwhile)
    # The first try is undone, or the second would find one record new.
    assert store.merge(other.path) == 2
    assert taken == [1, 2]
    assert {r.seed for r in store.records()} == {1, 2}


# Several processes, and what kills them


FOLDERS = [str(Path(modelstitch.__file__).parents[1]), str(Path(__file__).parent)]
WRITER = """
import sys
sys.path[:0] = {folders}
from test_records import numbered
from modelstitch.records import Store
store = Store({path!r})
for i in range({first}, {first} + {many}):
    store.append(numbered(i), b"stitch of %d" % i)
"""


def start(path, first, many=25):
    """Another process, which appends."""
    code = WRITER.format(folders=FOLDERS, path=str(path), first=first, many=many)
    return subprocess.Popen([sys.executable, "-c", code])


def test_two_processes_share_a_store(tmp_path):
    path = tmp_path / "run.sqlite"
    # Ten of the records are written by both.
    writers = [start(path, first) for first in (0, 15)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sorted(r.seed for r in open_records(path)) == [*range(40)]
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_many_make_one_store_at_once(tmp_path):
    for attempt in range(10):
        path, wrong = tmp_path / f"{attempt}.sqlite", []

        def make(i, path=path, wrong=wrong):
            try:
                Store(path).append(numbered(i))
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=make, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert {r.seed for r in open_records(path)} == set(range(6))


# Says on a pipe which record has been added; forked, for a start takes seconds where torch is imported.
KILLED = """
import os, sys, time
sys.path[:0] = {folders}
from test_records import numbered
from modelstitch.records import Store
while True:
    begin = int(sys.stdin.readline())
    if not (child := os.fork()):
        store = Store({path!r})
        print("here", os.getpid(), flush=True)
        for i in range(begin, begin + 10_000):
            store.append(numbered(i), b"stitch of %d" % i)
            # One write, which a kill cannot halve; print may make two.
            os.write(1, b"%d\\n" % i)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice(tmp_path):
    path = tmp_path / "run.sqlite"
    command = [sys.executable, "-c", KILLED.format(folders=FOLDERS, path=str(path))]
    added = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for attempt in range(30):
            begin = added[-1] + 1 if added else 0
            print(begin, file=parent.stdin, flush=True)
            child = int(parent.stdout.readline().split()[1])
            added += [int(parent.stdout.readline()) for _ in range(attempt % 4)]
            time.sleep(0.0003 * attempt)
            os.kill(child, signal.SIGKILL)
            while (line := parent.stdout.readline().strip()) != "dead":
                added.append(int(line))
            # Read without a writer's help, and then with it.
            for seeds in ([r.seed for r in open_records(path)], [r.seed for r in Store(path).records()]):
                # What was killed between its end and its word is there, though nobody was told.
                assert seeds[: len(added)] == added
                assert len(seeds) - len(added) in (0, 1)
            added = seeds
        parent.kill()
    store = Store(path)
    assert len(added) >= sum(attempt % 4 for attempt in range(30))
    assert all(store.stitch(r.key) == b"stitch of %d" % r.seed for r in store.records())
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_a_store_survives_a_fork(store):
    store.append(numbered(0))
    code = os.fork()
    if not code:
        try:
            store.append(numbered(1))
        finally:
            os._exit(0)
    os.waitpid(code, 0)
    store.append(numbered(2))
    assert [r.seed for r in store.records()] == [0, 1, 2]


def test_an_error_within_a_transaction_undoes_it(store):
    with pytest.raises(KeyboardInterrupt), database.writing(store.path) as connection:  # noqa: PT012
        connection.execute("INSERT INTO recipes VALUES ('a', 'b')")
        raise KeyboardInterrupt
    assert store.recipes() == []


# Places that refuse


def limited(monkeypatch, statement):
    """Each connection from here on runs this first."""
    right = sqlite3.connect

    def connect(*given, **options):
        connection = right(*given, **options)
        connection.execute(statement)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)


def test_a_full_disk_is_told_and_what_was_there_stays(store, monkeypatch):
    store.append(numbered(1), b"s")
    before = store.path.read_bytes()
    with monkeypatch.context() as patched:
        limited(patched, f"PRAGMA max_page_count = {len(before) // 4096}")
        with pytest.raises(NotWritable, match="found: database or disk is full\ndo:    make room"):
            store.append(numbered(2), b"s" * 100_000)
    assert store.records() == Records([numbered(1)])
    assert store.path.read_bytes() == before
    store.append(numbered(2), b"s" * 100_000)
    assert len(store.stitch(numbered(2).key)) == 100_000


def test_another_process_that_does_not_let_go_is_told(store, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with database.writing(store.path):
        with pytest.raises(
            NotWritable, match=r"asked: write .*run.sqlite\nfound: database is locked\ndo:    wait until"
        ):
            store.append(record())
        with pytest.raises(NotWritable, match="database is locked"):
            Store(store.path)
        # Readers need not wait.
        assert store.records() == open_records(store.path) == Records()
    store.append(record())


def test_a_place_that_refuses(tmp_path, store, monkeypatch):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run.sqlite", tmp_path):
        with pytest.raises(NotWritable, match=r"asked: write .*\nfound: .*\ndo:    name a file in a folder you may"):
            Store(path)
    limited(monkeypatch, "PRAGMA query_only = 1")
    with pytest.raises(NotWritable, match="found: attempt to write a readonly database\ndo:    name a file in"):
        store.append(record())


def test_a_store_that_was_taken_away_is_not_made_anew(store):
    store.path.unlink()
    with pytest.raises(NotWritable, match="found: unable to open database file"):
        store.append(record())
    assert os.listdir(store.path.parent) == []


# Files that are none of ours, or no longer whole


def change(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


FOREIGN = {
    "text": (lambda path: path.write_text("import this\n" * 99), "found: no SQLite file\n"),
    "an export": (Records([record()]).save, "an export\ndo:    make a store of it: `modelstitch merge NEW.sqlite "),
    "a database": (lambda path: change(path, "CREATE TABLE t (a)"), "found: a database of another program"),
    "a later format": (
        lambda path: (Store(path), change(path, "PRAGMA user_version = 3")),
        "found: format 3, where this modelstitch knows 2\ndo:    read it with the modelstitch that wrote it",
    ),
    "truncated": (
        lambda path: (filled(path, *range(9)), os.truncate(path, path.stat().st_size // 2)),
        r"found: a damaged store \(.*\)\ndo:    save what is whole: `sqlite3 .* .recover`; or run again what made it",
    ),
}


@pytest.mark.parametrize(("make", "found"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path, make, found):
    path = tmp_path / "run.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(BadFile, match=found):
        Store(path)
    with pytest.raises(BadFile, match=found):
        query(path, "SELECT 1")
    if found != FOREIGN["an export"][1]:
        with pytest.raises(BadFile, match="no line of it is a record" if "no SQLite" in found else found):
            open_records(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.sqlite"]


def test_every_truncation_and_any_flipped_page_is_seen(tmp_path, store):
    for i in range(30):
        store.append(numbered(i))
    whole, expected, copy = store.path.read_bytes(), store.records(), tmp_path / "copy"
    for size in (1, 2, 15, 16, 17, 50, 65, 71, 73, 99, 511, *range(512, len(whole), len(whole) // 40), len(whole) - 1):
        copy.write_bytes(whole[:size])
        with pytest.raises(BadFile, match=r"damaged store|no line of it is a record|another program"):
            open_records(copy)
        with pytest.raises(BadFile, match=r"damaged store|no SQLite"):
            Store(copy)
        assert copy.read_bytes() == whole[:size]
    for page in range(0, len(whole), 4096):
        copy.write_bytes(whole[:page] + b"\xa5" * 4096 + whole[page + 4096 :])
        try:
            found = open_records(copy)
        except BadFile:
            continue
        # An index is all that may have been lost.
        assert found == expected


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE scores SET bottom = 'high'", "'bottom': 'high'"),
        ("UPDATE scores SET penalty = 'high'", "'penalty': 'high'"),
        ("UPDATE scores SET penalty = 9e999", "penalty of error is inf"),
        ("UPDATE scores SET better = 'left'", "better of error is 'left'"),
        ("DELETE FROM scores", "no score"),
        ("UPDATE measures SET value = 'high'", "'value': 'high'"),
        ("UPDATE curves SET loss = 'low'", "curve is"),
        ("UPDATE records_asked SET n_test = 2.5", "n_test is 2.5"),
        ("UPDATE records_asked SET status = 'done'", "status is 'done'"),
        ("UPDATE records_asked SET versions = '{'", "no JSON"),
        ("UPDATE records_asked SET versions = '[]'", r"versions is \[\]"),
        ("UPDATE records_asked SET family = x'00ff'", "family is b"),
        ("UPDATE records_asked SET family = CAST(x'ff' AS TEXT)", "UTF-8"),
        ("DROP VIEW records; ALTER TABLE scores DROP COLUMN penalty", "no such column: penalty"),
        ("DROP TABLE records_asked", "no such table"),
    ],
)
def test_a_row_that_no_record_holds_is_refused(store, statement, found):
    store.append(record())
    change(store.path, *statement.split("; "))
    for ask in (store.records, lambda: open_records(store.path), lambda: store.finished([KEY])):
        if "status" in statement and "done" in statement and ask is not store.records:
            continue
        with pytest.raises(BadFile, match=rf"asked: .*run.sqlite\nfound: .*{found}.*\ndo:    "):
            ask()


@pytest.mark.parametrize("config", ["}", "[]"])
def test_a_network_whose_configuration_is_none_is_refused(store, config):
    store.add_network("A", "1", {})
    change(store.path, f"UPDATE networks SET config = '{config}'")
    with pytest.raises(BadFile, match=r"read a network in .*run.sqlite\nfound: .*configuration"):
        store.networks()


# Reading alone


def looks(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def leftover(path):
    """A store as a killed writer leaves it: its last record is in the log alone."""
    store = filled(path, 1)
    reader = sqlite3.connect(path)
    reader.execute("SELECT count(*) FROM records").fetchall()
    store.append(numbered(2))
    kept = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal", "-shm")}
    reader.close()
    for name, content in kept.items():
        Path(f"{path}{name}").write_bytes(content)
    assert len(kept["-wal"]) > 0


def test_reading_makes_and_changes_no_file(tmp_path, store):
    filled(store.path, 1)
    before = looks(tmp_path)
    assert [r.seed for r in open_records(store.path)] == [1]
    assert open_stitch(store.path, numbered(1).key) == b"stitch 1"
    assert query(store.path, "SELECT seed FROM records").rows == [(1,)]
    assert looks(tmp_path) == before
    with pytest.raises(BadFile, match="found: No such file or directory\ndo:    name a file"):
        open_records(tmp_path / "none.sqlite")
    assert looks(tmp_path) == before


@pytest.mark.parametrize("without_index", [False, True])
def test_what_a_killed_writer_left_in_its_log_is_read(tmp_path, without_index):
    path = tmp_path / "run.sqlite"
    leftover(path)
    if without_index:
        Path(f"{path}-shm").unlink()
    before = {name: content for name, (content, _) in looks(tmp_path).items() if not name.endswith("-shm")}
    assert [r.seed for r in open_records(path)] == [1, 2]
    after = {name: content for name, (content, _) in looks(tmp_path).items() if not name.endswith("-shm")}
    assert after == before
    assert Path(f"{path}-shm").exists() != without_index
    assert [r.seed for r in Store(path).records()] == [1, 2]
    assert os.listdir(tmp_path) == ["run.sqlite"]


READER = """
import os, sys
sys.path[:0] = {folders}
from modelstitch.records import Store, open_records
if os.getuid() == 0:
    os.setuid(65534)
print([r.seed for r in open_records({path!r})])
try:
    Store({path!r})
except PermissionError as error:
    print(error)
"""


@pytest.mark.parametrize("after", ["a whole run", "a kill"])
def test_a_store_in_a_read_only_folder_is_read(tmp_path, after):
    path = tmp_path / "run.sqlite"
    leftover(path) if after == "a kill" else filled(path, 1, 2)
    # The folders that pytest makes are closed to everybody but its user.
    folder = Path(tempfile.mkdtemp())
    try:
        for part in tmp_path.iterdir():
            (folder / part.name).write_bytes(part.read_bytes())
            (folder / part.name).chmod(0o444)
        folder.chmod(0o555)
        before = looks(folder)
        code = READER.format(folders=FOLDERS, path=str(folder / path.name))
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.startswith("[1, 2]\nasked: write ")
        assert "name a file in a folder you may write to" in ended.stdout
        assert looks(folder) == before
    finally:
        folder.chmod(0o755)
        for part in folder.iterdir():
            part.unlink()
        folder.rmdir()


def test_a_store_is_read_while_it_is_written(tmp_path):
    path = tmp_path / "run.sqlite"
    Store(path)
    writer, seen = start(path, 0, 600), []
    while writer.poll() is None:
        seeds = [r.seed for r in open_records(path)]
        assert seeds == [*range(len(seeds))]
        assert len(seeds) >= (seen[-1] if seen else 0)
        seen.append(len(seeds))
    assert writer.wait() == 0
    assert len(open_records(path)) == 600
    assert len(set(seen)) > 3


def test_a_read_that_was_disturbed_is_repeated(store):
    store.append(numbered(1))
    calls = []

    def disturbed(connection):
        found = connection.execute("SELECT seed FROM records").fetchall()
        calls.append(found)
        if len(calls) == 1:
            store.append(numbered(2))
        return found

    assert database.read_only(store.path, disturbed) == [(1,), (2,)]
    assert calls == [[(1,)], [(1,), (2,)]]


# Questions in SQL


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM records",
        "UPDATE records SET penalty = 0",
        "UPDATE scores SET penalty = 0",
        "DROP TABLE records",
        "CREATE TEMP TABLE t (a)",
        "ATTACH 'new.sqlite' AS n",
        "VACUUM INTO 'new.sqlite'",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 9",
        "BEGIN IMMEDIATE",
        "WITH t AS (SELECT 1) INSERT INTO recipes SELECT 'a', 'b' FROM t",
    ],
)
def test_a_question_changes_nothing(tmp_path, store, sql, monkeypatch):
    monkeypatch.chdir(tmp_path)
    filled(store.path, 1)
    before = looks(tmp_path)
    with pytest.raises(
        SettingError,
        match=r"asked: ask .*\nfound: (a statement that does not only|cannot VAC)",
    ):
        query(store.path, sql)
    assert looks(tmp_path) == before


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT speed FROM records", "no such column: speed"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT ?", "bindings"),
    ],
)
def test_a_question_that_is_none_is_refused(store, sql, found):
    with pytest.raises(SettingError, match=f"found: .*{found}.*\ndo:    see the tables"):
        query(store.path, sql)


@pytest.mark.parametrize(
    ("sql", "found", "do"),
    [(" -- why", "no statement", "ask a SELECT"), ("SELECT 1 AS a, 2 AS a", "two columns 'a'", "`a AS other`")],
)
def test_a_question_has_an_answer_that_can_be_written(store, sql, found, do):
    with pytest.raises(SettingError, match=f"found: {found}\ndo:    .*{do}"):
        query(store.path, sql)


def test_a_question_counts_joins_and_recurses(store):
    filled(store.path, 1, 2)
    assert query(store.path, "SELECT count(*), max(seed) FROM records JOIN stitches USING (key)").rows == [(2, 2)]
    counted = "WITH RECURSIVE t (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) SELECT i FROM t"
    assert query(store.path, counted).rows == [(1,), (2,), (3,)]

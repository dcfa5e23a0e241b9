"""The tables of a store, and records as rows of them.

What was asked, and where, is a row of ``records_asked``; what was found are rows of ``scores``, ``measures`` and
``curves``. The view ``records`` shows all of it as one wide table, so that any tool can read it.
Beware: SQLite keeps every number bit for bit but one: a negative zero comes back as zero.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelstitch.errors import BadFile, NumericalFailure, SettingError
from modelstitch.records.lines import checked, is_a
from modelstitch.records.record import COLUMNS, MEASURE, SCORE, Record
from modelstitch.records.wide import VIEWED, score_columns
from modelstitch.vocabulary import MEASURES

Row = tuple[Any, ...]

SIMILARITY = {
    "measure": "str",
    "network_a": "str",
    "cut_a": "str",
    "depth_a": "float",
    "network_b": "str",
    "cut_b": "str",
    "depth_b": "float",
    "value": "float | None",
    "note": "str",
    "data": "str",
    "n": "int",
    "layout": "str",
    "weights_a": "str",
    "weights_b": "str",
}
"""The columns of a similarity and what they hold."""

_SAME = ("measure", "weights_a", "cut_a", "weights_b", "cut_b", "data", "n", "layout")
_TYPES = {"str": "TEXT NOT NULL", "int": "INTEGER NOT NULL", "float": "REAL NOT NULL", "float | None": "REAL"}
_LARGEST = 2**63


def names(columns: Iterable[str]) -> str:
    """Columns as a statement lists them."""
    # One of them, commit, is a word of SQL. In double quotes a missing column would be read as text.
    return ", ".join(f"[{name}]" for name in columns)


def _columns(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{names([name])} {_TYPES.get(kind, 'TEXT NOT NULL')}" for name, kind in kinds.items())


_KEY = "key TEXT NOT NULL REFERENCES records_asked (key)"
_OF_SCORES = score_columns(VIEWED, VIEWED[1:])


def _view() -> str:
    """The records as one wide table, for questions in SQL: with the known scores and measures."""
    first = {"score": "score", "unit": "unit", "penalty": "penalty", "penalty_low": "low", "penalty_high": "high"}
    told = {name: f"SELECT [{field}] FROM scores WHERE key = r.key AND position = 0" for name, field in first.items()}
    told |= {
        column: f"SELECT [{field}] FROM scores WHERE key = r.key AND score = '{score}'"
        for column, (score, field) in _OF_SCORES.items()
    }
    told |= {name: f"SELECT value FROM measures WHERE key = r.key AND measure = '{name}'" for name in MEASURES}
    notes = "SELECT json_group_object(measure, note) FROM measures WHERE key = r.key AND note <> ''"
    columns = [f"r.[{name}]" for name in COLUMNS]
    columns += [f"({ask}) AS [{name}]" for name, ask in {**told, "measure_notes": notes}.items()]
    # In the order in which keys came: without it a question that an index alone answers has an order of its own.
    return f"CREATE VIEW records AS SELECT {', '.join(columns)} FROM records_asked r ORDER BY r.rowid"


TABLES = (
    f"CREATE TABLE records_asked ({_columns(COLUMNS)}, UNIQUE (key))",
    f"CREATE TABLE scores ({_KEY}, position INTEGER NOT NULL, {_columns(SCORE)}, UNIQUE (key, score))",
    f"CREATE TABLE measures ({_KEY}, {_columns(MEASURE)}, UNIQUE (key, measure))",
    f"CREATE TABLE curves ({_KEY}, epoch INTEGER NOT NULL, loss REAL NOT NULL, UNIQUE (key, epoch))",
    _view(),
    "CREATE TABLE stitches (key TEXT NOT NULL UNIQUE REFERENCES records_asked (key), weights BLOB NOT NULL)",
    "CREATE TABLE recipes (name TEXT NOT NULL, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE networks (name TEXT NOT NULL, weights TEXT NOT NULL, config TEXT NOT NULL, UNIQUE (name, weights))",
    f"CREATE TABLE similarities ({_columns(SIMILARITY)}, UNIQUE ({names(_SAME)}))",
    "CREATE TABLE failures (job TEXT NOT NULL UNIQUE, reason TEXT NOT NULL)",
)
"""What makes an empty store."""
FOUND_TABLES = {
    "scores": ("position", tuple(SCORE)),
    "measures": ("rowid", tuple(MEASURE)),
    "curves": ("epoch", ("loss",)),
}
"""The tables of what was found: by which column the rows of a record are in order, and what they hold beside it."""


class NetworkRow(NamedTuple):
    """A network that records speak of.

    Attributes:
        name: what they call it.
        weights: fingerprint of its weights.
        config: how it was built and trained, as far as is known.
    """

    name: str
    weights: str
    config: dict[str, Any]


def row_of(record: Record) -> Row:
    """What was asked and where, as the values of its columns.

    Raises:
        SettingError: an integer is larger than a column can hold.
    """
    values = {name: getattr(record, name) for name in COLUMNS}
    large = [f"{name} is {value}" for name, value in values.items() if COLUMNS[name] == "int" and _is_large(value)]
    if large:
        raise SettingError(f"the record of {record.stitching}", ", ".join(large), "choose a number below 2 to the 63")
    return tuple(to_json(values[name]) if _is_json(kind) else values[name] for name, kind in COLUMNS.items())


def found_rows(record: Record) -> Iterator[tuple[str, list[Row]]]:
    """What was found, as rows of the tables ``scores``, ``measures`` and ``curves``."""
    scores = [dataclasses.astuple(row) for row in record.scores]
    yield "scores", [(record.key, position, *row) for position, row in enumerate(scores)]
    yield "measures", [(record.key, *dataclasses.astuple(row)) for row in record.measures]
    yield "curves", [(record.key, epoch, loss) for epoch, loss in enumerate(record.curve, 1)]


def record_in(row: Sequence[object], found: Mapping[str, Sequence[Sequence[object]]], place: str) -> Record:
    """The record in a row and in its rows of other tables.

    Args:
        row: as `row_of` made it.
        found: as `found_rows` made them, without what says which record they are of, by table.
        place: the file, for the error.

    Raises:
        BadFile: it holds what no record can hold.
    """
    asked = f"read the record {row[0]!r} in {place}"
    do = "delete that row: the others are whole, and the sweep computes the missing one again"
    named = zip(COLUMNS.items(), row, strict=True)
    values = {name: _parsed(kind, value, asked, do) for (name, kind), value in named}
    values["scores"] = [dict(zip(SCORE, score, strict=True)) for score in found.get("scores", ())]
    values["measures"] = [dict(zip(MEASURE, measure, strict=True)) for measure in found.get("measures", ())]
    values["curve"] = [loss for (loss,) in found.get("curves", ())]
    return checked(values, asked, do)


def to_json(value: object) -> str:
    """JSON text; NaN, which is no JSON, is refused with a ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def similarity_row(similarity: Mapping[str, object]) -> Row:
    """A similarity as the values of its columns.

    Raises:
        SettingError: other columns, or values of another type.
        NumericalFailure: a number is not finite.
    """
    asked = f"store the similarity {similarity.get('measure')!r}"
    if similarity.keys() != SIMILARITY.keys():
        odd = ", ".join(sorted(similarity.keys() ^ SIMILARITY.keys()))
        raise SettingError(asked, f"missing or unknown columns {odd}", "give each column once")
    wrong = [name for name, kind in SIMILARITY.items() if not is_a(kind, similarity[name])]
    if wrong:
        found = ", ".join(f"{name} is {similarity[name]!r}" for name in wrong)
        raise SettingError(asked, found, "give text, numbers, and None for no value")
    endless = [f"{name} is {value}" for name, value in similarity.items() if _is_endless(value)]
    if endless:
        raise NumericalFailure(asked, ", ".join(endless), "give None for a value that there is not, and say why")
    return tuple(similarity[name] for name in SIMILARITY)


def similarity_in(row: Sequence[object], place: str) -> dict[str, object]:
    """The similarity in a row.

    Raises:
        BadFile: it holds what no similarity can hold.
    """
    found: dict[str, object] = dict(zip(SIMILARITY, row, strict=True))
    try:
        similarity_row(found)
    except (SettingError, NumericalFailure) as error:
        do = "delete that row: the comparison computes it again"
        raise BadFile(f"read a similarity in {place}", error.found, do) from error
    return found


def _is_json(kind: str) -> bool:
    return kind.startswith(("tuple", "dict"))


def _parsed(kind: str, value: object, asked: str, do: str) -> object:
    if not _is_json(kind) or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise BadFile(asked, f"{value!r}, no JSON ({error})", do) from error


def _is_large(value: int) -> bool:
    return not -_LARGEST <= value < _LARGEST


def _is_endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

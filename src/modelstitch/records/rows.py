"""The tables of a store, and records as rows of them.

Each column of a record is a column of its table, so that any tool can read it; tuples and dictionaries are JSON text.
Beware: SQLite keeps every number bit for bit but one: a negative zero comes back as zero.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelstitch.errors import BadFile, NumericalFailure, SettingError
from modelstitch.records.lines import checked, is_a
from modelstitch.records.record import COLUMNS, Record

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


TABLES = (
    f"CREATE TABLE records ({_columns(COLUMNS)}, UNIQUE (key))",
    "CREATE TABLE stitches (key TEXT NOT NULL UNIQUE REFERENCES records (key), weights BLOB NOT NULL)",
    "CREATE TABLE recipes (name TEXT NOT NULL, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE networks (name TEXT NOT NULL, weights TEXT NOT NULL, config TEXT NOT NULL, UNIQUE (name, weights))",
    f"CREATE TABLE similarities ({_columns(SIMILARITY)}, UNIQUE ({names(_SAME)}))",
    "CREATE TABLE failures (job TEXT NOT NULL UNIQUE, reason TEXT NOT NULL)",
)
"""What makes an empty store."""


def row_of(record: Record) -> Row:
    """The record as the values of its columns.

    Raises:
        SettingError: an integer is larger than a column can hold.
    """
    values = dataclasses.asdict(record)
    large = [f"{name} is {value}" for name, value in values.items() if COLUMNS[name] == "int" and _is_large(value)]
    if large:
        raise SettingError(f"the record of {record.stitching}", ", ".join(large), "choose a number below 2 to the 63")
    return tuple(to_json(values[name]) if _is_json(kind) else values[name] for name, kind in COLUMNS.items())


def record_in(row: Sequence[object], place: str) -> Record:
    """The record in a row.

    Args:
        row: as `row_of` made it.
        place: the file, for the error.

    Raises:
        BadFile: it holds what no record can hold.
    """
    asked = f"read the record {row[0]!r} in {place}"
    do = "delete that row: the others are whole, and the sweep computes the missing one again"
    named = zip(COLUMNS.items(), row, strict=True)
    return checked({name: _parsed(kind, value, asked, do) for (name, kind), value in named}, asked, do)


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

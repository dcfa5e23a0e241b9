"""One record as one line of JSON, and back: a line that is not exactly a record is refused.

``scores`` and ``measures`` are lists of objects, ``curve`` a list of numbers; a measure without a note leaves it out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelstitch.errors import BadFile, NumericalFailure, SettingError
from modelstitch.records.record import MEASURE, SCORE, MeasureRow, Record, ScoreRow

_NAME_ONE = "name a file that `modelstitch stitch --out` or `Records.save` has written"
_KINDS = {field.name: str(field.type) for field in dataclasses.fields(Record)}


def line_of(record: Record) -> bytes:
    """The record as one line, newline included."""
    told = dataclasses.asdict(record)
    for row in told["measures"]:
        if not row["note"]:
            del row["note"]
    # NaN is not JSON: a reader in another language would refuse the whole file.
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def record_of(line: bytes, place: str) -> Record:
    """The record in a line.

    Args:
        line: as `line_of` wrote it.
        place: the file and line number, for the error.

    Raises:
        BadFile: it is no JSON, has other columns, or holds what no record can hold.
    """
    asked = f"read the record in {place}"
    do = "delete that line: the others are whole, and the sweep computes the missing one again"
    try:
        found = json.loads(line)
    except ValueError as error:
        raise BadFile(asked, f"no JSON ({error})", do) from error
    return checked(found, asked, do)


def records_in_lines(path: Path) -> list[Record]:
    """The records of an export, in the order of its lines.

    Raises:
        BadFile: there is no such file, or a line of it is torn or foreign; the line number is named.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadFile(f"open the records in {path}", error.strerror or str(error), _NAME_ONE) from error
    if lines and not any(map(_is_ours, lines)):
        # Then there is nothing whole around a line that could be deleted.
        raise BadFile(f"open the records in {path}", "no line of it is a record", _NAME_ONE)
    return [record_of(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _is_ours(line: bytes) -> bool:
    """Whether a line is a record, or what is left of one."""
    return line.lstrip().startswith(b'{"key"') or (b'"stitching"' in line and b'"key"' in line)


def checked(found: object, asked: str, do: str) -> Record:
    """The record that these values make.

    Args:
        found: a value for each field of a record, as JSON gives it.
        asked: what was read, for the error.
        do: the way out, for the error.

    Raises:
        BadFile: other fields, or what no record can hold.
    """
    if not isinstance(found, dict) or found.keys() != _KINDS.keys():
        raise BadFile(asked, _difference(found), "read it with the modelstitch that wrote it, or " + do)
    wrong = [f"{name} is {found[name]!r}" for name, kind in _KINDS.items() if not _fits(kind, found[name])]
    if wrong:
        raise BadFile(asked, ", ".join(wrong), do)
    try:
        return Record(**{name: _as(kind, found[name]) for name, kind in _KINDS.items()})
    except (SettingError, NumericalFailure) as error:
        raise BadFile(asked, error.found, do) from error


def _difference(found: object) -> str:
    if not isinstance(found, dict):
        return f"JSON, but a {type(found).__name__} and no record"
    missing = [name for name in _KINDS if name not in found]
    unknown = [name for name in found if name not in _KINDS]
    sides = {"missing": missing, "unknown": unknown}
    return "; ".join(f"{word} columns {', '.join(names)}" for word, names in sides.items() if names)


def is_a(kind: str, value: object) -> bool:
    """Whether a value, as JSON gives it, can stand in a column of this kind."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "str": isinstance(value, str),
        "int": number and isinstance(value, int),
        "float": number,
        "float | None": number or value is None,
        "dict[str, str]": isinstance(value, dict) and all(is_a("str", item) for item in value.values()),
    }[kind]


def _fits(kind: str, value: object) -> bool:
    if kind not in _ROWS and kind != "tuple[float, ...]":
        return is_a(kind, value)
    if not isinstance(value, list):
        return False
    return all(_is_row(kind, one) if kind in _ROWS else is_a("float", one) for one in value)


def _is_row(kind: str, value: object) -> bool:
    columns: Mapping[str, str] = _ROWS[kind][1]
    if not isinstance(value, dict):
        return False
    told = {"note": "", **value} if "note" in columns else value
    return told.keys() == columns.keys() and all(is_a(columns[name], told[name]) for name in columns)


def _as(kind: str, value: Any) -> Any:
    if kind in _ROWS:
        row, columns = _ROWS[kind]
        return tuple(row(**{name: _as(columns[name], one) for name, one in each.items()}) for each in value)
    if kind == "tuple[float, ...]":
        return tuple(map(float, value))
    return float(value) if kind.startswith("float") and value is not None else value


_ROWS: dict[str, tuple[Any, dict[str, str]]] = {
    "tuple[ScoreRow, ...]": (ScoreRow, SCORE),
    "tuple[MeasureRow, ...]": (MeasureRow, MEASURE),
}

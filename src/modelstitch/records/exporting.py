"""Records, and answers to questions, as files for other programs."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from modelstitch.errors import SettingError
from modelstitch.records.lines import line_of
from modelstitch.records.rows import Row, to_json
from modelstitch.records.table import Records
from modelstitch.records.wide import Wide

_INSTALL = "pip install 'modelstitch[parquet]'"

Form = Literal["csv", "json", "parquet"]


@dataclass(frozen=True)
class Answer:
    """What a question in SQL found.

    Attributes:
        columns: their names.
        rows: the values of each row: text, integers, floats, bytes, or None.
    """

    columns: tuple[str, ...]
    rows: list[Row]


def export(found: Records | Answer, form: Form) -> bytes:
    """The content of a file that holds these records, or this answer.

    In CSV and Parquet records are a wide table, as of `Records.to_pandas`, and the columns that hold several values,
    such as ``versions``, are JSON text; in JSON they are nested. Bytes are hexadecimal in CSV and JSON.

    Args:
        found: what to write.
        form: ``csv``, ``json`` (one object a line) or ``parquet``.

    Raises:
        SettingError: Parquet without pyarrow.

    Example:
        >>> print(export(Answer(("cut", "n"), [("layer1", 2)]), "json").decode(), end="")
        {"cut": "layer1", "n": 2}
    """
    if form == "parquet":
        return _parquet(found)
    if form == "csv":
        return _csv(found if isinstance(found, Answer) else _answer(found))
    if isinstance(found, Records):
        return b"".join(map(line_of, found))
    rows = (dict(zip(found.columns, map(_plain, row), strict=True)) for row in found.rows)
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def _answer(records: Records) -> Answer:
    wide = Wide(records)
    rows = (wide.row(record).values() for record in records)
    return Answer(tuple(wide.kinds), [tuple(map(_flat, row)) for row in rows])


def _flat(value: Any) -> Any:
    return to_json(value) if isinstance(value, dict | tuple) else value


def _csv(answer: Answer) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([value.hex() if isinstance(value, bytes) else value for value in row] for row in answer.rows)
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    # JSON knows no infinity, which a question can well compute.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.hex() if isinstance(value, bytes) else value


def _parquet(found: Records | Answer) -> bytes:
    import pandas

    if isinstance(found, Answer):
        frame = pandas.DataFrame(found.rows, columns=list(found.columns))
    else:
        told = _answer(found)
        frame = found.to_pandas()
        for index, name in enumerate(told.columns):
            if frame[name].dtype == object:
                frame[name] = pandas.Series([row[index] for row in told.rows], dtype="string")
    try:
        return frame.to_parquet(path=None, engine="pyarrow", index=False)
    except ImportError as error:
        raise SettingError("export Parquet", "no pyarrow, which writes it", _INSTALL) from error

"""Records as one wide table: a column for each of what was asked and where, then for each score and each measure.

Of the first score of a record there are ``score``, ``unit``, ``penalty``, ``penalty_low`` and ``penalty_high``; of each
score s that any record has there are ``s``, ``s_top`` and ``s_bottom``, and where it is not the first one
``s_penalty``, ``s_penalty_low`` and ``s_penalty_high``. A measure is a column of its name; notes are together in
``measure_notes``. Columns of the scores of classification and of all known measures are there for no records, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelstitch.records.record import COLUMNS, Record
from modelstitch.vocabulary import MEASURES

VIEWED = ("error", "loss")
"""The scores whose columns are there for no records too, and in every store: those of classification."""
FIRST = {
    "score": "str",
    "unit": "str",
    "penalty": "float | None",
    "penalty_low": "float | None",
    "penalty_high": "float | None",
}
"""The columns of the first score, and what they hold."""
_SIDES = {"": "stitched", "_top": "top", "_bottom": "bottom"}
_FURTHER = {"_penalty": "penalty", "_penalty_low": "low", "_penalty_high": "high"}
_LAST = {"measure_notes": "dict[str, str]", "curve": "tuple[float, ...]"}
_FIXED = {*COLUMNS, *FIRST, *_LAST}


def score_columns(scores: Sequence[str], further: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The columns of some scores: the score and the field of its row, by the name of the column.

    Args:
        scores: their names.
        further: those that are not the first score of some record.

    Example:
        >>> score_columns(["error"], []), list(score_columns(["nll"], ["nll"]))[2:4]
        ({'error': ('error', 'stitched'), 'error_top': ('error', 'top'), 'error_bottom': ('error', 'bottom')}, \
['nll_bottom', 'nll_penalty'])
    """
    more = set(further)
    return {
        f"{score}{ending}": (score, field)
        for score in scores
        for ending, field in {**_SIDES, **(_FURTHER if score in more else {})}.items()
    }


def measure_columns(columns: Sequence[str]) -> list[str]:
    """The columns of a wide table that are measures: those that are neither fixed nor of a score."""
    scores = [name for name in columns if {f"{name}_top", f"{name}_bottom"} <= set(columns)]
    other = _FIXED | score_columns(scores, scores).keys()
    return [name for name in columns if name not in other]


class Wide:
    """The columns that some records have together, and each record as a row of them.

    Args:
        records: all of them.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        scores = [[row.score for row in record.scores] for record in records if record.scores] or [list(VIEWED)]
        names = list(dict.fromkeys(name for each in scores for name in each))
        self._scores = score_columns(names, [name for each in scores for name in each[1:]])
        found = (row.measure for record in records for row in record.measures)
        self._measures = {_apart(name, self._scores): name for name in dict.fromkeys([*MEASURES, *found])}
        self._scores = {_apart(column, ()): told for column, told in self._scores.items()}
        numbers = dict.fromkeys([*self._scores, *self._measures], "float | None")
        self.kinds: dict[str, str] = {**COLUMNS, **FIRST, **numbers, **_LAST}
        """The columns and what they hold."""

    def row(self, record: Record) -> dict[str, Any]:
        """The values of a record, by column."""
        rows = {row.score: row for row in record.scores}
        measures = {row.measure: row.value for row in record.measures}
        return {
            **{name: getattr(record, name) for name in COLUMNS},
            "score": record.scores[0].score if record.scores else "",
            **{name: getattr(record, name) for name in FIRST if name != "score"},
            **{column: getattr(rows.get(score), field, None) for column, (score, field) in self._scores.items()},
            **{column: measures.get(name) for column, name in self._measures.items()},
            "measure_notes": {row.measure: row.note for row in record.measures if row.note},
            "curve": record.curve,
        }


def _apart(name: str, taken: Iterable[str]) -> str:
    """A column's name for a score or a measure whose own is that of another column."""
    return f"found_{name}" if name in _FIXED or name in taken else name

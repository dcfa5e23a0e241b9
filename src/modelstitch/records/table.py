"""Many records as one value: joined, filtered, drawn, stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, overload

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.records.left_out import LeftOut, summary
from modelstitch.records.lines import line_of
from modelstitch.records.record import COLUMNS, Record
from modelstitch.records.wide import Wide
from modelstitch.support.files import write_whole
from modelstitch.vocabulary import decimals, spoken, with_unit

if TYPE_CHECKING:
    import altair
    import pandas

_DTYPES = {"str": "string", "int": "int64", "float": "float64", "float | None": "float64"}


class Records(Sequence[Record]):
    """Records in the order they were made; never changed, only joined, filtered and cut into new ones.

    Attributes:
        left_out: pairs of cuts that were not stitched, each with its reason; kept by all that is made of these records.

    Example:
        >>> len(Records() + Records()), list(Records().to_pandas().columns)[:3]
        (0, ['key', 'stitching', 'control'])
    """

    _SHOWN: ClassVar[int] = 20

    def __init__(self, records: Iterable[Record] = (), left_out: Iterable[LeftOut] = ()) -> None:
        self._records = tuple(records)
        self.left_out = tuple(dict.fromkeys(left_out))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        return Records(self._records[index], self.left_out) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __add__(self, other: Records) -> Records:
        return Records((*self, *other), (*self.left_out, *other.left_out))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self._records == other._records

    def __hash__(self) -> int:
        return hash(self._records)

    def __repr__(self) -> str:
        failed = sum(record.status == "failed" for record in self)
        lines = [f"{len(self)} records, {failed} failed"]
        if self:
            shown = self[: self._SHOWN]
            width = max(len(record.stitching) for record in shown)
            firsts = list(dict.fromkeys((one.scores[0].score, one.unit) for one in shown if one.scores))
            mixed = len(firsts) > 1
            lines.append(_columns(width, mixed, "stitching", "control", *_titles(firsts), "CKA", "family"))
            lines += [_row(record, width, mixed) for record in shown]
        if len(self) > self._SHOWN:
            lines.append(f"… and {len(self) - self._SHOWN} more")
        return "\n".join([*lines, *summary(self.left_out)])

    def only(self, **equals: str | int | float | None) -> Records:
        """The records whose columns equal these values: ``records.only(control="", status="ok")``.

        Args:
            equals: any column of `to_pandas`.

        Raises:
            SettingError: there is no such column.
        """
        wide = Wide(self)
        for column in equals:
            if column not in wide.kinds:
                do = did_you_mean(column, wide.kinds, "read `help(modelstitch.Record)`")
                raise SettingError(f"only the records with {column}={equals[column]!r}", "no such column", do)
        # Asked of a record itself where that can be: a wide row takes longer.
        plain = all(column in COLUMNS for column in equals)
        told = ((record, {} if plain else wide.row(record)) for record in self)
        found = (
            record
            for record, row in told
            if all((getattr(record, name) if plain else row[name]) == value for name, value in equals.items())
        )
        return Records(found, self.left_out)

    def to_pandas(self) -> pandas.DataFrame:
        """One row per record: what was asked, where, and a column for each score and measure that was found.

        Of the first score there are ``score``, ``unit``, ``penalty``, ``penalty_low`` and ``penalty_high``; of each
        score s there are ``s``, ``s_top`` and ``s_bottom``, of a further one ``s_penalty``, ``s_penalty_low`` and
        ``s_penalty_high`` too. Types do not depend on how many records there are.
        """
        import pandas

        wide = Wide(self)
        rows = [wide.row(record) for record in self]
        return pandas.DataFrame(
            {
                name: pandas.Series([row[name] for row in rows], dtype=_DTYPES.get(kind, "object"))
                for name, kind in wide.kinds.items()
            }
        )

    def plot(self) -> altair.HConcatChart:
        """The figure of these records: penalty over depth with its controls, and CKA at the same places."""
        from modelstitch import figures

        return figures.penalty_curves(self.to_pandas())

    def save(self, path: str | Path) -> None:
        """Write one JSON object a line; `open_records` reads it back equal.

        Raises:
            NotWritable: the place refuses.
        """
        write_whole(path, b"".join(map(line_of, self)))


def _titles(firsts: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The titles of the penalty and of what it is of; with one score for all, its name and unit stand here."""
    if len(firsts) != 1:
        return "penalty [95%]", "score"
    score, unit = firsts[0]
    return with_unit("penalty [95%]", unit), score


def _row(record: Record, width: int, mixed: bool) -> str:
    if record.status == "failed":
        return f"{record.stitching:{width}}  {record.control:9}  failed: {record.reason.splitlines()[0]}"
    first, cka = record.scores[0], record.measure("cka")
    digits = decimals(first.unit)
    penalty = f"{first.penalty:+.{digits}f} [{first.low:+.{digits}f}, {first.high:+.{digits}f}]"
    penalty, score = f"{penalty} {first.unit}".rstrip() if mixed else penalty, f"{first.stitched:.{digits}f}"
    told = "–" if cka is None else f"{cka:.3f}"
    score = f"{first.score} {score}" if mixed else score
    return _columns(width, mixed, record.stitching, record.control, penalty, score, told, spoken(record.family))


def _columns(width: int, mixed: bool, *cells: str) -> str:
    stitching, control, penalty, score, cka, family = cells
    # With its unit and the name of its score in every row, a penalty takes more room.
    wide, narrow = (35, 14) if mixed else (24, 6)
    return f"{stitching:{width}}  {control:9}  {penalty:>{wide}}  {score:>{narrow}}  {cka:>5}  {family}"

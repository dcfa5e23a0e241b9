"""Many records as one value: joined, filtered, drawn, stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, overload

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.files import write_whole
from modelstitch.records.lines import line_of
from modelstitch.records.record import COLUMNS, Record

if TYPE_CHECKING:
    import altair
    import pandas

_DTYPES = {"str": "string", "int": "int64", "float": "float64", "float | None": "float64"}


class Records(Sequence[Record]):
    """Records in the order they were made; never changed, only joined, filtered and cut into new ones.

    Example:
        >>> len(Records() + Records()), list(Records().to_pandas().columns)[:3]
        (0, ['key', 'stitching', 'control'])
    """

    _SHOWN: ClassVar[int] = 20

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __add__(self, other: Records) -> Records:
        return Records((*self, *other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self._records == other._records

    def __hash__(self) -> int:
        return hash(self._records)

    def __repr__(self) -> str:
        failed = sum(record.status == "failed" for record in self)
        lines = [f"{len(self)} records, {failed} failed"]
        if self:
            width = max(len(record.stitching) for record in self[: self._SHOWN])
            lines.append(_columns(width, "stitching", "control", "penalty [95%]", "error", "CKA", "family"))
            lines += [_row(record, width) for record in self[: self._SHOWN]]
        if len(self) > self._SHOWN:
            lines.append(f"… and {len(self) - self._SHOWN} more")
        return "\n".join(lines)

    def only(self, **equals: str | int | float | None) -> Records:
        """The records whose columns equal these values: ``records.only(control="", status="ok")``.

        Raises:
            SettingError: there is no such column.
        """
        for column in equals:
            if column not in COLUMNS:
                do = did_you_mean(column, COLUMNS, "read `help(modelstitch.Record)`")
                raise SettingError(f"only the records with {column}={equals[column]!r}", "no such column", do)
        return Records(r for r in self if all(getattr(r, column) == value for column, value in equals.items()))

    def to_pandas(self) -> pandas.DataFrame:
        """One row per record and one column per field, of the same types for none, one or many records."""
        import pandas

        columns = {name: [getattr(record, name) for record in self] for name in COLUMNS}
        return pandas.DataFrame(
            {name: pandas.Series(columns[name], dtype=_DTYPES.get(kind, "object")) for name, kind in COLUMNS.items()}
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


def _row(record: Record, width: int) -> str:
    if record.status == "failed":
        return f"{record.stitching:{width}}  {record.control:9}  failed: {record.reason.splitlines()[0]}"
    penalty = f"{record.penalty:+.2f} [{record.penalty_low:+.2f}, {record.penalty_high:+.2f}]"
    cka = "–" if record.cka is None else f"{record.cka:.3f}"
    return _columns(width, record.stitching, record.control, penalty, f"{record.error:.2f}", cka, record.family)


def _columns(width: int, stitching: str, control: str, penalty: str, error: str, cka: str, family: str) -> str:
    return f"{stitching:{width}}  {control:9}  {penalty:>24}  {error:>6}  {cka:>5}  {family}"

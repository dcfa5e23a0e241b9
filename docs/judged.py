"""Records held against a bound: it *holds* where their intervals lie within, *fails* where one lies outside.

Otherwise the records *cannot tell*. Where several seeds were run, the interval is Student's over their pairs; where one
pair was, it is the bootstrap's over test examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

import modelstitch as ms
from modelstitch.report.seeds import student

FOLDER = Path(__file__).resolve().parents[1] / "results" / "paper"


class NotRun(Exception):
    """The records that a claim needs are not there."""


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval.

    Attributes:
        value: the number.
        low: lower end.
        high: upper end.
        of: what it is of, such as a cut.
    """

    value: float
    low: float
    high: float
    of: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} outside its own interval, {self.low} to {self.high}")

    def __str__(self) -> str:
        where = f" {self.of}" if self.of else ""
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f}){where}"


@dataclass(frozen=True)
class Found:
    """What the records say of one part of a claim."""

    told: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    Attributes:
        name: as ``C1``.
        claim: in words, with the bound.
        paper: its number there.
        recipe: what re-creates it.
        parts: what is looked at.
    """

    name: str
    claim: str
    paper: str
    recipe: str
    parts: Sequence[Callable[[], Found]]


@cache
def records(figure: str) -> pd.DataFrame:
    """The records of a figure, failed ones left out: what a claim misses then is not there."""
    path = FOLDER / f"{figure}-small.jsonl"
    if not path.exists():
        raise NotRun(figure)
    frame = ms.open_records(path).to_pandas()
    frame["of"] = frame["bottom_network"].str.rsplit("-", n=1).str[0]
    frame["under"] = frame["top_network"].str.rsplit("-", n=1).str[0]
    return frame[frame["status"] == "ok"]


def chosen(figure: str, of: str, under: str, cuts: Sequence[str] = (), **columns: str | int) -> pd.DataFrame:
    """Records of bottoms below tops, frozen and trained unless told otherwise."""
    frame = records(figure)
    asked = {"control": "", "batch_norm": "frozen", **columns}
    for column, value in {"of": of, "under": under, **asked}.items():
        frame = frame[frame[column] == value]
    frame = frame[frame["top_cut"].isin(cuts)] if cuts else frame
    if frame.empty:
        raise NotRun(f"{of} below {under} in {figure}")
    return frame


def over_seeds(values: Sequence[float], of: str = "") -> Value:
    """The mean with Student's 95 % interval over independent values."""
    if len(values) < 2:
        raise NotRun(f"{len(values)} pairs of seeds where an interval needs two")
    return Value(*student(values), of)


def by_cut(frame: pd.DataFrame, column: str = "penalty") -> list[Value]:
    """A value for each cut: over seeds where there are several pairs, else over test examples."""
    found = []
    for cut, rows in frame.groupby("top_cut", sort=False):
        if len(rows) > 1:
            found.append(over_seeds(list(rows[column]), f"at `{cut}`"))
        else:
            row = rows.iloc[0]
            found.append(Value(row["penalty"], row["penalty_low"], row["penalty_high"], f"at `{cut}`"))
    return found


def within(label: str, values: Sequence[Value], low: float = -np.inf, high: float = np.inf) -> Found:
    """Whether every value lies within bounds; told by the one nearest to breaking them."""
    holds = all(one.low >= low and one.high <= high for one in values)
    fails = any(one.high < low or one.low > high for one in values)
    shown = max(values, key=lambda one: max(one.value - high, low - one.value))
    return Found(f"{label}{shown}", "holds" if holds else "fails" if fails else "cannot tell")


def difference(figure: str, of: str, other: str, under: str, cuts: Sequence[str] = (), **columns: str | int) -> Value:
    """How much more bottoms lose than others below the same tops, mean over cuts, over pairs of seeds."""
    rows = [chosen(figure, which, under, cuts, **columns) for which in (of, other)]
    means = [one.groupby("top_network")["penalty"].mean() for one in rows]
    per_top = (means[0] - means[1]).dropna()
    if per_top.empty:
        raise NotRun(f"{of} and {other} below one top in {figure}")
    if len(per_top) > 1:
        return over_seeds(list(per_top))
    # One top in common: the ends of both intervals, which is wide rather than narrow.
    ends = [one.loc[one["top_network"] == per_top.index[0], ["penalty_low", "penalty_high"]].mean() for one in rows]
    low, high = ends[0]["penalty_low"] - ends[1]["penalty_high"], ends[0]["penalty_high"] - ends[1]["penalty_low"]
    return Value(float(per_top.iloc[0]), float(low), float(high))

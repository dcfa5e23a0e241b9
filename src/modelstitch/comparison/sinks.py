"""What becomes of each batch of activations: summed, or multiplied, or kept, as the measures need.

A measure goes the cheapest way that is open to it: through streamed moments where no cut is too wide, through the Gram
matrices of its batches where that is its definition, else on rows kept in memory, of the first examples alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelstitch.cut import Cut
from modelstitch.errors import DataError, NumericalFailure, ShapeMismatch
from modelstitch.measures import GramTable, Measure
from modelstitch.measures.measure import check_rows
from modelstitch.moments import MomentsTable


class Sink(ABC):
    """Takes batches of rows at several cuts of two networks, then gives a value for each pair."""

    n: int = 0
    """How many examples it has taken."""

    @abstractmethod
    def take(self, xs: Sequence[Tensor], ys: Sequence[Tensor], examples: int) -> None:
        """One batch: the rows at each cut of the first network, and at each of the second."""

    @abstractmethod
    def value(self, measure: Measure, i: int, j: int) -> float:
        """The measure between cut i of the first network and cut j of the second.

        Raises:
            StitchError: there is no value, and why.
        """


class Summed(Sink):
    """Streamed moments. Cuts of different lengths, as rows by position have, are summed in tables of their own."""

    def __init__(self, cuts_a: Sequence[Cut], cuts_b: Sequence[Cut], by_position: bool) -> None:
        self._groups = [[cut.positions if by_position else () for cut in cuts] for cuts in (cuts_a, cuts_b)]
        shared = set(self._groups[0]) & set(self._groups[1])
        self._tables = {group: MomentsTable() for group in sorted(shared, key=str)}

    def take(self, xs: Sequence[Tensor], ys: Sequence[Tensor], examples: int) -> None:
        """Sum the rows of each group of cuts."""
        for group, table in self._tables.items():
            chosen = [
                [rows for rows, own in zip(side, groups, strict=True) if own == group]
                for side, groups in zip((xs, ys), self._groups, strict=True)
            ]
            table.update(*chosen)
        self.n += examples

    def value(self, measure: Measure, i: int, j: int) -> float:
        """From the moments of the two cuts."""
        group, other = self._groups[0][i], self._groups[1][j]
        if group != other:
            shapes = " and ".join(" × ".join(map(str, one)) or "no" for one in (group, other))
            raise ShapeMismatch(measure.title, f"{shapes} positions", "take the layout flatten or pool")
        assert measure.from_moments is not None
        first, second = (groups[:index].count(group) for groups, index in zip(self._groups, (i, j), strict=True))
        return measure.from_moments(self._tables[group].at(first, second))


class Multiplied(Sink):
    """Gram matrices of batches, which become products as soon as they are made."""

    def __init__(self) -> None:
        self._table = GramTable()

    def take(self, xs: Sequence[Tensor], ys: Sequence[Tensor], examples: int) -> None:
        """Multiply the rows, a batch at a time."""
        self._table.update(xs, ys)
        self.n += examples

    def value(self, measure: Measure, i: int, j: int) -> float:
        """From the sums of the batches."""
        return self._table.value(i, j)


class Kept(Sink):
    """The rows of the first examples, in memory: for measures that need all rows at once."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._batches: tuple[list[Sequence[Tensor]], list[Sequence[Tensor]]] = ([], [])
        self._rows: tuple[list[Tensor], list[Tensor]] | None = None
        self._sides: dict[tuple[str, int, int], Any] = {}

    def take(self, xs: Sequence[Tensor], ys: Sequence[Tensor], examples: int) -> None:
        """Keep the rows, while there is room."""
        room = min(self._at_most - self.n, examples)
        if room > 0:
            for kept, batch in zip(self._batches, (xs, ys), strict=True):
                kept.append([rows[:room].detach().cpu().clone() for rows in batch])
            self.n += room

    def value(self, measure: Measure, i: int, j: int) -> float:
        """From the rows of the two cuts."""
        x, y = self._side(measure, 0, i), self._side(measure, 1, j)
        for side in (x, y):
            if isinstance(side, NumericalFailure | DataError):
                raise side
        widths = (self.rows(0)[i].shape[1], self.rows(1)[j].shape[1])
        check_rows(measure.title, measure.promises, self.n, *widths)
        return measure.between(x, y)

    def rows(self, network: int) -> list[Tensor]:
        """The rows kept at each cut of the first (0) or second (1) network."""
        if self._rows is None:
            joined = [[torch.cat(parts) for parts in zip(*kept, strict=True)] for kept in self._batches]
            self._rows = (joined[0], joined[1])
            self._batches = ([], [])
        return self._rows[network]

    def _side(self, measure: Measure, network: int, index: int) -> Any:
        """What one layer brings to every pair, made once; its failure too, to be told at every pair."""
        key = (measure.name, network, index)
        if key not in self._sides:
            # The sides of one measure at a time: they are as large as the rows themselves.
            self._sides = {k: v for k, v in self._sides.items() if k[0] == measure.name}
            try:
                self._sides[key] = measure.one_side("xy"[network], self.rows(network)[index])
            except (NumericalFailure, DataError) as failure:
                self._sides[key] = failure
        return self._sides[key]

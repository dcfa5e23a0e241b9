"""Moments of every layer of one network with every layer of another: what each layer needs alone is summed once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modelstitch.errors import DataError
from modelstitch.moments.moments import Moments, require_pairs
from modelstitch.moments.sums import Cross, Side, cross_of, joined_crosses, joined_sides, rows_of, side_of


class MomentsTable:
    """`Moments` of L layers with M layers, streamed together: L + M sums of one side, L · M of pairs.

    Example:
        >>> import torch
        >>> table = MomentsTable()
        >>> table.update([torch.ones(3, 2), torch.eye(3)], [torch.eye(3)])
        >>> table.at(1, 0).n
        3
    """

    def __init__(self) -> None:
        self._xs: list[Side] = []
        self._ys: list[Side] = []
        self._across: list[list[Cross]] = []

    def update(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> None:
        """Take one more batch; a refused batch leaves the sums as they were.

        Args:
            xs: rows at each layer of the first network, ``(n, p_i)``.
            ys: the same rows at each layer of the second, ``(n, q_j)``.

        Raises:
            DataError: no rows, not the same number everywhere, or not the layers of the batches before.
            ShapeMismatch: not the channels of the batches before.
            NumericalFailure: a value is not finite, or too large to be squared.
        """
        if self._xs and (len(xs), len(ys)) != (len(self._xs), len(self._ys)):
            found = f"{len(xs)} and {len(ys)} layers after {len(self._xs)} and {len(self._ys)}"
            raise DataError("the moments of many layers", found, "give the same layers in every batch")
        for rows in (*xs, *ys):
            require_pairs(len(rows), len(xs[0]))
        rows_x = [rows_of(f"x[{i}]", x) for i, x in enumerate(xs)]
        rows_y = [rows_of(f"y[{j}]", y) for j, y in enumerate(ys)]
        new_xs = [side_of(f"x[{i}]", x) for i, x in enumerate(rows_x)]
        new_ys = [side_of(f"y[{j}]", y) for j, y in enumerate(rows_y)]
        across = [[cross_of(x, y) for y in rows_y] for x in rows_x]
        if self._xs:
            # The sides first: they refuse other channels in words.
            xs_of_all = [joined_sides(old, new) for old, new in zip(self._xs, new_xs, strict=True)]
            ys_of_all = [joined_sides(old, new) for old, new in zip(self._ys, new_ys, strict=True)]
            across = [
                [
                    joined_crosses(self._across[i][j], (self._xs[i], self._ys[j]), one, (new_xs[i], new_ys[j]))
                    for j, one in enumerate(line)
                ]
                for i, line in enumerate(across)
            ]
            new_xs, new_ys = xs_of_all, ys_of_all
        self._xs, self._ys, self._across = new_xs, new_ys, across

    def at(self, i: int, j: int) -> Moments:
        """The moments of layer i of the first network with layer j of the second."""
        return Moments.of(self._xs[i], self._ys[j], self._across[i][j])

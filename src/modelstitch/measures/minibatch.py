"""Minibatch CKA: linear CKA from an unbiased estimate of each batch, in memory that does not grow with the rows.

The measure for all layers against all layers: a batch costs each layer one product with itself, however many layers
there are on the other side, and the number of columns does not matter for the memory of what is kept.

Reference: Nguyen, Raghu & Kornblith, "Do Wide and Deep Networks Learn the Same Things? Uncovering How Neural Network
Representations Vary with Width and Depth", ICLR 2021, section 2.
Beware: only rows of one batch are compared with each other, so the value depends on their order. Shuffle data that is
sorted by class. It is close to `modelstitch.measures.debiased_cka`, with somewhat more spread, and not equal to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, SettingError
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure
from modelstitch.measures.products import FEWEST, Hollow, Layer, hollow
from modelstitch.measures.promises import Promises
from modelstitch.measures.scale import too_small
from modelstitch.moments.moments import require_pairs

_TITLE = "minibatch CKA"
_BATCH = 256
# Products of float32 are rounded at 1e-7, their squares at 1e-14: above this share at least four digits are left.
_FLOOR = 1e-10
# Squared traces below this have lost digits to underflow.
_LEAST = 1e-280


def minibatch_cka(x: RowsLike, y: RowsLike, *, batch_size: int = _BATCH) -> float:
    """Linear CKA whose three terms are averaged over batches, ``Σ_b h_b(x, y) / √(Σ_b h_b(x, x) · Σ_b h_b(y, y))``.

    ``h_b`` is the unbiased HSIC₁ of batch b, times its number of rows: batches of equal size weigh the same. Each batch
    has ``batch_size`` rows; what remains is a batch of its own, or joins the last one if it is fewer than four rows.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.
        batch_size: rows in a batch, at least 4. Costs grow with it, and the spread of the value falls.

    Returns:
        A similarity in [-1, 1], without unit: 1 for equal sides, on average about 0 for unrelated ones, so often
        slightly negative. Invariances as `modelstitch.measures.linear_cka`; not invariant to the order of the rows.
        Others take the mean of the ratios of batches, which is biased, count a smaller last batch in full, or clip
        negative values to 0.

    Raises:
        SettingError: ``batch_size`` is less than 4.
        DataError: fewer than four rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, one side is constant, or nothing of one side's terms is left, as
            when at most one row of each batch differs.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 0.0], [5.0, 1.0]])
        >>> round(minibatch_cka(x, 5 - 2 * x.flip(1)), 12)
        1.0
    """
    return _minibatch(batch_size)(x, y)


class GramTable:
    """`minibatch_cka` of L layers with M layers, streamed together: L + M products a batch, and L · M of numbers.

    Rows may come in any number at a time: they are put together again to batches of ``batch_size``. Products of float32
    rows are made in float32 about the mean of their batch, which moves a value by less than 1e-6; all that is summed
    is float64. If the lists of layers are one and the same object, as for a network with itself, the products are made
    once.

    Example:
        >>> table = GramTable(batch_size=8)
        >>> for rows in torch.arange(60.0).reshape(4, 5, 3).sin():
        ...     table.update([rows, rows.exp()], [2 * rows])
        >>> round(table.value(0, 0), 6), table.value(1, 0) < 1
        (1.0, True)
    """

    def __init__(self, batch_size: int = _BATCH) -> None:
        self._batch_size = _checked_size(batch_size)
        self._n = 0
        self._xs: list[Layer] = []
        self._ys: list[Layer] = []
        self._sums = _Sums()
        self._closed: _Sums | None = None

    def update(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> None:
        """Take more rows; refused rows leave the table as it was.

        Args:
            xs: rows at each layer of the first network, ``(n, p_i)``.
            ys: the same rows at each layer of the second, ``(n, q_j)``.

        Raises:
            DataError: no rows, not the same number everywhere, or not the layers of the rows before.
            ShapeMismatch: not the channels of the rows before.
            NumericalFailure: a value is not finite.
        """
        for rows in (*xs, *ys):
            require_pairs(len(rows), len(xs[0]))
        if self._n == 0:
            self._xs = [Layer(f"x[{i}]", self._batch_size) for i in range(len(xs))]
            self._ys = self._xs if ys is xs else [Layer(f"y[{j}]", self._batch_size) for j in range(len(ys))]
        same = self._xs is self._ys
        if (len(xs), len(ys)) != (len(self._xs), len(self._ys)) or (same and ys is not xs):
            found = f"{len(xs)} and {len(ys)} layers after {len(self._xs)} and {len(self._ys)}"
            found += " of one and the same list" if same else ""
            raise DataError(f"the {_TITLE} of many layers", found, "give the same layers in every batch")
        layers, given = (self._xs, list(xs)) if same else (self._xs + self._ys, [*xs, *ys])
        given = [layer.checked(rows) for layer, rows in zip(layers, given, strict=True)]
        self._closed = None
        begin, n = 0, len(given[0])
        while begin < n:
            end = begin + min(n - begin, layers[0].room)
            for layer, rows in zip(layers, given, strict=True):
                layer.take(rows[begin:end])
            begin = end
            if layers[0].room == 0:
                self._sums.add(*self._products(last=False))
        self._n += n

    def value(self, i: int, j: int) -> float:
        """The value of all rows so far, between layer i of the first network and layer j of the second.

        Raises:
            DataError: fewer than four rows were seen.
            NumericalFailure: one of the two layers does not vary within any batch, or nothing of its terms is left;
                other pairs keep their values.
        """
        if self._n < FEWEST:
            raise DataError(_TITLE, f"{self._n} paired rows", f"give at least {FEWEST}")
        if self._closed is None:
            self._closed = self._sums.copy()
            self._closed.add(*self._products(last=True))
        return self._closed.value(i, j, (f"x[{i}]", f"y[{j}]"))

    def _products(self, last: bool) -> tuple[list[Hollow], list[Hollow]]:
        xs = [layer.products(last) for layer in self._xs]
        return xs, xs if self._ys is self._xs else [layer.products(last) for layer in self._ys]


class _Sums:
    """Over all batches: the inner products of every pair, of every layer with itself, and its squared trace."""

    def __init__(self) -> None:
        self.across: Tensor | float = 0.0
        self.own: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
        self.traces: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
        self.moves: tuple[list[bool], list[bool]] = ([], [])

    def copy(self) -> _Sums:
        new = _Sums()
        new.across, new.own, new.traces, new.moves = self.across, self.own, self.traces, self.moves
        return new

    def add(self, xs: list[Hollow], ys: list[Hollow]) -> None:
        """Take in one batch."""
        a = torch.stack([x.values for x in xs])
        b = a if ys is xs else torch.stack([y.values for y in ys])
        weight = xs[0].weight
        self.across = self.across + weight * (a @ b.T).cpu()
        own = [weight * side.square().sum(1).cpu() for side in (a, b)]
        traces = [weight * torch.stack([one.trace for one in side]).square().cpu() for side in (xs, ys)]
        self.own = (self.own[0] + own[0], self.own[1] + own[1])
        self.traces = (self.traces[0] + traces[0], self.traces[1] + traces[1])
        moved = [[one.moves for one in side] for side in (xs, ys)]
        # Of the first batch there is nothing to join yet.
        old = [before or [False] * len(now) for before, now in zip(self.moves, moved, strict=True)]
        joined = [[a or b for a, b in zip(*both, strict=True)] for both in zip(old, moved, strict=True)]
        self.moves = (joined[0], joined[1])

    def value(self, i: int, j: int, names: tuple[str, str]) -> float:
        """The cosine of one pair.

        Raises:
            NumericalFailure: there is none.
        """
        assert isinstance(self.across, Tensor)
        sides: list[tuple[float, float]] = []
        for values, traces, at in zip(self.own, self.traces, (i, j), strict=True):
            assert isinstance(values, Tensor)
            assert isinstance(traces, Tensor)
            sides.append((float(values[at]), float(traces[at])))
        for name, (own, trace), moves in zip(names, sides, (self.moves[0][i], self.moves[1][j]), strict=True):
            if trace < _LEAST and moves:
                raise too_small(_TITLE, name)
            if trace == 0.0:
                found = f"{name} is constant: in every batch the same activations for every row"
                raise NumericalFailure(_TITLE, found, "cut elsewhere, or look at why the layer is dead")
            if not math.isfinite(trace):
                found = f"activations of {name} too large to be squared"
                raise NumericalFailure(_TITLE, found, "look for the first layer that returns such numbers")
            if own <= _FLOOR * trace:
                found = f"no covariance of {name} left without the diagonal, as when one row of each batch differs"
                raise NumericalFailure(_TITLE, found, "give more rows, or look at whether the layer is almost dead")
        value = float(self.across[i, j]) / math.sqrt(sides[0][0]) / math.sqrt(sides[1][0])
        # By the Cauchy-Schwarz inequality the exact value is in the range; only rounding leaves it, by 1e-16.
        return CKA_MINIBATCH.promises.within(_TITLE, value)


class _Streamed:
    """One layer each of a `GramTable`, in float64: the accumulator of the measure."""

    def __init__(self, batch_size: int) -> None:
        self._table = GramTable(batch_size)

    def update(self, x: Tensor, y: Tensor) -> None:
        self._table.update([x.double()], [y.double()])

    def compute(self) -> float:
        return self._table.value(0, 0)


def _side(x: Float64[Tensor, "n p"], batch_size: int) -> list[Hollow]:
    # The remainder joins the last batch where it would have no estimate of its own.
    begins = [begin for begin in range(0, len(x), batch_size) if begin == 0 or len(x) - begin >= FEWEST]
    ends = [*begins[1:], len(x)]
    return [hollow(x[begin:end] - x[begin]) for begin, end in zip(begins, ends, strict=True)]


def _between(x: list[Hollow], y: list[Hollow]) -> float:
    sums = _Sums()
    for a, b in zip(x, y, strict=True):
        sums.add([a], [b])
    return sums.value(0, 0, ("x", "y"))


def _checked_size(batch_size: int) -> int:
    if batch_size < FEWEST:
        raise SettingError(_TITLE, f"batch_size={batch_size!r}", f"take batches of at least {FEWEST} rows, better 256")
    return batch_size


def _minibatch(batch_size: int) -> Measure:
    return Measure(
        name="cka_minibatch",
        title=_TITLE,
        promises=Promises(
            range=(-1.0, 1.0),
            higher_is_more_similar=True,
            symmetric=True,
            metric=False,
            invariances=frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"}),
            least_rows=FEWEST,
            rows_per_channel="any",
        ),
        side=partial(_side, batch_size=_checked_size(batch_size)),
        between=_between,
        streaming=partial(_Streamed, batch_size),
    )


CKA_MINIBATCH = _minibatch(_BATCH)
"""`minibatch_cka` as an object, with batches of 256; ``CKA_MINIBATCH.accumulator()`` streams it."""

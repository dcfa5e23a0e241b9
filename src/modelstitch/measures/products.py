"""Products of the rows of one batch, without their diagonal and centred: what unbiased HSIC is an inner product of.

The matrix ``K̃`` of products of pairs of rows is "U-centred": its diagonal is 0, and something of its row and of its
column is subtracted from each other entry so that all rows add up to 0. Then ``HSIC₁(K, L) = Σ K̃ᵢⱼ L̃ᵢⱼ / (n (n-3))``.

References: Song, Smola, Gretton, Bedo & Borgwardt, "Feature Selection via Dependence Maximization", JMLR 2012; Székely
& Rizzo, "Partial Distance Correlation with Methods for Dissimilarities", 2014, for U-centring.
Beware: rows are moved to their batch's first row and then to its mean, before they are multiplied. Neither changes the
result; both save the digits of rows far from zero, and the first makes constant channels exactly 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from modelstitch.errors import ShapeMismatch
from modelstitch.moments.sums import require_finite

FEWEST = 4
"""The unbiased estimate has no value on fewer rows."""

# With a longest row of a squared length within these bounds float32 neither overflows nor loses digits to underflow.
_SAFE = (1e-24, 1e24)


@dataclass(frozen=True, eq=False)
class Hollow:
    """The U-centred products of n rows, once for each pair of rows; the sum of the squared lengths; and the weight.

    ``moves`` says whether any two rows differ, also where their squares vanish.

    With the weight, inner products of ``values`` are ``n · HSIC₁``.
    """

    values: Float64[Tensor, " k"]
    trace: Float64[Tensor, ""]
    weight: float
    moves: bool


def hollow(near: Float[Tensor, "n p"]) -> Hollow:
    """The products of one batch.

    Args:
        near: its rows about some point near them; they are centred in place, since a copy takes as long as a tenth of
            the products.
    """
    n = len(near)
    products = _lower(near.sub_(near.mean(0)))
    trace = products.diagonal().sum()
    below = products.tril(-1)
    rows = below.sum(0) + below.sum(1)
    total = rows.sum() / ((n - 1) * (n - 2))
    shift = rows / (n - 2) - total / 2
    centred = (below - shift - shift[:, None]).tril(-1)
    # Float32 is squared in float64, where its squares do not vanish.
    moves = near.dtype == torch.float64 and float(trace) == 0.0 and bool(near.any())
    return Hollow(centred.flatten(), trace, 2 / (n - 3), moves or float(trace) > 0.0)


def _lower(centred: Float[Tensor, "n p"]) -> Float64[Tensor, "n n"]:
    """The products on and below the diagonal, in float64; what stands above it is left undefined."""
    if centred.dtype == torch.float32 and _float32_is_exact():
        products = _slabs(centred)
        # The squared lengths tell of overflow and underflow; to look at the rows themselves would take longer.
        if _SAFE[0] < float(products.diagonal().max()) < _SAFE[1]:
            return products.double()
    return _slabs(centred.double())


def _slabs(centred: Tensor) -> Tensor:
    """Four slabs that reach down from the diagonal: 10/16 of the work of the whole product."""
    n = len(centred)
    products = centred.new_zeros(n, n)
    slab = math.ceil(n / 4)
    for begin in range(0, n, slab):
        end = begin + slab
        # With `out`, autocast leaves the product alone.
        torch.mm(centred[begin:], centred[begin:end].T, out=products[begin:, begin:end])
    return products


def _float32_is_exact() -> bool:
    """Whether products of float32 are made in float32: a process may trade their digits for speed."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:
        # How torch answers when that was set for one backend alone.
        return False


class Layer:
    """The rows of one layer that wait for their batch to be full.

    A batch is closed only when four more rows have come, so that the last one never has fewer.
    """

    def __init__(self, name: str, batch_size: int) -> None:
        self._name = name
        self._size = batch_size
        self._near: Tensor | None = None
        self._first: Tensor | None = None
        self._filled = 0
        self._next: list[Tensor] = []

    @property
    def room(self) -> int:
        """How many rows can be taken before something has to be done: 0 means that a batch is to be closed."""
        return self._size - self._filled if self._filled < self._size else FEWEST - sum(map(len, self._next))

    def checked(self, rows: Float[Tensor, "n p"]) -> Tensor:
        """Rows that `take` can take.

        Raises:
            ShapeMismatch: not the channels of the rows before.
            NumericalFailure: a value is not finite.
        """
        if self._near is not None and rows.shape[1] != self._near.shape[1]:
            found = f"rows of {self._near.shape[1]} channels before"
            raise ShapeMismatch(
                f"more rows of {self._name}, of {rows.shape[1]} channels", found, "use one table a pair"
            )
        rows = rows.detach()
        # Apple's GPUs have no float64; every other device has.
        rows = rows.cpu() if rows.device.type == "mps" else rows
        if self._near is not None:
            rows = rows.to(self._near)
        rows = rows if rows.dtype == torch.float64 else rows.float()
        require_finite(self._name, rows)
        return rows

    def take(self, rows: Float[Tensor, "n p"]) -> None:
        """Copy no more rows than there is room for; the caller may use the memory again."""
        if self._filled == self._size:
            self._next.append(rows.clone())
            return
        if self._near is None:
            self._near = rows.new_empty(self._size, rows.shape[1])
        if self._filled == 0:
            self._first = rows[0].clone()
        assert self._first is not None
        torch.sub(rows, self._first, out=self._near[self._filled : self._filled + len(rows)])
        self._filled += len(rows)

    def products(self, last: bool) -> Hollow:
        """Of the rows of the batch; with those that came after it if it is the last, else these begin the next one."""
        assert self._near is not None
        assert self._first is not None
        near = self._near[: self._filled]
        if last:
            return hollow(torch.cat([near, *(rows - self._first for rows in self._next)]))
        self._filled, waiting, self._next = 0, self._next, []
        found = hollow(near)
        for rows in waiting:
            self.take(rows)
        return found

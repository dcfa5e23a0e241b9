"""Moments of the paired rows of two networks' activations at one place each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from modelstitch.errors import DataError
from modelstitch.moments.sums import Cross, Side, cross_of, joined_crosses, joined_sides, on_device, rows_of, side_of

# A constant channel keeps a spread of a few float64 roundings (1e-16) of its mean; the finest step that float32
# activations can take is 1e-7 of it. Anything between the two separates them.
_SPREAD_FLOOR = 1e-12


class _Sums(NamedTuple):
    """All that is known of the rows, on the device where they were."""

    x: Side
    y: Side
    across: Cross


class Moments:
    """Streamed moments of paired rows ``x`` (n × p) and ``y`` (n × q).

    ``xx = Σ (x - x̄)(x - x̄)ᵀ``, ``xy = Σ (x - x̄)(y - ȳ)ᵀ``, ``yy = Σ (y - ȳ)(y - ȳ)ᵀ``, and of the rows' squared
    lengths ``norms_xx = Σ ‖x - x̄‖⁴``, ``norms_xy = Σ ‖x - x̄‖² ‖y - ȳ‖²``, ``norms_yy``: sums, not averages. The answer
    does not depend on how the rows were split into batches, beyond rounding. The sums stay on the device of the first
    batch; what is read is on the CPU. Reading before the first batch raises `DataError`.

    Example:
        >>> moments = Moments()
        >>> moments.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]]))
        >>> moments.update(torch.tensor([[3.0]]), torch.tensor([[8.0]]))
        >>> moments.n, moments.mean_y.tolist(), moments.xy.tolist()
        (3, [4.0], [[8.0]])
    """

    def __init__(self) -> None:
        self._sums: _Sums | None = None

    # The rows have two names here, n and m, because pairs that do not pair are the caller's mistake and get our error.
    def update(self, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> None:
        """Take one more batch of paired rows; a refused batch leaves the sums as they were.

        Args:
            x: rows of the first network's activations.
            y: the same rows of the second network's.

        Raises:
            DataError: no rows, or not as many in ``x`` as in ``y``.
            ShapeMismatch: not the channels of the batches before.
            NumericalFailure: a value is not finite, or too large to be squared.
        """
        require_pairs(len(x), len(y))
        a, b = rows_of("x", x), rows_of("y", y)
        self._add(_Sums(side_of("x", a), side_of("y", b), cross_of(a, b)))

    def merge(self, other: Moments) -> None:
        """Take in all rows that another `Moments` has seen; the other stays as it is.

        Args:
            other: moments of other rows of the same channels.

        Raises:
            ShapeMismatch: the channels differ.
        """
        if other._sums is not None:
            self._add(other._sums)

    def on(self, device: str) -> Moments:
        """The same moments with their sums on another device."""
        other = Moments()
        if self._sums is not None:
            (x, y, across), there = self._sums, torch.device(device)
            other._sums = _Sums(on_device(there, x), on_device(there, y), on_device(there, across))
        return other

    def swapped(self) -> Moments:
        """The moments with ``x`` and ``y`` in each other's place: one pass over the rows serves both directions.

        Bit for bit what the rows would have given in that order.
        """
        other = Moments()
        if self._sums is not None:
            x, y, across = self._sums
            swapped = Cross(across.scatter.T.contiguous(), across.norms, across.u_y, across.v_x)
            other._sums = _Sums(y, x, swapped)
        return other

    @classmethod
    def of(cls, x: Side, y: Side, across: Cross) -> Moments:
        """Moments of sums made elsewhere: of the two sides and of their pairs."""
        moments = cls()
        moments._sums = _Sums(x, y, across)
        return moments

    def _add(self, new: _Sums) -> None:
        old = self._sums
        if old is not None:
            x, y = joined_sides(old.x, new.x), joined_sides(old.y, new.y)
            new = _Sums(x, y, joined_crosses(old.across, old[:2], new.across, new[:2]))
        self._sums = new

    def _seen(self) -> _Sums:
        if self._sums is None:
            raise DataError(
                asked="the moments of paired rows", found="no rows yet", do="call update(x, y) with at least one batch"
            )
        return self._sums

    @property
    def n(self) -> int:
        """How many rows were seen."""
        return 0 if self._sums is None else self._sums.x.n

    @property
    def mean_x(self) -> Float64[Tensor, " p"]:
        """The mean of every channel of ``x``."""
        return self._seen().x.mean.cpu()

    @property
    def mean_y(self) -> Float64[Tensor, " q"]:
        """The mean of every channel of ``y``."""
        return self._seen().y.mean.cpu()

    @property
    def xx(self) -> Float64[Tensor, "p p"]:
        """``Σ (x - x̄)(x - x̄)ᵀ``."""
        return self._seen().x.scatter.cpu()

    @property
    def xy(self) -> Float64[Tensor, "p q"]:
        """``Σ (x - x̄)(y - ȳ)ᵀ``."""
        return self._seen().across.scatter.cpu()

    @property
    def yy(self) -> Float64[Tensor, "q q"]:
        """``Σ (y - ȳ)(y - ȳ)ᵀ``."""
        return self._seen().y.scatter.cpu()

    @property
    def norms_xx(self) -> float:
        """``Σ ‖x - x̄‖⁴``."""
        return float(self._seen().x.norms)

    @property
    def norms_xy(self) -> float:
        """``Σ ‖x - x̄‖² ‖y - ȳ‖²``."""
        return float(self._seen().across.norms)

    @property
    def norms_yy(self) -> float:
        """``Σ ‖y - ȳ‖⁴``."""
        return float(self._seen().y.norms)

    @property
    def uncentred_xx(self) -> Float64[Tensor, "p p"]:
        """``XᵀX``, nothing subtracted."""
        return self.xx + self.n * torch.outer(self.mean_x, self.mean_x)

    @property
    def uncentred_xy(self) -> Float64[Tensor, "p q"]:
        """``XᵀY``, nothing subtracted."""
        return self.xy + self.n * torch.outer(self.mean_x, self.mean_y)

    @property
    def uncentred_yy(self) -> Float64[Tensor, "q q"]:
        """``YᵀY``, nothing subtracted."""
        return self.yy + self.n * torch.outer(self.mean_y, self.mean_y)

    @property
    def varies_x(self) -> Bool[Tensor, " p"]:
        """Which channels of ``x`` vary; see `varying`."""
        return varying(self.mean_x, self.xx.diagonal(), self.n)

    @property
    def varies_y(self) -> Bool[Tensor, " q"]:
        """Which channels of ``y`` vary; see `varying`."""
        return varying(self.mean_y, self.yy.diagonal(), self.n)


def varying(mean: Float64[Tensor, " p"], squares: Float64[Tensor, " p"], n: int) -> Bool[Tensor, " p"]:
    """Which channels vary by more than float64's rounding of a constant: ``Σ (x - x̄)² > n · (10⁻¹² · x̄)²``.

    Args:
        mean: the mean of every channel.
        squares: the summed squared deviations from it.
        n: how many rows were summed.

    Returns:
        True where the channel varies.

    Example:
        >>> varying(torch.tensor([0.1, 0.1]).double(), torch.tensor([1e-30, 1e-3]).double(), 100).tolist()
        [False, True]
    """
    return squares > n * (_SPREAD_FLOOR * mean).square()


def require_pairs(n: int, m: int) -> None:
    """Refuse rows that do not pair.

    Args:
        n: rows of the first side.
        m: rows of the second.

    Raises:
        DataError: there are none, or not as many of the one as of the other.
    """
    if n == 0 or n != m:
        raise DataError(
            asked="the moments of paired rows",
            found=f"{n} rows of x and {m} rows of y",
            do="give both networks the same examples, at least one, in the same order",
        )

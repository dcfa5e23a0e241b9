"""First and second moments of paired rows, streamed: all that linear measures and closed-form matching need to know.

The rows of two networks' activations come in batches of any size; memory depends on the channels alone. Everything is
kept in float64, whatever comes in, and centred batch by batch: the textbook ``sum of squares - n · mean²`` loses every
digit when the mean is large beside the spread, as it is after a ReLU or for raw pixels.

Reference: Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979: the
pairwise update, written for matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, ShapeMismatch

# A constant channel keeps a spread of a few float64 roundings (1e-16) of its mean; the finest step that float32
# activations can take is 1e-7 of it. Anything between the two separates them.
_SPREAD_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class _Part:
    """The moments of one set of rows, on the device where the rows were."""

    n: int
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor


class Moments:
    """Streamed moments of paired rows ``x`` (n × p) and ``y`` (n × q).

    ``xx = Σ (x - x̄)(x - x̄)ᵀ``, ``xy = Σ (x - x̄)(y - ȳ)ᵀ``, ``yy = Σ (y - ȳ)(y - ȳ)ᵀ``: sums, not averages. The
    answer does not depend on how the rows were split into batches, beyond rounding. The sums stay on the device of
    the first batch; what is read is on the CPU. Reading before the first batch raises `DataError`.

    Example:
        >>> moments = Moments()
        >>> moments.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]]))
        >>> moments.update(torch.tensor([[3.0]]), torch.tensor([[8.0]]))
        >>> moments.n, moments.mean_y.tolist(), moments.xy.tolist()
        (3, [4.0], [[8.0]])
    """

    def __init__(self) -> None:
        self._sum: _Part | None = None

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
        self._add(_part(x, y))

    def merge(self, other: Moments) -> None:
        """Take in all rows that another `Moments` has seen; the other stays as it is.

        Args:
            other: moments of other rows of the same channels.

        Raises:
            ShapeMismatch: the channels differ.
        """
        if other._sum is not None:
            self._add(other._sum)

    def swapped(self) -> Moments:
        """The moments with ``x`` and ``y`` in each other's place: one pass over the rows serves both directions.

        Bit for bit what the rows would have given in that order.
        """
        other = Moments()
        if self._sum is not None:
            s = self._sum
            other._sum = _Part(s.n, s.mean_y, s.mean_x, s.yy, s.xy.T.contiguous(), s.xx)
        return other

    def _add(self, part: _Part) -> None:
        self._sum = part if self._sum is None else _joined(self._sum, part)

    def _seen(self) -> _Part:
        if self._sum is None:
            raise DataError(
                asked="the moments of paired rows", found="no rows yet", do="call update(x, y) with at least one batch"
            )
        return self._sum

    @property
    def n(self) -> int:
        """How many rows were seen."""
        return 0 if self._sum is None else self._sum.n

    @property
    def mean_x(self) -> Float64[Tensor, " p"]:
        """The mean of every channel of ``x``."""
        return self._seen().mean_x.cpu()

    @property
    def mean_y(self) -> Float64[Tensor, " q"]:
        """The mean of every channel of ``y``."""
        return self._seen().mean_y.cpu()

    @property
    def xx(self) -> Float64[Tensor, "p p"]:
        """``Σ (x - x̄)(x - x̄)ᵀ``."""
        return self._seen().xx.cpu()

    @property
    def xy(self) -> Float64[Tensor, "p q"]:
        """``Σ (x - x̄)(y - ȳ)ᵀ``."""
        return self._seen().xy.cpu()

    @property
    def yy(self) -> Float64[Tensor, "q q"]:
        """``Σ (y - ȳ)(y - ȳ)ᵀ``."""
        return self._seen().yy.cpu()

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


def _part(x: Tensor, y: Tensor) -> _Part:
    n = len(x)
    if n == 0 or n != len(y):
        raise DataError(
            asked="the moments of paired rows",
            found=f"{n} rows of x and {len(y)} rows of y",
            do="give both networks the same examples, at least one, in the same order",
        )
    x, y = _double(x), _double(y)
    _require_finite("x", x)
    _require_finite("y", y)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    # The matrix product of swapped operands rounds differently; the mean of both orders is the same either way.
    across = (x.T @ y + (y.T @ x).T) / 2
    part = _Part(n, mean_x, mean_y, x.T @ x, across, y.T @ y)
    _require_finite("the squares of x", part.xx)
    _require_finite("the squares of y", part.yy)
    return part


def _double(rows: Tensor) -> Tensor:
    # Apple's GPUs have no float64; every other device has.
    rows = rows.detach()
    return (rows.cpu() if rows.device.type == "mps" else rows).double()


def _require_finite(name: str, values: Tensor) -> None:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise NumericalFailure(
            asked=f"the moments of {name}",
            found=f"{bad} of {values.numel()} values of {name} not finite, in a batch of {tuple(values.shape)}",
            do="look for the first layer that returns inf, nan or numbers too large to square on this batch",
        )


def _joined(a: _Part, b: _Part) -> _Part:
    if a.xy.shape != b.xy.shape:
        raise ShapeMismatch(
            asked=f"more rows of {b.xy.shape[0]} and {b.xy.shape[1]} channels",
            found=f"moments of {a.xy.shape[0]} and {a.xy.shape[1]} channels",
            do="use one Moments for each pair of cuts",
        )
    device = a.xy.device
    n = a.n + b.n
    step_x, step_y = b.mean_x.to(device) - a.mean_x, b.mean_y.to(device) - a.mean_y
    # Chan's correction: the two sums are each centred on their own mean, and the means differ by one step.
    share = a.n * b.n / n
    return _Part(
        n,
        a.mean_x + step_x * (b.n / n),
        a.mean_y + step_y * (b.n / n),
        a.xx + b.xx.to(device) + share * torch.outer(step_x, step_x),
        a.xy + b.xy.to(device) + share * torch.outer(step_x, step_y),
        a.yy + b.yy.to(device) + share * torch.outer(step_y, step_y),
    )

"""The sums that are streamed, of one side and of a pair, and how they move to another centre.

Each set of rows is summed about its own mean; two sets are joined by moving both to the mean of all and adding. With
``x' = x + d`` and ``Σ x = 0`` every moved sum is a short formula in the sums about the old centre, as below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from modelstitch.errors import NumericalFailure, ShapeMismatch
from modelstitch.support.tensors import all_finite


@dataclass(frozen=True, eq=False)
class Rows:
    """One batch of one side: rows about their mean, in float64, on the device where they were."""

    mean: Tensor
    centred: Tensor
    squared_norms: Tensor


@dataclass(frozen=True, eq=False)
class Side:
    """Sums over the rows of one side, with ``u = ‖x‖²``: ``Σ x xᵀ``, ``Σ u²``, ``Σ u x``, all about the mean."""

    n: int
    mean: Tensor
    scatter: Tensor
    norms: Tensor
    cubic: Tensor


@dataclass(frozen=True, eq=False)
class Cross:
    """Sums over paired rows, with ``u = ‖x‖²`` and ``v = ‖y‖²``: ``Σ x yᵀ``, ``Σ u v``, ``Σ v x``, ``Σ u y``."""

    scatter: Tensor
    norms: Tensor
    v_x: Tensor
    u_y: Tensor


S = TypeVar("S", Side, Cross)

# Rows in a block, and entries of a product up to which blocks pay.
_BLOCK, _NARROW = 1024, 64 * 64


def rows_of(name: str, rows: Tensor) -> Rows:
    """A batch about its mean.

    Raises:
        NumericalFailure: a value is not finite.
    """
    rows = rows.detach()
    # Apple's GPUs have no float64; every other device has.
    rows = (rows.cpu() if rows.device.type == "mps" else rows).double()
    require_finite(name, rows)
    mean = rows.mean(0)
    centred = rows - mean
    return Rows(mean, centred, torch.linalg.vector_norm(centred, dim=1).square())


def side_of(name: str, x: Rows) -> Side:
    """The sums of one batch.

    Raises:
        NumericalFailure: a value is too large to be squared.
    """
    u = x.squared_norms
    # On some processors a product with itself is symmetric but for rounding; the mean makes it what `cross_of` gives.
    half = _product(x.centred, x.centred) / 2
    side = Side(len(u), x.mean, half + half.T, u @ u, u @ x.centred)
    require_finite(f"the squares of {name}", side.scatter)
    return side


def cross_of(x: Rows, y: Rows) -> Cross:
    """The sums of one batch of pairs."""
    u, v = x.squared_norms, y.squared_norms
    # The matrix product of swapped operands rounds differently; the mean of both orders is the same either way.
    scatter = (_product(x.centred, y.centred) + _product(y.centred, x.centred).T) / 2
    return Cross(scatter, u @ v, v @ x.centred, u @ y.centred)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """``XᵀY``, in blocks of rows where that is faster.

    A product of two tall, narrow sides does not fill the units that multiply: at 16 channels, blocks are five times
    faster.
    """
    if x.shape[1] * y.shape[1] > _NARROW:
        return x.T @ y
    whole = len(x) // _BLOCK * _BLOCK
    a, b = x[:whole].view(-1, _BLOCK, x.shape[1]), y[:whole].view(-1, _BLOCK, y.shape[1])
    return torch.bmm(a.mT, b).sum(0) + x[whole:].T @ y[whole:]


def joined_sides(a: Side, b: Side) -> Side:
    """The sums of both sets of rows about the mean of all.

    Raises:
        ShapeMismatch: the channels differ.
    """
    if a.mean.shape != b.mean.shape:
        raise ShapeMismatch(
            asked=f"more rows of {len(b.mean)} channels",
            found=f"moments of {len(a.mean)} channels",
            do="use one Moments for each pair of cuts",
        )
    b = on_device(a.mean.device, b)
    step_a, step_b = _steps(a, b)
    a, b = _moved_side(a, step_a), _moved_side(b, step_b)
    return Side(a.n + b.n, a.mean, a.scatter + b.scatter, a.norms + b.norms, a.cubic + b.cubic)


def joined_crosses(a: Cross, sides_a: tuple[Side, Side], b: Cross, sides_b: tuple[Side, Side]) -> Cross:
    """The sums of both sets of pairs about the means of all; each comes with its two sides."""
    device = a.scatter.device
    b, sides_b = on_device(device, b), (on_device(device, sides_b[0]), on_device(device, sides_b[1]))
    (xa, xb), (ya, yb) = (_steps(sides_a[i], sides_b[i]) for i in (0, 1))
    a, b = _moved_cross(a, sides_a, xa, ya), _moved_cross(b, sides_b, xb, yb)
    return Cross(a.scatter + b.scatter, a.norms + b.norms, a.v_x + b.v_x, a.u_y + b.u_y)


def _steps(a: Side, b: Side) -> tuple[Tensor, Tensor]:
    """From the mean of all to each set's own mean, which is the step that its rows take."""
    apart, n = b.mean - a.mean, a.n + b.n
    return -apart * (b.n / n), apart * (a.n / n)


def _moved_side(s: Side, d: Tensor) -> Side:
    """The same rows about a centre that lies ``-d`` away: ``x' = x + d`` and ``u' = u + 2 d·x + ‖d‖²``."""
    e, trace, across = d @ d, s.scatter.trace(), s.scatter @ d
    return Side(
        n=s.n,
        mean=s.mean - d,
        scatter=s.scatter + s.n * torch.outer(d, d),
        norms=s.norms + 4 * d @ s.cubic + 4 * d @ across + 2 * e * trace + s.n * e * e,
        cubic=s.cubic + d * trace + 2 * across + s.n * e * d,
    )


def _moved_cross(c: Cross, sides: tuple[Side, Side], d: Tensor, f: Tensor) -> Cross:
    """As `_moved_side`, with ``x' = x + d`` and ``y' = y + f``."""
    n, e, g = sides[0].n, d @ d, f @ f
    u, v = sides[0].scatter.trace(), sides[1].scatter.trace()
    x_f, y_d = c.scatter @ f, d @ c.scatter
    return Cross(
        scatter=c.scatter + n * torch.outer(d, f),
        # Grouped so that swapping the sides swaps only summands, which does not change a rounded sum of two.
        norms=c.norms + 2 * (f @ c.u_y + d @ c.v_x) + 2 * (d @ x_f + y_d @ f) + (g * u + e * v) + n * (e * g),
        v_x=c.v_x + d * v + 2 * x_f + n * g * d,
        u_y=c.u_y + f * u + 2 * y_d + n * e * f,
    )


def on_device(device: torch.device, sums: S) -> S:
    """The same sums on a device."""
    moved: dict[str, Any] = {name: v.to(device) for name, v in vars(sums).items() if isinstance(v, Tensor)}
    return replace(sums, **moved)


def require_finite(name: str, values: Tensor) -> None:
    """Refuse a batch with values that are not numbers.

    Raises:
        NumericalFailure: there are such values.
    """
    if not all_finite(values):
        bad = int((~torch.isfinite(values)).sum())
        raise NumericalFailure(
            asked=f"the moments of {name}",
            found=f"{bad} of {values.numel()} values of {name} not finite, in a batch of {tuple(values.shape)}",
            do="look for the first layer that returns inf, nan or numbers too large to square on this batch",
        )

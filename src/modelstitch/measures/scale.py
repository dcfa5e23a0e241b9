"""What float64 can and cannot square: rows brought to a size whose squares are numbers, or an error that says why not.

Values above 10¹⁵⁴ have squares that overflow, those below 10⁻¹⁵⁴ squares that vanish. Multiplying by a power of two
rounds nothing, so rows of any size can be brought near 1 without changing a bit of what is then computed; rows of
ordinary size are left as they are. Constant rows, rows that vary by rounding alone and rows too small to be squared are
three things.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.moments import Moments, varying

# Within these sizes eighth powers are numbers, so that no formula here leaves the range of float64.
_SAFE = (2.0**-100, 2.0**100)
# Within these, squares are numbers of full precision.
_ORDINARY = (2.0**-400, 2.0**400)
# Sums of squares below this have lost digits to underflow.
_LEAST_SQUARE = 1e-280
# The rounding of constant channels, as a share of what varies, squared: below it, it moves no value by more than 1e-12.
_HARMLESS = 1e-24


def constant(name: str, which: str) -> NumericalFailure:
    """The error for a side that is the same for every row and so has no similarity to anything.

    Args:
        name: of the measure.
        which: ``x`` or ``y``.
    """
    return NumericalFailure(
        asked=name,
        found=f"{which} is constant: the same activations for every row",
        do="cut elsewhere, or look at why the layer is dead",
    )


def too_small(name: str, which: str) -> NumericalFailure:
    """The error for values whose squares vanish in float64.

    Args:
        name: of the measure.
        which: ``x`` or ``y``.
    """
    return NumericalFailure(
        asked=name,
        found=f"values of {which} too small to be squared in float64",
        do="multiply the activations by a constant, or give all rows at once",
    )


def power(size: float) -> float:
    """The power of two next to a size: dividing by it rounds nothing."""
    return math.ldexp(1.0, math.frexp(size)[1])


def times_power(values: Tensor, exponent: int) -> Tensor:
    """``values · 2^exponent``, exactly, also where the factor alone is no float64."""
    half = exponent // 2
    return values * math.ldexp(1.0, half) * math.ldexp(1.0, exponent - half)


def largest(values: Tensor) -> float:
    """The largest absolute value; 0 where there is none."""
    if not values.numel():
        return 0.0
    low, high = torch.aminmax(values)
    return max(-float(low), float(high))


def near_one(values: Float64[Tensor, "n p"], size: float) -> Float64[Tensor, "n p"]:
    """The values, times a power of two where their size is far from 1."""
    return values if size == 0.0 or _SAFE[0] < size < _SAFE[1] else times_power(values, -math.frexp(size)[1])


def channel_scales(values: Float64[Tensor, "n p"]) -> Float64[Tensor, " p"]:
    """For each channel the power of two that brings it near 1; 1 for those whose squares are numbers as they are."""
    reach = values.abs().amax(0)
    odd = (reach > 0.0) & ((reach < _ORDINARY[0]) | (reach > _ORDINARY[1]))
    # No further than what can be divided by again.
    exponents = (-torch.frexp(reach).exponent).clamp(-1000, 1000)
    return torch.where(odd, torch.ldexp(torch.ones_like(reach), exponents), 1.0)


def sound(name: str, which: str, rows: Float64[Tensor, "n p"], *, centred: bool) -> Float64[Tensor, "n p"]:
    """Finite rows that vary, brought to a size that can be squared.

    Args:
        name: of the measure, for errors.
        which: ``x`` or ``y``, for errors.
        rows: finite values.
        centred: whether only deviations from the mean count. Then channels that vary by rounding alone become zeros
            where their rounding would otherwise count.

    Returns:
        The rows themselves where they are of ordinary size.

    Raises:
        NumericalFailure: all rows are the same, or differ by no more than rounding.
    """
    rows = near_one(rows, largest(rows))
    mean = rows.mean(0)
    # In place, since another copy takes as long as the sums.
    squares = (rows - mean).square_().sum(0)
    varies = varying(mean, squares, len(rows))
    if not bool(varies.any()):
        if bool((rows == rows[0]).all()):
            raise constant(name, which)
        varies = _moving(rows, mean)
        if not bool(varies.any()):
            found = f"{which} that varies by less than 1e-12 of its mean, which is rounding"
            raise NumericalFailure(name, found, "subtract the mean in the precision that the values were computed in")
        # Only what has squares that vanish comes here.
        spread, noise = largest((rows - mean)[:, varies]), math.inf
    else:
        spread, noise = math.sqrt(float(squares[varies].sum())), float(squares[~varies].sum())
    if centred and noise > _HARMLESS * spread * spread:
        rows = torch.where(_moving(rows, mean), rows, 0.0)
    return near_one(rows, spread)


def _moving(rows: Float64[Tensor, "n p"], mean: Float64[Tensor, " p"]) -> Bool[Tensor, " p"]:
    """As `varying`, without squares, which may vanish."""
    moving: Tensor = (rows - mean).abs().amax(0) > 1e-12 * mean.abs()
    return moving


def require_spread(name: str, moments: Moments, *, by_channel: bool = False) -> None:
    """Refuse moments of a side that does not vary, or whose squares have vanished.

    Args:
        name: of the measure, for errors.
        moments: of paired rows.
        by_channel: whether every channel counts alike, so that none may have vanished.

    Raises:
        NumericalFailure: one side is constant or too small to be squared.
    """
    sides = (("x", moments.mean_x, moments.xx, moments.varies_x), ("y", moments.mean_y, moments.yy, moments.varies_y))
    for which, mean, scatter, varies in sides:
        squares = scatter.diagonal()
        # A constant keeps its mean; beside one whose square would vanish, too, anything may have vanished.
        hidden = ~varies & (mean != 0.0) & (mean.abs() < 1e-140)
        if not bool(varies.any()):
            raise too_small(name, which) if bool(hidden.any()) else constant(name, which)
        if by_channel and bool(hidden.any()):
            raise too_small(name, which)
        if float(squares[varies].min() if by_channel else squares.sum()) < _LEAST_SQUARE:
            raise too_small(name, which)

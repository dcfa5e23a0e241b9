"""What a measure promises, as data: the tests hold every measure to it, and tables print it.

A promise cuts both ways. An invariance that is declared must hold, and one that is not declared must be seen to fail:
a measure that ignores more than it says it does is as misleading as one that ignores less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from modelstitch.errors import NumericalFailure

# How far rounding may take a value out of its range, as a share of the range.
_ROUNDING = 1e-9

Invariance = Literal["orthogonal", "isotropic_scale", "translation", "invertible_linear", "permutation"]
"""What may be done to the channels of one side alone: ``x Q`` with ``QᵀQ = I``, ``c x`` with ``c ≠ 0``, ``x + t``,
``x M`` with ``det M ≠ 0``, and ``x P`` with ``P`` a permutation."""

INVARIANCES: frozenset[Invariance] = frozenset(get_args(Invariance))

RowsPerChannel = Literal["any", "advised", "required"]
"""How many rows there should be for p and q channels: any number; more than either side's channels, or the value is
inflated and a `TooFewRows` warning says so; more than either side's dimensions, or the value would be a silent 1 and
there is a `DataError` instead, and more than both sides' together, or a `TooFewRows` warning says how many of the
correlations are 1 whatever the data."""


@dataclass(frozen=True)
class Promises:
    """What holds for a measure on all activations.

    Args:
        range: the least and the largest value it can take.
        higher_is_more_similar: True for a similarity, False for a distance.
        symmetric: whether swapping the two sides leaves the value as it is.
        metric: whether it is a distance in the mathematical sense, up to what it is invariant to: zero on equals, and
            the triangle inequality holds.
        invariances: what may be done to the channels of one side, whichever, without changing the value.
        least_rows: the formula has no value on fewer.
        rows_per_channel: what it needs of the number of rows against the numbers of channels.
    """

    range: tuple[float, float]
    higher_is_more_similar: bool
    symmetric: bool
    metric: bool
    invariances: frozenset[Invariance]
    least_rows: int
    rows_per_channel: RowsPerChannel

    def within(self, name: str, value: float) -> float:
        """A value of the range, with the rounding taken off that led out of it.

        Args:
            name: of the measure, for errors.
            value: what was computed.

        Raises:
            NumericalFailure: it is no number, or outside the range by more than rounding.
        """
        low, high = self.range
        slack = _ROUNDING * (high - low)
        # Also True for nan, which min and max would turn into an end of the range.
        if not low - slack <= value <= high + slack:
            found = f"the value {value}, where {name} is from {low:g} to {high:g}"
            raise NumericalFailure(name, found, "report it with the activations: finite ones should not give this")
        return min(high, max(low, value))

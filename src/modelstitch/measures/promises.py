"""What a measure promises, as data: the tests hold every measure to it, and the report prints it.

A promise cuts both ways. An invariance that is declared must hold, and one that is not declared must be seen to fail:
a measure that ignores more than it says it does is as misleading as one that ignores less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Invariance = Literal["orthogonal", "isotropic_scale", "translation", "invertible_linear", "permutation"]
"""What may be done to the channels of one side alone: ``x Q`` with ``QᵀQ = I``, ``c x`` with ``c ≠ 0``, ``x + t``,
``x M`` with ``det M ≠ 0``, and ``x P`` with ``P`` a permutation."""

INVARIANCES: frozenset[Invariance] = frozenset(get_args(Invariance))


@dataclass(frozen=True)
class Promises:
    """What holds for a measure on all activations.

    Args:
        range: the least and the largest value it can take.
        higher_is_more_similar: True for a similarity, False for a distance.
        symmetric: whether swapping the two sides leaves the value as it is.
        metric: whether it is a distance in the mathematical sense: zero on equals, and the triangle inequality holds.
        invariances: what may be done to the channels of one side without changing the value.
    """

    range: tuple[float, float]
    higher_is_more_similar: bool
    symmetric: bool
    metric: bool
    invariances: frozenset[Invariance]

"""Lengths as whole numbers: each length that may vary (the batch, a sentence) as a large prime of its own.

So products factor in one way: a length that the prime of the batch divides has the batch in it, and none else has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

# Above what networks are wide or long, so that no fixed length has one as a factor.
_FIRST = 1_000_003


class Sizes:
    """The lengths of tensors of one graph."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._last = _FIRST - 1

    def of(self, value: Any) -> tuple[int, ...]:
        """The lengths of a tensor's axes; of what is no tensor, none."""
        return tuple(self._number(size) for size in value.shape) if isinstance(value, Tensor) else ()

    def of_several(self, value: Any) -> list[tuple[int, ...]]:
        """Those of each of several tensors."""
        return [self.of(one) for one in value] if isinstance(value, Sequence) else []

    def _number(self, size: Any) -> int:
        if not isinstance(size, torch.SymInt):
            return int(size)
        expression = size.node.expr
        if expression not in self._known:
            self._known[expression] = self._evaluated(expression)
        return self._known[expression]

    def _evaluated(self, expression: Any) -> int:
        if getattr(expression, "is_Symbol", False):
            return self._prime()
        symbols = sorted(getattr(expression, "free_symbols", ()), key=str)
        for symbol in symbols:
            self._known.setdefault(symbol, 0)
            self._known[symbol] = self._known[symbol] or self._prime()
        number = sympy.sympify(expression).subs({symbol: self._known[symbol] for symbol in symbols})
        # A length that is no whole number of these is one of its own.
        return int(number) if number.is_Integer and number > 0 else self._prime()

    def _prime(self) -> int:
        self._last = next(n for n in range(self._last + 1, 2 * self._last) if _is_prime(n))
        return self._last


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))

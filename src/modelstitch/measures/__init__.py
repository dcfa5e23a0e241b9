"""Measures: what two sets of activations have in common, without running anything after them.

Each is a pure function of two matrices with paired rows, with a streaming accumulator beside it that gives the same
value, and declares as data what it promises.
"""

from modelstitch.measures.cka import LinearCKA, linear_cka, linear_cka_from_moments
from modelstitch.measures.promises import INVARIANCES, Invariance, Promises

__all__ = ["INVARIANCES", "Invariance", "LinearCKA", "Promises", "linear_cka", "linear_cka_from_moments"]

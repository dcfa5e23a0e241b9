"""Measures: what two sets of activations have in common, without running anything after them.

Each is a `Measure`: a pure function of two matrices with paired rows, where the mathematics allows with an accumulator
that gives the same value from batches, and with what it promises declared as data. ``MEASURES`` holds them by name.
"""

from modelstitch.measures.catalogue import MEASURES
from modelstitch.measures.cca import mean_cca, pwcca, svcca
from modelstitch.measures.cka import debiased_cka, linear_cka, linear_cka_from_moments
from modelstitch.measures.measure import Measure, noted
from modelstitch.measures.null import Null, permutation_null
from modelstitch.measures.procrustes import procrustes_angle, procrustes_distance
from modelstitch.measures.promises import INVARIANCES, Invariance, Promises

__all__ = [
    "INVARIANCES",
    "MEASURES",
    "Invariance",
    "Measure",
    "Null",
    "Promises",
    "debiased_cka",
    "linear_cka",
    "linear_cka_from_moments",
    "mean_cca",
    "noted",
    "permutation_null",
    "procrustes_angle",
    "procrustes_distance",
    "pwcca",
    "svcca",
]

"""Measures: what two sets of activations have in common, without running anything after them.

Each is a `Measure`: a pure function of two matrices with paired rows, where the mathematics allows with an accumulator
that gives the same value from batches, and with what it promises declared as data. ``MEASURES`` holds them by name.
"""

from modelstitch.measures.catalogue import MEASURES
from modelstitch.measures.cca import mean_cca, pwcca, svcca
from modelstitch.measures.cka import debiased_cka, linear_cka, linear_cka_from_moments
from modelstitch.measures.functional import error_overlap, prediction_agreement
from modelstitch.measures.measure import Measure, noted
from modelstitch.measures.minibatch import GramTable, minibatch_cka
from modelstitch.measures.neighbours import cknna, mutual_knn
from modelstitch.measures.null import Null, permutation_null
from modelstitch.measures.probe import linear_probe
from modelstitch.measures.procrustes import procrustes_angle, procrustes_distance
from modelstitch.measures.promises import INVARIANCES, Invariance, Promises
from modelstitch.measures.rbf import rbf_cka
from modelstitch.measures.rsa import rsa

__all__ = [
    "INVARIANCES",
    "MEASURES",
    "GramTable",
    "Invariance",
    "Measure",
    "Null",
    "Promises",
    "cknna",
    "debiased_cka",
    "error_overlap",
    "linear_cka",
    "linear_cka_from_moments",
    "linear_probe",
    "mean_cca",
    "minibatch_cka",
    "mutual_knn",
    "noted",
    "permutation_null",
    "prediction_agreement",
    "procrustes_angle",
    "procrustes_distance",
    "pwcca",
    "rbf_cka",
    "rsa",
    "svcca",
]

"""All measures of two sets of activations, by name."""

from __future__ import annotations

from modelstitch.measures.cca import CCA, PWCCA, SVCCA
from modelstitch.measures.cka import CKA, CKA_DEBIASED
from modelstitch.measures.functional import AGREEMENT
from modelstitch.measures.measure import Measure
from modelstitch.measures.minibatch import CKA_MINIBATCH
from modelstitch.measures.neighbours import CKNNA, MUTUAL_KNN
from modelstitch.measures.procrustes import PROCRUSTES, PROCRUSTES_ANGULAR
from modelstitch.measures.rbf import CKA_RBF
from modelstitch.measures.rsa import RSA

MEASURES: dict[str, Measure] = {
    one.name: one
    for one in (
        *(CKA, CKA_DEBIASED, CKA_MINIBATCH, CKA_RBF),
        *(CCA, SVCCA, PWCCA),
        *(PROCRUSTES, PROCRUSTES_ANGULAR),
        *(RSA, MUTUAL_KNN, CKNNA),
        AGREEMENT,
    )
}

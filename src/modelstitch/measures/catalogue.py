"""All measures of two sets of activations, by name."""

from __future__ import annotations

from modelstitch.measures.cca import CCA, PWCCA, SVCCA
from modelstitch.measures.cka import CKA, CKA_DEBIASED
from modelstitch.measures.measure import Measure
from modelstitch.measures.procrustes import PROCRUSTES, PROCRUSTES_ANGULAR

MEASURES: dict[str, Measure] = {
    one.name: one for one in (CKA, CKA_DEBIASED, CCA, SVCCA, PWCCA, PROCRUSTES, PROCRUSTES_ANGULAR)
}

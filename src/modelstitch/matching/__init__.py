"""Matching: how the stitch is chosen from its family.

``how`` holds the settings; ``statistics`` gathers the moments from which a family solves for its stitch directly;
``engine`` follows the task loss of many stitches downhill at once, and ``thaw`` lets tops train along; ``fit`` and
``fit_all`` are the calls.
"""

from modelstitch.matching.fit import Fit, fit, fit_all
from modelstitch.matching.how import (
    BATCH_NORM_MODES,
    PRECISIONS,
    STARTS,
    TOP_STARTS,
    BatchNorm,
    Direct,
    FineTune,
    Matching,
    TaskLoss,
    starts_in_closed_form,
)
from modelstitch.matching.statistics import moments_or_failures, paired_moments

__all__ = [
    "BATCH_NORM_MODES",
    "PRECISIONS",
    "STARTS",
    "TOP_STARTS",
    "BatchNorm",
    "Direct",
    "FineTune",
    "Fit",
    "Matching",
    "TaskLoss",
    "fit",
    "fit_all",
    "moments_or_failures",
    "paired_moments",
    "starts_in_closed_form",
]

"""Matching: how the stitch is chosen from its family.

``how`` holds the settings; ``closed_form`` solves for the stitch directly from streamed moments, which ``statistics``
gathers; ``engine`` follows the task loss of many stitches downhill at once, and ``thaw`` lets
tops train along; ``fit`` and ``fit_all`` are the calls.
"""

from modelstitch.matching.closed_form import Solution, assignment, least_squares, procrustes, ridge
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
    "Solution",
    "TaskLoss",
    "assignment",
    "fit",
    "fit_all",
    "least_squares",
    "moments_or_failures",
    "paired_moments",
    "procrustes",
    "ridge",
    "starts_in_closed_form",
]

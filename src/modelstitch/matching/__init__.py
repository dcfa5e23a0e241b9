"""Matching: how the stitch is chosen from its family.

``closed_form`` solves for it directly from streamed moments, ``gradient`` follows the task loss downhill, ``fit`` is
the call that does either; ``statistics`` streams the moments that the first needs.
"""

from modelstitch.matching.closed_form import Solution, assignment, least_squares, procrustes, ridge
from modelstitch.matching.fit import BATCH_NORM_MODES, STARTS, BatchNorm, Direct, Fit, Matching, TaskLoss, fit
from modelstitch.matching.statistics import paired_moments

__all__ = [
    "BATCH_NORM_MODES",
    "STARTS",
    "BatchNorm",
    "Direct",
    "Fit",
    "Matching",
    "Solution",
    "TaskLoss",
    "assignment",
    "fit",
    "least_squares",
    "paired_moments",
    "procrustes",
    "ridge",
]

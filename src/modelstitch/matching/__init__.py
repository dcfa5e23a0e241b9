"""Matching: how the stitch is chosen from its family.

``matching`` says what one is, and each of ``direct``, ``task`` and ``soft_labels`` is one; ``chain`` puts several one
after the other; ``descent`` follows a loss of many stitches downhill at once, and ``trainable_top`` lets tops train
along; ``fit`` puts stitches at their start and on their way; ``calls`` are the calls.
"""

from typing import Any

from modelstitch import vocabulary
from modelstitch.matching.calls import fit, fit_all
from modelstitch.matching.chain import Chain, chained
from modelstitch.matching.direct import Direct
from modelstitch.matching.fit import Fit, Job
from modelstitch.matching.matching import (
    BATCH_NORM_MODES,
    STARTS,
    TOP_MODES,
    BatchNorm,
    Descent,
    Matching,
    Objective,
)
from modelstitch.matching.task import TaskLoss
from modelstitch.support.catalogue import class_titled, classes_of

MATCHINGS: dict[str, type[Matching]] = classes_of("modelstitch.matching", vocabulary.MATCHINGS)
"""The matchings by the names that command lines, recipes and records use."""

__all__ = [
    "BATCH_NORM_MODES",
    "MATCHINGS",
    "STARTS",
    "TOP_MODES",
    "BatchNorm",
    "Chain",
    "Descent",
    "Direct",
    "Fit",
    "Job",
    "Matching",
    "Objective",
    "TaskLoss",
    "chained",
    "fit",
    "fit_all",
]


def __getattr__(name: str) -> Any:
    return class_titled(name, __name__, MATCHINGS)

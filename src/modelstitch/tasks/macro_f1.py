"""Macro-F1: the mean over classes of the F1 score, for classes of unequal size."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from modelstitch.errors import NumericalFailure
from modelstitch.tasks.also import Also
from modelstitch.tasks.task import Score


def _mean_f1(sums: Float64[Tensor, " k"]) -> float:
    right, decided, seen = sums.reshape(3, -1)
    there = decided + seen > 0
    if not bool(there.any()):
        raise NumericalFailure("the macro-F1", "no examples", "judge at least one example")
    return 100 * float((2 * right[there] / (decided + seen)[there]).mean())


class MacroF1(Also):
    """``macro_f1 = 100 · mean_c (2 TP_c / (2 TP_c + FP_c + FN_c))``, in percent; higher is better.

    The mean is over the classes that are seen or decided in the examples; a class that is neither is left out, as in
    scikit-learn. Each example adds to three counts per class.

    Example:
        >>> rows = MacroF1().rows(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 3)
        >>> round(MacroF1.score.value(rows), 4)
        66.6667

    Reference:
        Opitz & Burst, "Macro F1 and Macro F1", 2019, equation 2 (the mean of the classes' F1).
    """

    name: ClassVar[str] = "macro_f1"
    score: ClassVar[Score] = Score("macro_f1", "test macro-F1", "points", better="higher", of=_mean_f1)

    def rows(self, answers: Int64[Tensor, " n"], labels: Int64[Tensor, " n"], classes: int) -> Float64[Tensor, "n k"]:
        """True positives, then decided, then seen, by class."""
        decided, seen = one_hot(answers, classes), one_hot(labels, classes)
        return torch.cat([decided * seen, decided, seen], 1).double()

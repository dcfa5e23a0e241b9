"""The ways of matching and their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from modelstitch.errors import SettingError

BatchNorm = Literal["frozen", "batch"]
Start = Literal["least_squares", "identity", "random"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNorm)
STARTS: tuple[str, ...] = get_args(Start)


@dataclass(frozen=True)
class Direct:
    """Match the top's own activations in closed form: least squares, Procrustes or assignment, as the family asks.

    Args:
        ridge: strength of the penalty on an affine map, without unit; 0 is plain least squares.
    """

    ridge: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < math.inf:
            raise SettingError(f"direct matching with ridge={self.ridge}", "no such strength", "choose 0 or more")


@dataclass(frozen=True)
class TaskLoss:
    """Minimise the stitched network's cross-entropy on the train set: Adam, cosine to zero.

    Args:
        epochs: passes over the train set. From a least-squares start one or two do; from a random start, tens.
        learning_rate: at the beginning.
        batch_size: examples a step.
        start: ``least_squares`` (the family's closed form), ``identity``, or ``random``.
        patience: stop when the loss on a held-out tenth of the train set has not fallen for so many epochs, and keep
            the best; by default the whole train set is used to the end.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    start: Start = "least_squares"
    patience: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2), ("learning_rate", 0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise SettingError(f"task loss with {name}={value}", "no such matching", f"choose {low} or more")
        if self.patience is not None and self.patience < 1:
            do = "choose 1 or more, or leave it out"
            raise SettingError(f"task loss with patience={self.patience}", "no such matching", do)
        if self.start not in get_args(Start):
            known = ", ".join(get_args(Start))
            raise SettingError(f"task loss with start={self.start!r}", "no such start", f"choose one of {known}")


Matching = Direct | TaskLoss


def starts_in_closed_form(by: Matching) -> bool:
    """Whether a matching needs the moments of the rows at the two cuts."""
    return isinstance(by, Direct) or by.start == "least_squares"

"""The ways of matching and their settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from modelstitch.data import steps_per_epoch
from modelstitch.errors import SettingError

BatchNorm = Literal["frozen", "batch"]
Start = Literal["least_squares", "identity", "random"]
Precision = Literal["float32", "bfloat16"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNorm)
STARTS: tuple[str, ...] = get_args(Start)
TopStart = Literal["fresh", "trained"]
TOP_STARTS: tuple[str, ...] = get_args(TopStart)
_STEPS = 500
PRECISIONS: tuple[str, ...] = get_args(Precision)


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
        epochs: passes over the train set; by default as many as make 500 steps, at least one. What counts from a
            least-squares start is steps: 500 are two epochs of 60,000 images, and 32 of 2,000, where one falls short.
        learning_rate: at the beginning.
        batch_size: examples a step.
        start: ``least_squares`` (the family's closed form), ``identity``, or ``random``.
        patience: stop when the loss on a held-out tenth of the train set has not fallen for so many epochs, and keep
            the best; by default the whole train set is used to the end.
        precision: ``float32``, or ``bfloat16``: both networks compute in it (by autocast) while the stitch is fitted.
            The stitch's weights and Adam stay in float32, and the penalty is always measured in float32.
    """

    epochs: int | None = None
    learning_rate: float = 5e-3
    batch_size: int = 128
    start: Start = "least_squares"
    patience: int | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2), ("learning_rate", 0)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= low):
                raise SettingError(f"task loss with {name}={value}", "no such matching", f"choose {low} or more")
        if self.patience is not None and self.patience < 1:
            do = "choose 1 or more, or leave it out"
            raise SettingError(f"task loss with patience={self.patience}", "no such matching", do)
        for name, known in (("start", STARTS), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in known:
                do = f"choose one of {', '.join(known)}"
                raise SettingError(f"task loss with {name}={value!r}", f"no such {name}", do)

    def over(self, examples: int) -> TaskLoss:
        """The same with its number of epochs told, for so many examples.

        Example:
            >>> TaskLoss().over(60_000).epochs, TaskLoss().over(2_000).epochs, TaskLoss(epochs=3).over(10).epochs
            (2, 32, 3)
        """
        return replace(
            self, epochs=self.epochs or math.ceil(_STEPS / max(1, steps_per_epoch(examples, self.batch_size)))
        )

    def __str__(self) -> str:
        """What records hold and are found by; a setting that is off leaves no trace, so that new ones age no record."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        off = {"patience": None, "precision": "float32"}
        settings = (f"{name}={value!r}" for name, value in told.items() if name not in off or value != off[name])
        return f"{type(self).__name__}({', '.join(settings)})"


@dataclass(frozen=True)
class FineTune(TaskLoss):
    """No matching proper: the stitch and a copy of the top are trained together on the labels, above a frozen bottom.

    The copy trains in full: all its weights, and its batch norms by the batch. The user's network stays as it is, and
    the penalty is still held against it. Beware: the copy can make up for what the bottom lacks, so a small penalty
    says less than a stitch's; Bansal, Nakkiran and Barak (2021, figure 8) show by how much. Each copy takes the memory
    of a top, and neither it nor its stitch is kept in a store.

    Args:
        epochs: as of `TaskLoss`, as are the following; examples come as stored, without augmentation.
        learning_rate: of Adam.
        batch_size: examples a step.
        start: of the stitch; with an `Identity` family there is none.
        patience: an early stop.
        precision: while training.
        top: ``fresh`` weights for the copy, or those of the ``trained`` top.
    """

    start: Start = "identity"
    top: TopStart = "fresh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top not in TOP_STARTS:
            do = f"choose one of {', '.join(TOP_STARTS)}"
            raise SettingError(f"fine-tuning with top={self.top!r}", "no such beginning", do)


Matching = Direct | TaskLoss


def starts_in_closed_form(by: Matching) -> bool:
    """Whether a matching needs the moments of the rows at the two cuts."""
    return isinstance(by, Direct) or by.start == "least_squares"

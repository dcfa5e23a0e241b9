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
ByWidth = Literal["by_width"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNorm)
STARTS: tuple[str, ...] = get_args(Start)
TopStart = Literal["fresh", "trained"]
TOP_STARTS: tuple[str, ...] = get_args(TopStart)
_STEPS = 500
_RATE, _RATE_BY_CHANNEL = 5e-3, 0.128
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
        learning_rate: at the beginning: the same number for every stitch, or ``by_width``, ``min(0.005, 0.128 / c)``
            for ``c`` channels at the bottom's cut: 0.005 up to 25 channels, 0.001 at 128. Adam moves every weight by
            about the rate at each step, and an output by that times the channels it sums over; so a rate that is right
            for few channels moves a wide stitch too far (Yang et al. 2022, *Tensor Programs V*).
        batch_size: examples a step.
        start: ``least_squares`` (the family's closed form), ``identity``, or ``random``.
        patience: stop when the loss on a held-out tenth of the train set has not fallen for so many epochs, and keep
            the best; by default the whole train set is used to the end.
        precision: ``float32``, or ``bfloat16``: both networks compute in it (by autocast) while the stitch is fitted.
            The stitch's weights and Adam stay in float32, and the penalty is always measured in float32.
    """

    epochs: int | None = None
    learning_rate: float | ByWidth = "by_width"
    batch_size: int = 128
    start: Start = "least_squares"
    patience: int | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2), ("learning_rate", 0)):
            value = getattr(self, name)
            if name == "learning_rate" and isinstance(value, str):
                self._check_rate_rule(value)
            elif value is not None and not (math.isfinite(value) and value >= low):
                raise SettingError(f"task loss with {name}={value}", "no such matching", f"choose {low} or more")
        if self.patience is not None and self.patience < 1:
            do = "choose 1 or more, or leave it out"
            raise SettingError(f"task loss with patience={self.patience}", "no such matching", do)
        for name, known in (("start", STARTS), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in known:
                do = f"choose one of {', '.join(known)}"
                raise SettingError(f"task loss with {name}={value!r}", f"no such {name}", do)

    def _check_rate_rule(self, told: str) -> None:
        if told != "by_width":
            asked, do = f"task loss with learning_rate={told!r}", "choose a number, or 'by_width'"
            raise SettingError(asked, "no such rule", do)

    def rate(self, channels: int) -> float:
        """The learning rate at the beginning, for a stitch from a cut with so many channels.

        Example:
            >>> TaskLoss().rate(16), TaskLoss().rate(128), TaskLoss(learning_rate=0.003).rate(128)
            (0.005, 0.001, 0.003)
        """
        return min(_RATE, _RATE_BY_CHANNEL / channels) if self.learning_rate == "by_width" else self.learning_rate

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
        learning_rate: of Adam, for the stitch and the copy alike; a number.
        batch_size: examples a step.
        start: of the stitch; with an `Identity` family there is none.
        patience: an early stop.
        precision: while training.
        top: ``fresh`` weights for the copy, or those of the ``trained`` top.
    """

    learning_rate: float | ByWidth = _RATE
    start: Start = "identity"
    top: TopStart = "fresh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top not in TOP_STARTS:
            do = f"choose one of {', '.join(TOP_STARTS)}"
            raise SettingError(f"fine-tuning with top={self.top!r}", "no such beginning", do)

    def _check_rate_rule(self, told: str) -> None:
        found = "a rule for stitches, and a whole top that trains along"
        raise SettingError(f"fine-tuning with learning_rate={told!r}", found, "choose a number")


Matching = Direct | TaskLoss


def starts_in_closed_form(by: Matching) -> bool:
    """Whether a matching needs the moments of the rows at the two cuts."""
    return isinstance(by, Direct) or by.start == "least_squares"

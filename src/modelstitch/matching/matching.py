"""What a matching is: an objective, and the way to its minimum.

Every matching of the literature is a row of one table: at which place the stitched network is compared with what, by
which distance, and whether the minimum is found in closed form or downhill.

| matching | at | against | by | solver |
|---|---|---|---|---|
| `Direct` | the stitch | the top's own value there | squared distance | closed form |
| `TaskLoss` | output | targets | the task | descent |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, get_args

from jaxtyping import Float
from torch import Tensor

from modelstitch.compute import PRECISIONS, Precision
from modelstitch.data import Batch, steps_per_epoch
from modelstitch.errors import SettingError
from modelstitch.stitches import Family
from modelstitch.tasks import Task

BatchNorm = Literal["frozen", "batch"]
Start = Literal["least_squares", "identity", "random"]
ByWidth = Literal["by_width"]
TopMode = Literal["frozen", "fresh", "trained"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNorm)
STARTS: tuple[str, ...] = get_args(Start)
TOP_MODES: tuple[str, ...] = get_args(TopMode)
_STEPS = 500
_RATE, _RATE_BY_CHANNEL = 5e-3, 0.128

D = TypeVar("D", bound="Descent")


@dataclass(frozen=True)
class Objective:
    """What a matching lowers.

    Args:
        at: ``stitch``, where the top begins, or ``output``.
        against: the data's ``targets``, or what the ``top``'s own network has there.
        by: the distance, in words.
    """

    at: Literal["stitch", "output"]
    against: Literal["targets", "top"]
    by: str


class Matching(ABC):
    """How a stitch is chosen from its family.

    Attributes:
        name: what recipes, the command line and records call it.
        off: fields that leave no trace in records while they hold these values.
        objective: what is lowered.
    """

    name: ClassVar[str]
    off: ClassVar[Mapping[str, Any]] = {}
    objective: ClassVar[Objective]

    @property
    @abstractmethod
    def descent(self) -> Descent | None:
        """The way downhill; None where the closed form is the answer."""

    @property
    def descents(self) -> tuple[Descent, ...]:
        """All ways downhill, one after the other: several of a chain alone."""
        return (self.descent,) if self.descent else ()

    @property
    def parts(self) -> tuple[Matching, ...]:
        """The matchings of a chain, of which any other is the only one."""
        return (self,)

    @property
    @abstractmethod
    def start(self) -> Start:
        """Where the way begins (or, without one, ends)."""

    @property
    def ridge(self) -> float:
        """Strength of the penalty on a map in closed form."""
        return 0.0

    def solves(self, family: Family) -> bool:
        """Whether the closed form of a family is needed, and with it the moments of the rows at the two cuts."""
        return family.fitted and self.start == "least_squares"

    def settled(self, examples: int) -> Matching:
        """The same with every number told that depends on how many examples there are."""
        return self

    def check(self, family: Family) -> None:  # noqa: B027 - most matchings fit every family
        """Refuse a family that this matching cannot fit.

        Raises:
            SettingError: it cannot.
        """


@dataclass(frozen=True)
class Descent(Matching):
    """Abstract: matchings that follow a loss downhill by Adam, the rate falling to zero along a cosine.

    Args:
        epochs: passes over the train set; by default as many as make 500 steps, at least one. After a least-squares
            start the number of steps is what matters: 500 are two epochs of 60,000 images, and 32 of 2,000.
        learning_rate: at the beginning: the same number for every stitch, or ``by_width``, ``min(0.005, 0.128 / c)``
            for ``c`` channels at the bottom's cut: 0.005 up to 25 channels, 0.001 at 128. Adam moves every weight by
            about the rate at each step, and an output by that times the channels it sums over; so a rate that is right
            for few channels moves a wide stitch too far (Yang et al. 2022, *Tensor Programs V*). A top that trains
            along takes 0.005.
        batch_size: examples a step.
        start: ``least_squares`` (the family's closed form), ``identity``, or ``random``.
        patience: stop when the loss on a held-out tenth of the train set has not fallen for so many epochs, and keep
            the best; by default the whole train set is used to the end.
        precision: ``float32``, or ``bfloat16``: both networks compute in it (by autocast) while the stitch is fitted.
            The stitch's weights and Adam stay in float32, and the penalty is always measured in float32.
        top: ``frozen``; or a copy of the top trains along in full, its batch norms by the batch, from ``fresh`` weights
            or from those that are ``trained``. The user's network stays as it is, and the penalty is still taken
            against it. Beware: such a copy can make up for what the bottom lacks, so a small penalty says less than a
            stitch's; Bansal, Nakkiran and Barak (2021, figure 8) show by how much. No store keeps it.

    Raises:
        SettingError: a value that no matching can have.
    """

    off: ClassVar[Mapping[str, Any]] = {"patience": None, "precision": "float32", "top": "frozen"}

    epochs: int | None = None
    learning_rate: float | ByWidth = "by_width"
    batch_size: int = 128
    start: Start = "least_squares"
    patience: int | None = None
    precision: Precision = "float32"
    top: TopMode = "frozen"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2), ("learning_rate", 0), ("patience", 1)):
            self._check_number(name, low)
        for name, known in (("start", STARTS), ("precision", PRECISIONS), ("top", TOP_MODES)):
            value = getattr(self, name)
            if value not in known:
                do = f"choose one of {', '.join(known)}"
                raise SettingError(f"{type(self).__name__} with {name}={value!r}", f"no such {name}", do)

    def _check_number(self, name: str, low: int) -> None:
        value = getattr(self, name)
        if value is None or (name == "learning_rate" and value == "by_width"):
            return
        asked = f"{type(self).__name__} with {name}={value!r}"
        if isinstance(value, str):
            raise SettingError(asked, "no such rule", "choose a number, or 'by_width'")
        if not (math.isfinite(value) and value >= low):
            raise SettingError(asked, "no such matching", f"choose {low} or more")

    @property
    def descent(self) -> Descent:
        """Itself."""
        return self

    @abstractmethod
    def losses(self, outputs: Any, batch: Batch, task: Task) -> Float[Tensor, " n"]:
        """What each example adds to the loss, with its gradient.

        Args:
            outputs: of the stitched network.
            batch: the examples without their main input; where the objective is against the top, its targets are the
                answers of the top's own network.
            task: what outputs are judged by.
        """

    def loss(self, outputs: Any, batch: Batch, task: Task) -> Float[Tensor, ""]:
        """The mean loss of a batch, ``Σ losses / Σ weights``."""
        found: Tensor = self.losses(outputs, batch, task).sum() / float(self.weights(batch, task).sum())
        return found

    def check_outputs(self, outputs: Any, batch: Batch, task: Task) -> None:
        """Refuse outputs that the loss cannot be taken of; asked once a stitch, on its first batch.

        A matching against the top says itself what it can read: a task would look for labels in the top's answers.

        Raises:
            TaskMismatch: outputs and what they are held against do not belong together.
        """
        task.check(outputs, batch)

    def weights(self, batch: Batch, task: Task) -> Float[Tensor, " n"]:
        """What each example counts for in the mean loss."""
        return task.weights(batch)

    def rate(self, channels: int) -> float:
        """The learning rate at the beginning, for a stitch from a cut with so many channels."""
        if self.learning_rate != "by_width":
            return self.learning_rate
        return _RATE if self.trains_top else min(_RATE, _RATE_BY_CHANNEL / channels)

    @property
    def trains_top(self) -> bool:
        """Whether a copy of the top trains along."""
        return self.top != "frozen"

    def settled(self: D, examples: int) -> D:
        """The same with its number of epochs told, for so many examples."""
        steps = max(1, steps_per_epoch(examples, self.batch_size))
        return replace(self, epochs=self.epochs or math.ceil(_STEPS / steps))

    def check(self, family: Family) -> None:
        """A family that has something to fit must be one that can be followed downhill.

        Raises:
            SettingError: it is not.
        """
        if family.fitted and not family.trainable:
            found, do = "a family that gradient descent cannot fit", "fit it by Direct(), or use Orthogonal or Affine"
            raise SettingError(f"{family} fitted by {type(self).__name__}", found, do)

    def moves(self, family: Family) -> bool:
        """Whether anything of a stitched network with a stitch of this family trains."""
        return family.trainable or self.trains_top

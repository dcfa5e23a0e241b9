"""Matching by the task's loss: what the stitched network gets wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from modelstitch.data import Batch
from modelstitch.matching.matching import Descent, Objective
from modelstitch.tasks import Task


@dataclass(frozen=True)
class TaskLoss(Descent):
    """Minimise the stitched network's loss on the train set, as the task defines it; settings as of `Descent`.

    ``argmin over s in S of L(B>m ∘ s ∘ A≤l)``.

    Example:
        >>> TaskLoss().rate(16), TaskLoss().rate(128), TaskLoss(learning_rate=0.003).rate(128)
        (0.005, 0.001, 0.003)
        >>> TaskLoss().settled(60_000).epochs, TaskLoss().settled(2_000).epochs, TaskLoss(epochs=3).settled(10).epochs
        (2, 32, 3)
    """

    name: ClassVar[str] = "task"
    objective: ClassVar[Objective] = Objective("output", "targets", "the task's loss")

    def losses(self, outputs: Any, batch: Batch, task: Task) -> Float[Tensor, " n"]:
        """The task's own losses."""
        return task.losses(outputs, batch)

    def loss(self, outputs: Any, batch: Batch, task: Task) -> Float[Tensor, ""]:
        """The task's own mean loss."""
        return task.loss(outputs, batch)

"""One class an example: cross-entropy, and the share of wrong answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelstitch.data import Batch
from modelstitch.errors import TaskMismatch
from modelstitch.tasks.also import also_of
from modelstitch.tasks.shapes import integers
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told


@dataclass(frozen=True)
class Classification(Task):
    """``error = 100 · wrong / n`` in percent and ``loss = mean(-log softmax(z)[label])`` in nats.

    Outputs are one row of class scores ``z`` an example, ``(n, classes)``; targets are integers ``(n,)``. The answer is
    the class of the largest score, the first of them on a tie.

    Args:
        classes: how many classes there are; by default as many as the network gives scores for.
        also: further scores by name (`modelstitch.tasks.Also`).

    Raises:
        SettingError: no such score.

    Example:
        >>> batch = Batch(torch.zeros(2), torch.tensor([0, 1]))
        >>> outcome = Classification().judge(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in Classification().scores]
        [50.0, 0.7201]
    """

    name: ClassVar[str] = "classification"
    off: ClassVar[Mapping[str, Any]] = {"classes": None, "also": ()}
    classes: int | None = None
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        also_of(self.also)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The error in percent, whose differences are points; the loss in nats."""
        return (
            Score("error", "test error", "points", scale=100.0),
            Score("loss", "test loss", "nats"),
            *(one.score for one in also_of(self.also)),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """One row of scores an example, and labels that have a column in it.

        Raises:
            TaskMismatch: something else.
        """
        scores, labels = answer_of(outputs), batch.targets
        asked = f"the classes of {batch.n} examples"
        if scores.ndim != 2 or len(scores) != batch.n or not scores.is_floating_point():
            found, do = f"outputs: {told(scores)}", "return one row of class scores, floats, for each example"
            raise TaskMismatch(asked, found, f"{do}, or choose another task")
        if self.classes is not None and scores.shape[1] != self.classes:
            found = f"{scores.shape[1]} scores an example for {self.classes} classes"
            raise TaskMismatch(asked, found, "use networks and data of one set of classes")
        if not isinstance(labels, Tensor) or labels.shape != (batch.n,) or not integers(labels):
            raise TaskMismatch(asked, f"targets: {told(labels)}", "give one integer label per example")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
            found = f"labels from {int(labels.min())} to {int(labels.max())}, and scores for {scores.shape[1]} classes"
            raise TaskMismatch(asked, found, "use data with the network's own classes, counted from 0")

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The cross-entropy of each example, in nats."""
        return cross_entropy(answer_of(outputs), batch.targets, reduction="none")

    def loss(self, outputs: Any, batch: Batch) -> Float[Tensor, ""]:
        """The mean of `losses`, by one kernel."""
        return cross_entropy(answer_of(outputs), batch.targets)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """Which answers are wrong, and the cross-entropy of each in float64."""
        scores, labels = require_finite(answer_of(outputs).cpu(), batch.n), batch.targets.detach().cpu().long()
        answers, one = scores.argmax(1), torch.ones(len(scores), dtype=torch.float64)
        nats = cross_entropy(scores, labels, reduction="none")
        wrong = (answers != labels).double()
        also = {one.name: one.rows(answers, labels, scores.shape[1]) for one in also_of(self.also)}
        return Outcome({"error": torch.stack([wrong, one], 1), "loss": torch.stack([nats, one], 1), **also}, answers)

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Rows of at least two scores, and one integer an example."""
        labels = batch.targets
        one_each = isinstance(labels, Tensor) and labels.shape == (batch.n,) and integers(labels)
        return one_each and outputs.ndim == 2 and len(outputs) == batch.n and outputs.shape[1] > 1

    @classmethod
    def suited(cls, outputs: Tensor, data: Any) -> Classification:
        """With the classes of the data, where they are known."""
        return cls(classes=getattr(data, "classes", None))

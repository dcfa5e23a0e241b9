"""Several yes-or-no labels an example: binary cross-entropy, and the share of wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from modelstitch.data import Batch
from modelstitch.errors import TaskMismatch
from modelstitch.tasks.shapes import one_to_one, rows_of, zeros_and_ones
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several yes-or-no labels an example, each with a score ``z`` of its own.

    - ``error = 100 · wrong labels / labels``, in percent (the Hamming loss);
    - ``subset_accuracy = 100 · examples with every label right / n``, in percent; higher is better;
    - ``loss = mean(softplus(z) - y z)``, the binary cross-entropy over examples and labels, in nats.

    Outputs are scores ``(n, labels)``, or ``(n,)`` for one label; targets have the same shape and hold 0 and 1, as
    booleans, integers or floats. The answer to a label is yes where ``z > 0``, that is ``sigmoid(z) > 1/2``.

    Example:
        >>> batch = Batch(torch.zeros(2), torch.tensor([[1, 0], [1, 1]]))
        >>> outcome = MultiLabel().judge(torch.tensor([[2.0, -1.0], [-1.0, 1.0]]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in MultiLabel().scores]
        [25.0, 50.0, 0.5167]

    Reference:
        Tsoumakas & Katakis, "Multi-Label Classification: An Overview", 2007, section 4.
    """

    name: ClassVar[str] = "multi_label"

    @property
    def scores(self) -> tuple[Score, ...]:
        """The share of wrong labels, that of examples without a wrong label, and the loss."""
        return (
            Score("error", "test error", "points", scale=100.0),
            Score("subset_accuracy", "test subset accuracy", "points", better="higher", scale=100.0),
            Score("loss", "test loss", "nats"),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """One score for each label of each example, and labels that are 0 or 1.

        Raises:
            TaskMismatch: something else.
        """
        scores, labels = answer_of(outputs), batch.targets
        asked = f"the labels of {batch.n} examples"
        if scores.ndim not in (1, 2) or not one_to_one(scores, labels, batch.n):
            found = f"outputs: {told(scores)}, targets: {told(labels)}"
            raise TaskMismatch(asked, found, "give one score and one target per label, both (n, labels)")
        if not zeros_and_ones(labels):
            found = f"targets from {labels.min().item():g} to {labels.max().item():g} that are not all 0 or 1"
            raise TaskMismatch(asked, found, "give 1 for each label that an example has, and 0 for each other")

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The binary cross-entropy of each example, the mean over its labels, in nats."""
        scores = rows_of(answer_of(outputs))
        labels = rows_of(batch.targets).to(scores.dtype)
        return binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(1)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """How many labels are wrong, whether none is, and the loss of each example in float64."""
        scores = rows_of(require_finite(answer_of(outputs).cpu(), batch.n))
        labels = rows_of(batch.targets.detach().cpu()).bool()
        answers, one = scores > 0, torch.ones(len(scores), dtype=torch.float64)
        wrong = (answers != labels).double().sum(1)
        nats = binary_cross_entropy_with_logits(scores, labels.double(), reduction="none").mean(1)
        sums = {
            "error": torch.stack([wrong, one * scores.shape[1]], 1),
            "subset_accuracy": torch.stack([(wrong == 0).double(), one], 1),
            "loss": torch.stack([nats, one], 1),
        }
        return Outcome(sums, answers)

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Targets in the shape of the outputs, none of them other than 0 or 1."""
        targets = batch.targets
        return outputs.ndim in (1, 2) and one_to_one(outputs, targets, batch.n) and zeros_and_ones(targets)

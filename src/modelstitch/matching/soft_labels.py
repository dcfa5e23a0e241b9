"""Matching by soft labels: the class probabilities of the top's own network, softened by a temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from modelstitch.data import Batch
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.matching.matching import Descent, Objective
from modelstitch.tasks import MultiLabel, Regression, Task
from modelstitch.tasks.task import answer_of, told


@dataclass(frozen=True)
class SoftLabels(Descent):
    """Minimise ``T² · KL(softmax(t / T) ‖ softmax(z / T))``; no label is read.

    ``z`` are the class scores of the stitched network and ``t`` those of the top's own network for the same input:
    rows ``(n, classes)``, or one for each position, ``(n, length, vocabulary)``, of which padding is left out. The loss
    is the mean over rows, in nats; ``T²`` keeps its gradient at one size whatever the temperature. It is 0, but for
    rounding, where the two networks answer alike.

    Args:
        epochs: as of `Descent`, like all other settings.
        temperature: ``T``, above 0: at 1 the probabilities as they are; the higher, the more the small ones count.
            Beware: the loss, not its gradient, is told to about ``10⁻⁷ T²`` in float32.

    Raises:
        SettingError: a temperature that is not a finite number above 0, or what no descent can have.

    Example:
        >>> from modelstitch.tasks import Classification
        >>> scores, batch = torch.tensor([[1.0, 0.0]]), Batch(torch.zeros(1), torch.tensor([[3.0, 0.0]]))
        >>> [round(SoftLabels(temperature=t).losses(scores, batch, Classification()).item(), 4) for t in (1.0, 4.0)]
        [0.1698, 0.4585]

    Reference:
        Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """

    name: ClassVar[str] = "soft_labels"
    objective: ClassVar[Objective] = Objective("output", "top", "divergence of softened probabilities")

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            asked = f"soft labels at temperature={self.temperature!r}"
            raise SettingError(asked, "no such temperature", "choose a finite number above 0; 1 softens nothing")

    def check_outputs(self, outputs: Any, batch: Batch, task: Task) -> None:
        """Rows of at least two class scores, as many as the top's own network has.

        Raises:
            TaskMismatch: something else, or a task whose outputs are no scores of classes.
        """
        asked, scores, top = f"soft labels for {batch.n} examples", answer_of(outputs), batch.targets
        if isinstance(task, MultiLabel | Regression):
            found = f"outputs of {type(task).__name__}, which are no scores of which one is chosen"
            raise TaskMismatch(asked, found, "match by TaskLoss, or choose networks that classify")
        rows = scores.is_floating_point() and scores.ndim >= 2 and scores.shape[-1] >= 2
        if not rows or not isinstance(top, Tensor) or top.shape != scores.shape:
            found = f"outputs: {told(scores)}, of the top's own network: {told(top)}"
            raise TaskMismatch(asked, found, "give rows of class scores, (n, classes) or (n, length, vocabulary)")

    def losses(self, outputs: Any, batch: Batch, task: Task) -> Float[Tensor, " n"]:
        """``T²`` times the divergence of each example in nats, summed over its positions."""
        scores, counted = answer_of(outputs), _counted(batch)
        # Only what counts is touched: the scores of padding may be NaN, and their gradient would be, too.
        stitched, top = (one[counted].to(scores.dtype) / self.temperature for one in (scores, batch.targets))
        # In logarithms, so that equal scores cancel exactly.
        terms = kl_div(log_softmax(stitched, -1), log_softmax(top, -1), reduction="none", log_target=True)
        nats = terms.sum(-1)
        whole = torch.zeros(counted.shape, dtype=nats.dtype, device=nats.device).masked_scatter(counted, nats)
        return self.temperature**2 * whole.reshape(len(whole), -1).sum(1)

    def weights(self, batch: Batch, task: Task) -> Float[Tensor, " n"]:
        """How many rows of scores each example has, padding left out."""
        counted = _counted(batch)
        return counted.reshape(len(counted), -1).sum(1).float()


def _counted(batch: Batch) -> Tensor:
    """Which rows of scores count: all but those of padding."""
    positions = batch.targets.shape[:-1]
    if batch.mask is not None and batch.mask.shape == positions:
        return batch.mask.bool()
    return torch.ones(positions, dtype=torch.bool, device=batch.targets.device)

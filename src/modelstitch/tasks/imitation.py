"""No labels: how far a network's outputs are from those of another, the one whose top is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from modelstitch.data import Batch
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.tasks.shapes import rows_of
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told

Distance = Literal["kl", "squared"]


@dataclass(frozen=True)
class Imitation(Task):
    """The targets are the top network's own answers ``t``; outputs ``o`` are as good as they are close to them.

    By ``"kl"``, for class scores ``(n, classes)``:

    - ``error = 100 · examples with another largest score / n``, in percent;
    - ``loss = mean_i Σ_c p_ic (log p_ic - log q_ic)`` with ``p = softmax(t)`` and ``q = softmax(o)``, in nats.

    By ``"squared"``, for outputs of any shape:

    - ``distance = Σ_i ‖o_i - t_i‖² / Σ_i ‖t_i‖²``: no unit; 0 is equal, 1 as far as outputs of 0.

    All are exactly 0 for the top's own answers. Fits minimise the loss or the distance. Whoever judges puts the
    answers, a tensor in the shape of the outputs, into ``Batch.targets``: a task runs no network.

    Args:
        by: ``"kl"`` or ``"squared"``.

    Raises:
        SettingError: ``by`` is neither.

    Example:
        >>> batch = Batch(torch.zeros(2), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        >>> outcome = Imitation().judge(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in Imitation().scores]
        [50.0, 0.2311]

    Reference:
        Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2, at temperature 1.
    """

    name: ClassVar[str] = "imitation"
    answers_are_targets: ClassVar[bool] = True
    by: Distance = "kl"

    def __post_init__(self) -> None:
        if self.by not in get_args(Distance):
            do = f"choose one of {', '.join(get_args(Distance))}"
            raise SettingError("how far outputs are from the top's own", f"by={self.by!r}", do)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The share of other decisions and the divergence; or the relative squared distance."""
        if self.by == "squared":
            return (Score("distance", "squared distance from the top's outputs"),)
        return (
            Score("error", "decisions other than the top's", "points", scale=100.0),
            Score("loss", "divergence from the top's outputs", "nats"),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """The top's own answers as targets, in the shape of the outputs.

        Raises:
            TaskMismatch: something else.
        """
        values, targets = answer_of(outputs), batch.targets
        asked = f"the distance from the top's own answers to {batch.n} examples"
        found = f"outputs: {told(values)}, targets: {told(targets)}"
        floats = isinstance(targets, Tensor) and targets.is_floating_point() and values.is_floating_point()
        if not floats or targets.shape != values.shape:
            raise TaskMismatch(asked, found, "give what the top's network answers to the same inputs as targets")
        if not values.ndim or len(values) != batch.n or (self.by == "kl" and values.ndim != 2):
            raise TaskMismatch(asked, found, "give rows of class scores, (n, classes), or choose by='squared'")

    def weights(self, batch: Batch) -> Float[Tensor, " n"]:
        """1 for each example; by ``"squared"`` the squared norm of the top's answer."""
        return rows_of(batch.targets).float().square().sum(1) if self.by == "squared" else torch.ones(batch.n)

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The divergence of each example in nats, or its squared distance."""
        values = answer_of(outputs)
        targets = batch.targets.to(values.dtype)
        if self.by == "squared":
            return (rows_of(values) - rows_of(targets)).square().sum(1)
        return _divergence(values, targets)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """How far each output is from the top's, in float64."""
        values, targets = (require_finite(one.cpu(), batch.n) for one in (answer_of(outputs), batch.targets))
        if self.by == "squared":
            far = (rows_of(values) - rows_of(targets)).square().sum(1)
            return Outcome({"distance": torch.stack([far, rows_of(targets).square().sum(1)], 1)})
        answers, one = values.argmax(1), torch.ones(len(values), dtype=torch.float64)
        other = (answers != targets.argmax(1)).double()
        nats = _divergence(values, targets)
        return Outcome({"error": torch.stack([other, one], 1), "loss": torch.stack([nats, one], 1)}, answers)

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """No targets, and real numbers as outputs."""
        return batch.targets is None and outputs.is_floating_point() and outputs.ndim > 0 and len(outputs) == batch.n

    @classmethod
    def suited(cls, outputs: Tensor, data: Any) -> Imitation:
        """By divergence for rows of at least two scores, else by squared distance."""
        return cls(by="kl" if outputs.ndim == 2 and outputs.shape[1] > 1 else "squared")


def _divergence(values: Tensor, targets: Tensor) -> Tensor:
    # In logarithms, so that equal scores cancel exactly.
    return kl_div(log_softmax(values, 1), log_softmax(targets, 1), reduction="none", log_target=True).sum(1)

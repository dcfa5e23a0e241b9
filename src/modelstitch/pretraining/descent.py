"""Plain SGD with two drops of the learning rate: the one way in which anything here is trained before it is stitched.

The step drops follow Bansal, Nakkiran and Barak (2021, appendix), scaled: they fall at one half and three quarters of
all steps, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.compute import Compute
from modelstitch.data import Batch, steps_per_epoch
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.parallel import among, ranks
from modelstitch.parallel.norm import whole_batches
from modelstitch.support.memory import kept_memory
from modelstitch.support.progress import track
from modelstitch.support.tensors import call
from modelstitch.tasks import Classification, Task, answer_of
from modelstitch.tasks.task import ratio

Curve = list[dict[str, int | float]]
"""One row per epoch: ``epoch``, the mean ``loss``, and of a classification the ``error`` in percent, as seen while
training."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        epochs: passes over the data.
        batch_size: examples per step, two or more: batch norm has no variance of one example.
        learning_rate: of the first half of all steps.
        momentum: of SGD, not Nesterov's.
        weight_decay: on every parameter.

    Raises:
        SettingError: a value that cannot train.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch_size": 2, "learning_rate": 0, "momentum": 0, "weight_decay": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise SettingError(f"train with {name} = {value}", "no such training", f"choose {low} or more")


def descend(
    module: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    *,
    examples: int,
    label: str,
    task: Task,
    schedule: Schedule,
    compute: Compute | None,
    after_epoch: Callable[[Curve], None] | None,
    frozen: Sequence[nn.Module] = (),
) -> Curve:
    """Lower a task's mean loss of a module's outputs, in place; it ends in eval mode on the device where it was.

    Over several processes each takes its part of every batch, batch norms see the whole of it, and all end with the
    same weights, begun from the first process's.

    Args:
        module: is called with the inputs of a batch.
        batches: the batches of an epoch; epochs are numbered from 1.
        examples: how many there are in an epoch.
        label: what is being learned, in a few words.
        task: whose loss to lower.
        schedule: how long and how fast.
        compute: where; by default this process's own device where there are several, else where the module is.
        after_epoch: called with the curve so far; it may change the module's mode and nothing else.
        frozen: modules within, which stay in eval mode.

    Raises:
        TaskMismatch: outputs, targets and task do not belong together.
        NumericalFailure: the loss is not finite; noticed at the end of its epoch.
    """
    with (compute or Compute()).hosting(module):
        ranks().copy_from_first(module.state_dict().values())
        # The plain memory layout is kept on purpose. With channels last, the backward pass of a strided 1 x 1
        # convolution of 2 to 6 channels writes outside its buffers on the CPU (seen with torch 2.13.0: crashes, heap
        # corruption).
        optimiser = torch.optim.SGD(
            module.parameters(),
            lr=schedule.learning_rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
        )
        per_epoch = steps_per_epoch(examples, schedule.batch_size)
        steps = schedule.epochs * per_epoch
        drops = torch.optim.lr_scheduler.MultiStepLR(optimiser, [steps // 2, steps * 3 // 4], gamma=0.2)
        curve: Curve = []
        for epoch in range(1, schedule.epochs + 1):
            tracked = track(batches(epoch), f"{label} epoch {epoch}/{schedule.epochs}", per_epoch)
            module.train()
            for one in frozen:
                one.eval()
            with kept_memory(), whole_batches(module):
                row = _epoch(module, tracked, task, optimiser, drops, check=epoch == 1)
            curve.append({"epoch": epoch, **row})
            if after_epoch is not None:
                after_epoch(curve)
    module.eval()
    return curve


def _epoch(
    module: nn.Module,
    batches: Iterator[Batch],
    task: Task,
    optimiser: torch.optim.Optimizer,
    drops: torch.optim.lr_scheduler.LRScheduler,
    *,
    check: bool,
) -> dict[str, float]:
    """One pass; the mean loss on the way and, of a classification, the error in percent."""
    device, seen = next(module.parameters()).device, _Seen(task)
    for number, whole in enumerate(batches):
        own = _own(whole)
        # Counted where the batch is made: a number asked of another device waits for all that it still has to do.
        weights = [float(task.weights(one).sum()) for one in (whole, own)]
        batch = own.to(device)
        with among(ranks().sharing(whole.n)):
            outputs = call(module, batch.inputs)
            if check and not number:
                task.check(outputs, batch)
            loss = _step(module, outputs, batch, task, weights[1], optimiser)
            seen.add(outputs, loss, batch, whole.n, weights[0])
        drops.step()
    return seen.row()


def _own(whole: Batch) -> Batch:
    """This process's rows of a batch."""
    rows = ranks().part(torch.arange(whole.n))
    return whole.part(slice(int(rows[0]), int(rows[-1]) + 1)) if ranks().several else whole


def _step(
    module: nn.Module, outputs: Any, batch: Batch, task: Task, weight: float, optimiser: torch.optim.Optimizer
) -> Tensor:
    """One step on a batch, of which this process may hold a part; the mean loss, or the sum over this part."""
    # Parts are uneven, so that their means say nothing of the whole: one of several processes sums over its part.
    loss = task.losses(outputs, batch).sum() if ranks().several else task.loss(outputs, batch)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    ranks().average_gradients(module.parameters(), weight)
    optimiser.step()
    return loss.detach()


class _Seen:
    """What an epoch's steps came to, kept on the device until its end: a number read at each step would wait for it.

    Args:
        task: of a classification, wrong answers are counted as well.
    """

    def __init__(self, task: Task) -> None:
        self._counts_errors = isinstance(task, Classification)
        self._losses: list[Tensor] = []
        self._wrong: list[Tensor] = []
        self._factors: list[float] = []
        self._weight, self._examples = 0.0, 0

    def add(self, outputs: Any, loss: Tensor, batch: Batch, n: int, weight: float) -> None:
        """Take one step: its loss as `_step` gives it; the examples and the weight of its whole batch."""
        here = ranks()
        # A batch too small to share is everyone's, and the first process alone counts it.
        self._losses.append(loss if here.counts else torch.zeros_like(loss))
        self._factors.append(1.0 if here.several else weight)
        self._weight += weight
        self._examples += n
        if self._counts_errors:
            wrong = (answer_of(outputs).detach().argmax(1) != batch.targets).sum()
            self._wrong.append(wrong if here.counts else torch.zeros_like(wrong))

    def row(self) -> dict[str, float]:
        """What the curve tells of the epoch.

        Raises:
            NumericalFailure: the loss of a step is not finite, or no example counts.
        """
        losses = torch.stack(self._losses)
        # Summed before it is judged, so that all processes see a loss that is not finite.
        ranks().sum([losses])
        total = 0.0
        for value, factor in zip(losses.tolist(), self._factors, strict=True):
            if not math.isfinite(value):
                raise NumericalFailure("train a network", f"a loss of {value}", "lower the learning rate")
            total += value * factor
        row = {"loss": ratio(total, self._weight, "training loss")}
        if self._counts_errors:
            wrong = torch.stack(self._wrong).sum()
            ranks().sum([wrong])
            row["error"] = 100 * int(wrong) / self._examples
        return row

"""Plain SGD with two drops of the learning rate: the one way in which anything here is trained before it is stitched.

The step drops follow Bansal, Nakkiran and Barak (2021, appendix), scaled: they fall at one half and three quarters of
all steps, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modelstitch.data import steps_per_epoch
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.memory import kept_memory
from modelstitch.parallel import among, place_for, ranks
from modelstitch.parallel.norm import whole_batches
from modelstitch.progress import track

Curve = list[dict[str, int | float]]
"""One row per epoch: ``epoch``, mean ``loss`` in nats, ``error`` in percent, both as seen while training."""


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
    batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    *,
    examples: int,
    label: str,
    schedule: Schedule,
    device: str | torch.device | None,
    after_epoch: Callable[[Curve], None] | None,
    frozen: Sequence[nn.Module] = (),
) -> Curve:
    """Lower the cross-entropy of a module's answers, in place on ``device``; it ends in eval mode on its own device.

    Over several processes each takes its part of every batch, batch norms see the whole of it, and all end with the
    same weights, begun from the first process's.

    Args:
        module: gives logits ``(n, choices)``.
        batches: the inputs and the right choices of an epoch, which are numbered from 1.
        examples: how many there are in an epoch.
        label: what is being learned, in a few words.
        schedule: how long and how fast.
        device: where to compute; by default this process's own where there are several, else the CPU.
        after_epoch: called with the curve so far; it may change the module's mode and nothing else.
        frozen: modules within, which stay in eval mode.

    Raises:
        NumericalFailure: the loss is not finite.
    """
    home = next(module.parameters()).device
    module.to(place_for(device))
    ranks().copy_from_first(module.state_dict().values())
    # The plain memory layout is kept on purpose. With channels last, the backward pass of a strided 1 x 1 convolution
    # of 2 to 6 channels writes outside its buffers on the CPU (seen with torch 2.13.0: crashes, heap corruption).
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
            curve.append({"epoch": epoch, **_epoch(module, tracked, optimiser, drops)})
        if after_epoch is not None:
            after_epoch(curve)
    module.to(home).eval()
    return curve


def _epoch(
    module: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    drops: torch.optim.lr_scheduler.LRScheduler,
) -> dict[str, float]:
    """One pass; the mean loss and the error in percent on the way."""
    device = next(module.parameters()).device
    total, wrong, seen = 0.0, 0, 0
    for inputs, targets in batches:
        whole = len(targets)
        inputs, targets = ranks().part(inputs).to(device), ranks().part(targets).to(device)
        with among(ranks().sharing(whole)):
            logits, value = _step(module, inputs, targets, whole, optimiser)
            wrong += int((logits.argmax(1) != targets).sum()) * ranks().counts
        drops.step()
        total += value * whole
        seen += whole
    everywhere = torch.tensor(wrong)
    ranks().sum([everywhere])
    return {"loss": total / seen, "error": 100 * int(everywhere) / seen}


def _step(
    module: nn.Module, inputs: Tensor, targets: Tensor, whole: int, optimiser: torch.optim.Optimizer
) -> tuple[Tensor, float]:
    """One step on a batch, of which this process may hold a part: its logits, and the mean loss of the whole."""
    logits = module(inputs)
    # Parts are uneven, so that their means say nothing of the whole: one of several processes sums over its part.
    loss = cross_entropy(logits, targets, reduction="sum" if ranks().several else "mean")
    # Summed before it is judged, so that all processes see a loss that is not finite.
    total = loss.detach().clone()
    ranks().sum([total])
    value = float(total) / (whole if ranks().several else 1)
    if not math.isfinite(value):
        raise NumericalFailure("train a network", f"a loss of {value}", "lower the learning rate")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    ranks().average_gradients(module.parameters(), len(targets))
    optimiser.step()
    return logits.detach(), value

"""How a network learns its labels: plain SGD on the cross-entropy, the learning rate dropped twice.

The step drops follow Bansal, Nakkiran and Barak (2021, appendix), scaled: they fall at one half and three quarters of
all steps, however many there are. Order and augmentation are keyed by seed and epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modelstitch.data import Samples
from modelstitch.data.samples import check_samples
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.memory import kept_memory
from modelstitch.parallel import among, ranks
from modelstitch.parallel.norm import whole_batches
from modelstitch.progress import track
from modelstitch.seeding import generator

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


def train_supervised(
    network: nn.Module, samples: Samples, *, schedule: Schedule, seed: int, device: str | torch.device | None = None
) -> Curve:
    """Train a network in place on ``device``, and leave it in eval mode on the device where it was.

    Over several processes each takes its part of every batch, batch norms see the whole of it, and all end with the
    same weights, begun from the first process's.

    Args:
        network: gives logits ``(n, classes)``.
        samples: what to learn, augmented as they say.
        schedule: how long and how fast.
        seed: keys the order of the examples and their augmentation.
        device: where to compute; by default this process's own where there are several, else the CPU.

    Returns:
        One row per epoch, measured on the augmented examples while they are learnt.

    Raises:
        DataError: the samples cannot be learnt from.
        NumericalFailure: the loss is not finite.
    """
    check_samples(samples)
    home = next(network.parameters()).device
    network.to(device or ranks().device or "cpu").train()
    ranks().copy_from_first(network.state_dict().values())
    # The plain memory layout is kept on purpose. With channels last, the backward pass of a strided 1 x 1 convolution
    # of 2 to 6 channels writes outside its buffers on the CPU (seen with torch 2.13.0: crashes, heap corruption).
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    steps = schedule.epochs * steps_per_epoch(len(samples), schedule.batch_size)
    drops = torch.optim.lr_scheduler.MultiStepLR(optimiser, [steps // 2, steps * 3 // 4], gamma=0.2)
    curve: Curve = []
    for epoch in range(1, schedule.epochs + 1):
        label = f"{samples.name} epoch {epoch}/{schedule.epochs}"
        batches = _batches(samples, schedule.batch_size, seed, epoch)
        tracked = track(batches, label, steps_per_epoch(len(samples), schedule.batch_size))
        with kept_memory(), whole_batches(network):
            curve.append({"epoch": epoch, **_epoch(network, tracked, optimiser, drops)})
    network.to(home).eval()
    return curve


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Batches in one pass, a last one of a single example left out: batch norm has no variance of it.

    Example:
        >>> steps_per_epoch(257, 128), steps_per_epoch(258, 128)
        (2, 3)
    """
    return examples // batch_size + (examples % batch_size > 1)


def _batches(samples: Samples, size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(samples), generator=generator("order", seed, epoch))
    if len(order) % size == 1:
        order = order[:-1]
    return samples.batches(size, order, generator("augmentation", seed, epoch))


def _epoch(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    drops: torch.optim.lr_scheduler.LRScheduler,
) -> dict[str, float]:
    """One pass; the mean loss and the error in percent on the way."""
    device = next(network.parameters()).device
    total, wrong, seen = 0.0, 0, 0
    for inputs, targets in batches:
        whole = len(targets)
        inputs, targets = ranks().part(inputs).to(device), ranks().part(targets).to(device)
        with among(ranks().sharing(whole)):
            logits, value = _step(network, inputs, targets, whole, optimiser)
            wrong += int((logits.argmax(1) != targets).sum()) * ranks().counts
        drops.step()
        total += value * whole
        seen += whole
    everywhere = torch.tensor(wrong)
    ranks().sum([everywhere])
    return {"loss": total / seen, "error": 100 * int(everywhere) / seen}


def _step(
    network: nn.Module, inputs: Tensor, targets: Tensor, whole: int, optimiser: torch.optim.Optimizer
) -> tuple[Tensor, float]:
    """One step on a batch, of which this process may hold a part: its logits, and the mean loss of the whole."""
    logits = network(inputs)
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
    ranks().average_gradients(network.parameters(), len(targets))
    optimiser.step()
    return logits.detach(), value


@torch.no_grad()
def error_percent(network: nn.Module, samples: Samples, *, device: str | torch.device = "cpu") -> float:
    """Share of the samples whose highest logit is not that of their class, in percent.

    Args:
        network: in eval mode, on any device; it is left on its own.
        samples: what to judge it on.
        device: where to compute.
    """
    home = next(network.parameters()).device
    network.to(device)
    wrong = sum(
        int((network(inputs.to(device)).argmax(1).cpu() != labels).sum()) for inputs, labels in samples.batches()
    )
    network.to(home)
    return 100 * wrong / len(samples)

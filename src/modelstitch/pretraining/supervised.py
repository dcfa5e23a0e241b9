"""How a network learns its labels: SGD on the cross-entropy, as `modelstitch.pretraining.descent` has it.

Order and augmentation are keyed by seed and epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from modelstitch.data import Samples, epoch_order
from modelstitch.data.samples import check_samples
from modelstitch.pretraining.descent import Curve, Schedule, descend
from modelstitch.seeding import generator


def train_supervised(
    network: nn.Module,
    samples: Samples,
    *,
    schedule: Schedule,
    seed: int,
    device: str | torch.device | None = None,
    after_epoch: Callable[[Curve], None] | None = None,
) -> Curve:
    """Train a network in place on ``device``, and leave it in eval mode on the device where it was.

    Args:
        network: gives logits ``(n, classes)``.
        samples: what to learn, augmented as they say.
        schedule: how long and how fast.
        seed: keys the order of the examples and their augmentation.
        device: where to compute; by default this process's own where there are several, else the CPU.
        after_epoch: called with the curve so far, to look at the network as it is then; it may change its mode and
            nothing else.

    Returns:
        One row per epoch, measured on the augmented examples while they are learnt.

    Raises:
        DataError: the samples cannot be learnt from.
        NumericalFailure: the loss is not finite.
    """
    check_samples(samples)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = epoch_order(len(samples), schedule.batch_size, generator("order", seed, epoch))
        return samples.batches(schedule.batch_size, order, generator("augmentation", seed, epoch))

    return descend(
        network,
        batches,
        examples=len(samples),
        label=samples.name,
        schedule=schedule,
        device=device,
        after_epoch=after_epoch,
    )


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

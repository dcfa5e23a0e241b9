"""Matching by gradient: the stitched network's cross-entropy, followed downhill in the stitch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelstitch.data import Samples
from modelstitch.errors import ClassMismatch, NumericalFailure
from modelstitch.progress import track
from modelstitch.seeding import generator
from modelstitch.stitched import Stitched


def descend(
    stitched: Stitched,
    train: Samples,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    batch_statistics: bool,
    device: str,
) -> tuple[float, ...]:
    """Train the stitch in place: Adam, the learning rate falling to zero along a cosine.

    Args:
        stitched: bottom and top take no gradient.
        train: the examples.
        epochs: passes over them.
        learning_rate: at the beginning.
        batch_size: examples a step.
        seed: keys their order.
        batch_statistics: whether the batch norms of bottom and top use the batch and update their clones.
        device: where the network is.

    Returns:
        Mean loss of each epoch, in nats.

    Raises:
        ClassMismatch: the outputs are not one row of class scores an example.
        NumericalFailure: a loss is not finite.
    """
    _set_modes(stitched, batch_statistics)
    optimiser = torch.optim.Adam(stitched.stitch.parameters(), lr=learning_rate)
    per_epoch = _steps(len(train), batch_size)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * per_epoch)
    curve = []
    for epoch in range(epochs):
        batches = _shuffled(train, batch_size, seed, epoch)
        total, seen = 0.0, 0
        for inputs, labels in track(batches, f"{_label(stitched)}, epoch {epoch + 1}/{epochs}", per_epoch):
            loss = _loss(stitched, inputs.to(device), labels.to(device), train.classes)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cosine.step()
            total, seen = total + loss.item() * len(labels), seen + len(labels)
        curve.append(total / seen)
    return tuple(curve)


def reestimate(stitched: Stitched, train: Samples, seed: int, device: str, batch_size: int = 128) -> None:
    """Run once over the examples in train mode, so that the cloned running statistics become the stitched network's."""
    _set_modes(stitched, True)
    with torch.no_grad():
        batches = _shuffled(train, batch_size, seed, 0)
        for inputs, _ in track(batches, f"{_label(stitched)}, statistics", _steps(len(train), batch_size)):
            stitched(inputs.to(device))


def _set_modes(stitched: Stitched, batch_statistics: bool) -> None:
    stitched.stitch.train()
    stitched.bottom.train(batch_statistics)
    stitched.top.train(batch_statistics)


def _loss(stitched: Stitched, inputs: Tensor, labels: Tensor, classes: int) -> Tensor:
    with torch.no_grad():
        below = stitched.bottom(inputs)
    logits = stitched.top(stitched.stitch(below))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != classes:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        found = f"outputs of shape {shape} for {classes} classes"
        raise ClassMismatch("a fit by task loss", found, "use a network that returns one score a class")
    loss = cross_entropy(logits, labels)
    if not math.isfinite(loss.item()):
        do = "lower the learning rate, or look at the activations at the two cuts"
        raise NumericalFailure(f"a fit by task loss: {_label(stitched)}", f"a loss of {loss.item()}", do)
    return loss


def _steps(examples: int, batch_size: int) -> int:
    # A last batch of one has no variance for a batch norm; it is left out.
    return examples // batch_size + (examples % batch_size > 1)


def _shuffled(train: Samples, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(train), generator=generator("stitch order", seed, epoch))
    return train.batches(batch_size, order[:-1] if len(order) % batch_size == 1 else order)


def _label(stitched: Stitched) -> str:
    return f"{stitched.bottom.cut.name} -> {stitched.top.cut.name}"

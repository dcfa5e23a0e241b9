"""Labelled examples of one input tensor: images and the like, stored compactly.

The tensor may be a file mapped into memory and larger than it: inputs are read a batch at a time and never written to.
What `Samples.take` picks by indices, and with it a subset or a half, is copied into memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from modelstitch.data.examples import Batch, Examples, check_finite, copied, picked
from modelstitch.data.transforms import augment
from modelstitch.errors import DataError
from modelstitch.support.tensors import fingerprint, is_ids


@dataclass(frozen=True, eq=False)
class Samples(Examples):
    """Labelled examples, stored compactly and handed out as a network sees them.

    Args:
        name: what the data is called in records.
        inputs: ``(n, ...)``: uint8 images ``(n, c, h, w)``, floats, or integer tokens.
        labels: ``(n,)``, integers from 0 to ``classes - 1``.
        classes: how many classes there are.
        mean: per channel, in units of a whole uint8 range; with ``std`` it turns uint8 into ``(x / 255 - mean) / std``.
        std: per channel; with ``mean`` empty, inputs are handed out as they are stored.
        crop: zero padding of the random crop that suits this data, in pixels; 0 for none.
        flip: whether a mirrored example still belongs to its class.
        white: the largest value that a byte of these images can have.

    Example:
        >>> samples = Samples("two", torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), classes=2)
        >>> len(samples), [len(labels) for _, labels in samples.batches(1)]
        (2, [1, 1])
    """

    name: str
    # Left unchecked by shape so that `check_samples` can say in words what is wrong with them.
    inputs: Tensor
    labels: Tensor
    classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    crop: int = 0
    flip: bool = False
    white: int = 255
    held = ("inputs", "labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def longest(self) -> int:
        """The length of the longest axis of an example: more than any length that a network may leave open."""
        return max(self.inputs.shape[1:], default=1)

    def raw(self) -> Samples:
        """The same examples for networks that normalise them themselves: bytes as ``x / white``, all else as it is."""
        return dataclasses.replace(self, mean=(0.0,), std=(self.white / 255,)) if self.mean else self

    @property
    def raw_moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """``mean`` and ``std`` in units of what `raw` gives: ``(raw - mean) / std`` is what is normalised here."""
        mean, std = (tuple(255 / self.white * one for one in each) for each in (self.mean, self.std))
        return mean, std

    def normalised(self, inputs: Shaped[Tensor, "m ..."]) -> Shaped[Tensor, "m ..."]:
        """Stored inputs turned into what a network sees: ``(x / 255 - mean) / std``, or as they are without a mean."""
        if not self.mean:
            return inputs
        shape = (1, -1, *[1] * (inputs.dim() - 2))
        mean, std = (torch.tensor(values, device=inputs.device).view(shape) for values in (self.mean, self.std))
        return (inputs.float() / 255 - mean) / std

    def batch(self, index: Tensor | slice) -> Batch:
        """The examples at these indices; the targets are their labels."""
        # Normalising makes new values; without it the rows are copied, for a network may write into its input.
        rows = picked(self.inputs, index) if self.mean else copied(self.inputs, index)
        return Batch(self.normalised(rows), copied(self.labels, index))

    def without_main(self, index: Tensor | slice) -> Batch:
        """The labels alone: one input tensor has nothing beside it, and only token ids are handed on."""
        ids = is_ids(self.inputs) and not self.mean
        return Batch((), picked(self.labels, index), None, copied(self.inputs, index) if ids else None)

    def batches(
        self, size: int = 256, order: Int[Tensor, " k"] | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield batches; the last one may be as small as one example.

        Args:
            size: examples a batch.
            order: which examples, in which order; all in the stored order if absent.
            generator: draws this data's random crops and flips; without one the examples come as stored.
        """
        for start in range(0, len(self) if order is None else len(order), size):
            index = slice(start, start + size) if order is None else order[start : start + size]
            if generator is None or not (self.crop or self.flip):
                yield self.batch(index)
                continue
            inputs = augment(self.inputs[index], crop=self.crop, flip=self.flip, generator=generator)
            yield Batch(self.normalised(inputs), self.labels[index])

    def take(self, index: Int[Tensor, " k"] | slice) -> Samples:
        """The examples at these indices, in that order."""
        return dataclasses.replace(self, inputs=self.inputs[index], labels=self.labels[index])

    def with_targets_of(self, others: Examples) -> Samples:
        """The same inputs beside the labels of others."""
        return dataclasses.replace(self, labels=others.batch(slice(0, len(others))).targets)

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs as they are stored."""
        return self.inputs.nbytes

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any input, label, mean or std, and with the order."""
        scales = {"mean": torch.tensor(self.mean).double(), "std": torch.tensor(self.std).double()}
        return fingerprint({"inputs": self.inputs, "labels": self.labels, **scales})


def channel_moments(
    images: UInt8[Tensor, "n c h w"],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation of each channel, in units of the whole uint8 range.

    Both come from the exact count of each of the 256 values, so that they are the same on every machine.

    Returns:
        ``(mean, std)``, each with one number per channel; the deviation is that of the population.

    Example:
        >>> channel_moments(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
        ((0.5,), (0.5,))
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.reshape(-1), minlength=256).double() / channel.numel()
        mean = (share * values).sum()
        means.append(float(mean))
        deviations.append(float((share * (values - mean) ** 2).sum().sqrt()))
    return tuple(means), tuple(deviations)


def check_samples(samples: Samples) -> Samples:
    """Refuse examples from which no honest number can come.

    Returns:
        The same samples.

    Raises:
        DataError: no examples, one class only, labels that are not integers from 0 to ``classes - 1``, another
            number of labels than inputs, or inputs that are not finite.
    """
    labels, inputs = samples.labels, samples.inputs
    asked = f"use the {len(inputs)} examples of {samples.name!r}"
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        found = f"labels of type {labels.dtype} and shape {tuple(labels.shape)}"
        raise DataError(asked, found, "give one integer label per example")
    if len(labels) != len(inputs):
        raise DataError(asked, f"{len(labels)} labels for {len(inputs)} inputs", "give one label per input")
    if not len(labels):
        raise DataError(asked, "no examples", "check the folder, filter or split that they come from")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= samples.classes:
        found = f"labels from {low} to {high} for {samples.classes} classes"
        raise DataError(asked, found, f"number the classes from 0 to {samples.classes - 1}")
    if low == high:
        raise DataError(asked, f"only class {low}", "use examples of two or more classes: any network is right on one")
    check_finite(inputs, asked)
    return samples

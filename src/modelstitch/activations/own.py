"""Bottoms whose batch norms use the batch and update statistics of their own: each runs by itself, nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from modelstitch.activations.run import Activations, autocast
from modelstitch.compute import Precision
from modelstitch.cut import Bottom
from modelstitch.data import Batch, side_inputs
from modelstitch.parallel import ranks
from modelstitch.support.progress import track
from modelstitch.support.tensors import call


class OwnStatistics:
    """What bottoms with batch statistics of their own give over examples.

    Args:
        source: the network that they are halves of, over the examples that they run over.
        precision: what they compute in.
    """

    def __init__(self, source: Activations, precision: Precision) -> None:
        self.examples, self._home, self._precision = source.examples, source.device, precision

    @contextmanager
    def opened(self) -> Iterator[OwnStatistics]:
        """As of `Activations`; there is nothing to keep."""
        yield self

    def below(
        self, bottoms: Sequence[Bottom], size: int, order: Tensor, label: str = ""
    ) -> Iterator[tuple[list[Tensor], Batch]]:
        """As `Activations.below`, in the mode that the bottoms are in."""
        batches = torch.split(order, size)
        for whole in track(batches, label, len(batches)) if label else batches:
            batch = self.examples.batch(ranks().part(whole)).to(self._home)
            with torch.no_grad(), autocast(self._precision, batch.inputs):
                below = [call(bottom, batch.inputs) for bottom in bottoms]
            yield below, Batch(side_inputs(batch.inputs), batch.targets, batch.mask)

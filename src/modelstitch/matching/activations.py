"""Activations of one network at several cuts over a set of examples, batch by batch in any order: run, or kept.

Stitches are fitted on the examples as they are stored, without random augmentation, so an activation never changes and
may be kept from one epoch to the next. It is kept from the deepest cut back, as far as the budget goes: the network
has to run up to the deepest cut that is not kept, so any other choice would save less.

What is kept is, bit for bit, what running again would give. Kernels may round by the size of the batch, so every
activation is computed in a batch of full size, a last short one being filled up with its own examples. A few (matrix
products over a handful of channels) also round by the place in the batch: cuts above such a one are not kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from modelstitch.budget import GB, Budget
from modelstitch.cut import Bottom, Cut, capture_of
from modelstitch.data import Samples
from modelstitch.errors import BadFile
from modelstitch.matching.how import Precision
from modelstitch.matching.kept import InMemory, Kept, OnDisk
from modelstitch.parallel import ranks
from modelstitch.tensors import fingerprint


class Activations:
    """What bottoms of one captured network give over examples; a context manager that lets go of what it keeps.

    Args:
        bottoms: halves of one captured network, in eval mode.
        samples: the examples.
        batch_size: examples a batch.
        device: where the network is, and where the activations are given.
        precision: what the network computes in.
        budget: how much may be kept.
        keep: whether to keep anything: there is no use for it where each example comes once.
    """

    def __init__(
        self,
        bottoms: Sequence[Bottom],
        samples: Samples,
        *,
        batch_size: int,
        device: str,
        precision: Precision,
        budget: Budget,
        keep: bool = True,
    ) -> None:
        self._capture = capture_of(bottoms[0])
        self._batch_size, self._device, self._precision = batch_size, device, precision
        self._samples = _on_device(samples, device, budget)
        self._labels = samples.labels.to(device)
        # What a run is filled up to: this process's part of a full batch.
        self._full = math.ceil(batch_size / ranks().count)
        self._runs: dict[tuple[Cut, ...], Bottom] = {}
        self._kept: dict[Cut, Kept] = {}
        # Over several processes an example falls to another one in each epoch, so that none has a use for its own.
        if keep and not ranks().several:
            self._keep({bottom.cut for bottom in bottoms}, budget)

    def batches(self, bottoms: Sequence[Bottom], order: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
        """The activations of each bottom, and the labels: this process's part of each batch along an order.

        Args:
            bottoms: some of those that this was made for.
            order: indices of examples; no example twice.
        """
        cuts = [bottom.cut for bottom in bottoms]
        for batch in torch.split(order, self._batch_size):
            index = ranks().part(batch)
            found = self._at(list(dict.fromkeys(cuts)), index)
            yield [found[cut] for cut in cuts], self._labels[index]

    def _at(self, cuts: list[Cut], index: Tensor) -> dict[Cut, Tensor]:
        missing = tuple(cut for cut in cuts if cut not in self._kept or not self._kept[cut].has(index))
        found = dict(zip(missing, self._run(missing, index), strict=True)) if missing else {}
        for cut in cuts:
            if cut not in found:
                found[cut] = self._kept[cut].get(index, self._device)
            elif cut in self._kept:
                self._kept[cut].put(index, found[cut])
        return found

    @torch.no_grad()
    def _run(self, cuts: tuple[Cut, ...], index: Tensor) -> list[Tensor]:
        if cuts not in self._runs:
            self._runs[cuts] = self._capture.bottoms(cuts)
        # A short batch is filled up by going through it again, as often as it takes.
        full = index[torch.arange(max(self._full, len(index))) % len(index)]
        inputs = self._samples.normalised(self._samples.inputs[full]).to(self._device)
        with autocast(self._precision, self._device):
            found = self._runs[cuts](inputs)
        # What autocast leaves in sixteen bits goes on in float32: stitches are fitted in it, and files can hold it.
        low = self._precision == "bfloat16"
        return [activation[: len(index)].float() if low else activation[: len(index)] for activation in found]

    def _keep(self, cuts: set[Cut], budget: Budget) -> None:
        """Choose what to keep, and check what a folder holds of it already."""
        n = len(self._samples)
        for cut in self._steady(self._affordable(cuts, budget.kept_bytes)):
            if budget.folder is None:
                self._kept[cut] = InMemory(n)
            elif file := OnDisk.claim(budget.folder, self._key(cut), n):
                self._kept[cut] = file
                self._check(cut, file)

    def _affordable(self, cuts: set[Cut], most: float) -> tuple[Cut, ...]:
        """From the deepest cut back, as far as the bytes go."""
        found: list[Cut] = []
        for cut in sorted(cuts, key=self._capture.cuts.index, reverse=True):
            most -= len(self._samples) * cut.bytes(self._samples.longest)
            if most < 0:
                break
            found.append(cut)
        return tuple(found)

    def _steady(self, cuts: tuple[Cut, ...]) -> list[Cut]:
        """The cuts where an example's activation has the same bits wherever in a batch it stands."""
        if not cuts:
            return []
        index = torch.arange(min(len(self._samples), self._batch_size))
        there, back = self._run(cuts, index), self._run(cuts, index.flip(0))
        return [cut for cut, x, y in zip(cuts, there, back, strict=True) if torch.equal(x, y.flip(0))]

    def _key(self, cut: Cut) -> dict[str, str]:
        """All that an activation depends on, bit for bit."""
        bottom = self._capture.bottom(cut)
        weights = fingerprint(dict(bottom.named_parameters()) | dict(bottom.named_buffers()))
        made = f"{self._device} {torch.get_num_threads()} {torch.__version__} {self._batch_size} {self._precision}"
        samples = self._samples.fingerprint
        return {"network": self._capture.name, "weights": weights, "cut": cut.name, "data": samples, "made": made}

    def _check(self, cut: Cut, file: OnDisk) -> None:
        """Refuse activations that are not this network's: a batch is run again and compared."""
        index = torch.arange(min(len(self._samples), self._batch_size))
        if not file.has(index):
            return
        (fresh,), held = self._run((cut,), index), file.get(index, self._device)
        near = 1e-3 * float(fresh.abs().max())
        if fresh.shape != held.shape or not torch.allclose(fresh, held, rtol=1e-3, atol=near):
            found = f"numbers in {file.path} that the network does not give"
            raise BadFile(f"activations kept at {cut.name!r}", found, "remove the file, and it is made again")

    def __enter__(self) -> Activations:
        return self

    def __exit__(self, *_: object) -> None:
        for kept in self._kept.values():
            kept.close()
        self._kept = {}


class OwnStatistics:
    """What bottoms give that use the batch's statistics in train mode and update their own: each runs for itself.

    Args:
        samples: the examples.
        batch_size: examples a batch.
        device: where the networks are.
        precision: what they compute in.
    """

    def __init__(self, samples: Samples, batch_size: int, device: str, precision: Precision) -> None:
        self._samples, self._batch_size = samples, batch_size
        self._device, self._precision = device, precision

    def batches(self, bottoms: Sequence[Bottom], order: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
        """As `Activations.batches`, in the mode that the bottoms are in."""
        for inputs, labels in self._samples.batches(self._batch_size, order):
            inputs, labels = ranks().part(inputs).to(self._device), ranks().part(labels)
            with torch.no_grad(), autocast(self._precision, self._device):
                below = [bottom(inputs) for bottom in bottoms]
            yield below, labels.to(self._device)

    def __enter__(self) -> OwnStatistics:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept."""


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """What networks and stitches run in while a stitch is fitted."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def _on_device(samples: Samples, device: str, budget: Budget) -> Samples:
    """The examples on the device, stored as compactly as before, where they fit: no batch waits for a copy."""
    fits = samples.inputs.nbytes <= GB * budget.memory / 2
    return dataclasses.replace(samples, inputs=samples.inputs.to(device)) if fits else samples

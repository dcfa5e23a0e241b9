"""Networks run over examples, batch by batch in any order; what a cut gives is run once, or kept.

Nothing here is augmented, so an activation never changes and may be kept from one pass to the next. It is kept from the
deepest cut back, as far as the room goes: a network has to run up to the deepest cut that is not kept, so any other
choice would save less.

What is kept is, bit for bit, what running again would give. Kernels may round by the size of the batch, so a short
batch is filled up with its own examples, and a cut is kept only where batches of every size in use give the same bits
(some matrix products over a handful of channels also round by the place in the batch).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from modelstitch.activations.cache import InMemory, Kept, OnDisk, Room
from modelstitch.compute import Compute, Precision, home_of
from modelstitch.cut import Bottom, Capture, Cut
from modelstitch.data import Batch, Examples
from modelstitch.errors import BadFile
from modelstitch.parallel import ranks
from modelstitch.support.memory import GB
from modelstitch.support.progress import track
from modelstitch.support.tensors import Inputs, call, fingerprint, leaves, unlowered

Share = Literal["part", "turns", "all"]
"""Of several processes each takes a part of every batch, or whole batches in turn; or each does everything."""


class Activations:
    """What one captured network gives at its cuts over examples.

    Args:
        captured: the network.
        examples: what it runs over.
        compute: where, and how much may be kept.
        precision: what the network computes in.
        room: shared with others of the same call; its own by default.
    """

    def __init__(
        self,
        captured: Capture,
        examples: Examples,
        compute: Compute,
        *,
        precision: Precision = "float32",
        room: Room | None = None,
    ) -> None:
        self.captured, self.examples, self.device = captured, examples, compute.place(captured.view)
        self.compute = replace(compute, device=self.device)
        self._precision = precision
        self._room, self._owner = room or Room(compute.kept_bytes), object()
        self._stored: Examples | None = None
        self._runs: dict[tuple[Cut, ...], Bottom] = {}
        self._kept: dict[Cut, Kept] = {}
        self._wanted: set[Cut] = set()
        self._sizes: set[int] = set()

    def want(self, cuts: Sequence[Cut], size: int) -> None:
        """Say beforehand what will be asked for more than once, so that it is kept from the first pass on.

        Args:
            cuts: where.
            size: examples a batch.
        """
        # Over several processes an example falls to another one in each pass, so that none has a use for its own.
        if not (ranks().several or self.examples.ragged):
            self._wanted.update(cuts)
            self._sizes.add(size)

    @contextmanager
    def opened(self) -> Iterator[Activations]:
        """Within it, what is kept here gives way to nobody else's."""
        with self._room.held(self._owner, self.drop):
            if self._wanted - self._kept.keys():
                try:
                    self._keep()
                except BaseException:
                    self.drop()
                    raise
            yield self

    def drop(self) -> None:
        """Let go of what is kept; what is whole and on disk stays there."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()

    def with_targets_of(self, examples: Examples) -> Activations:
        """The same activations beside the targets of other examples, whose inputs are the same."""
        twin = copy.copy(self)
        twin.examples, twin._stored = examples, None
        return twin

    def batches(
        self, cuts: Sequence[Cut], size: int, order: Tensor | None = None, *, label: str = "", share: Share = "turns"
    ) -> Iterator[tuple[Tensor, list[Tensor], Batch]]:
        """The examples' indices, their activations at each cut, and the batch without its main input.

        Args:
            cuts: where.
            size: examples a batch.
            order: indices of examples, no example twice; by default all, in the order in which they are cheapest.
            label: what is being done, for the progress bar.
            share: how several processes share them.
        """
        order = self.examples.order() if order is None else order
        here = ranks()
        batches = torch.split(order, size)
        mine = list(here.turns(batches)) if share == "turns" else batches
        full = math.ceil(size / here.count) if share == "part" else size
        for whole in track(mine, label, len(mine)) if label else mine:
            index = here.part(whole) if share == "part" else whole
            found = self._at(list(dict.fromkeys(cuts)), index, full)
            yield index, [found[cut] for cut in cuts], self._source().without_main(index).to(self.device)

    def below(
        self, bottoms: Sequence[Bottom], size: int, order: Tensor, label: str = ""
    ) -> Iterator[tuple[list[Tensor], Batch]]:
        """What each of several bottoms of the network gives, with the batch; processes share each batch."""
        for _, activations, batch in self.batches([one.cut for one in bottoms], size, order, label=label, share="part"):
            yield activations, batch

    def _at(self, cuts: list[Cut], index: Tensor, full: int) -> dict[Cut, Tensor]:
        missing = [cut for cut in cuts if cut not in self._kept or not self._kept[cut].has(index)]
        if missing:
            # While the network runs anyway, all that is kept comes along.
            missing += [cut for cut, kept in self._kept.items() if cut not in missing and not kept.has(index)]
        found = dict(zip(missing, self._run(tuple(missing), index, full), strict=True)) if missing else {}
        for cut, activation in found.items():
            if cut in self._kept:
                self._kept[cut].put(index, activation)
        return found | {cut: self._kept[cut].get(index).to(self.device) for cut in cuts if cut not in found}

    @torch.no_grad()
    def _run(self, cuts: tuple[Cut, ...], index: Tensor, full: int) -> list[Tensor]:
        if cuts not in self._runs:
            self._runs[cuts] = self.captured.bottoms(cuts)
        # A short batch is filled up by going through it again, as often as it takes.
        filled = index[torch.arange(max(full, len(index))) % len(index)]
        inputs = self._source().batch(filled).to(self.device).inputs
        with autocast(self._precision, inputs):
            found = call(self._runs[cuts], inputs)
        # What comes in sixteen bits goes on in float32: stitches are fitted in it, and files can hold it.
        return [unlowered(activation[: len(index)]) for activation in found]

    def _source(self) -> Examples:
        """The examples on the device, stored as compactly as before, where they fit: no batch waits for a copy."""
        if self._stored is None:
            fits = self.examples.nbytes <= GB * self.compute.memory / 2
            self._stored = self.examples.on(self.device) if fits else self.examples
        return self._stored

    def _keep(self) -> None:
        """Choose what to keep, beginning with the rows of the probe, and check what a folder holds of it already."""
        cuts, index = self._affordable(), torch.arange(min(len(self.examples), max(self._sizes)))
        there = dict(zip(cuts, self._run(cuts, index, max(self._sizes)), strict=True)) if cuts else {}
        for cut in self._steady(there):
            if (kept := self._place_for(cut)) is None:
                continue
            self._kept[cut] = kept
            if kept.has(index):
                self._check(cut, kept, index, there[cut])
            else:
                kept.put(index, there[cut])
        self._wanted.intersection_update(self._kept)

    def _place_for(self, cut: Cut) -> Kept | None:
        """Where its rows may be kept; None where another process is filling that file."""
        if self.compute.folder is None:
            return InMemory(len(self.examples))
        return OnDisk.claim(self.compute.folder, self._key(cut), len(self.examples))

    def _affordable(self) -> tuple[Cut, ...]:
        """From the deepest cut back, as far as the room goes."""
        n, longest = len(self.examples), self.examples.longest
        deepest_first = sorted(self._wanted, key=self.captured.cuts.index, reverse=True)
        return tuple(deepest_first[: self._room.take(self._owner, [n * cut.bytes(longest) for cut in deepest_first])])

    def _steady(self, there: dict[Cut, Tensor]) -> list[Cut]:
        """The cuts where an example's activation has the same bits in any batch, wherever in it the example stands.

        The first examples in a batch of the largest size are compared with a batch of each smaller size, which holds
        some of them in the opposite order, so that another size and another place are tried at once.

        Args:
            there: what the first batch gave, by cut.
        """
        cuts, steady = tuple(there), set(there)
        rows, large = min(len(self.examples), max(self._sizes)), max(self._sizes)
        for size in sorted(self._sizes - {large}) or [large]:
            # From all over the large batch: kernels may treat its last rows in another way than its first.
            few = torch.arange(rows).flip(0)[:: max(1, rows // size)][:size]
            back = self._run(cuts, few, size) if cuts else []
            steady -= {cut for cut, again in zip(cuts, back, strict=True) if not torch.equal(there[cut][few], again)}
        return [cut for cut in cuts if cut in steady]

    def _key(self, cut: Cut) -> dict[str, str]:
        """All that an activation depends on, bit for bit."""
        bottom = self.captured.bottom(cut)
        weights = fingerprint(dict(bottom.named_parameters()) | dict(bottom.named_buffers()))
        sizes = "/".join(map(str, sorted(self._sizes)))
        hardware = f"{torch.device(self.device).type} {self.compute.hardware}"
        made = f"{hardware} {torch.get_num_threads()} {torch.__version__} {sizes} {self._precision}"
        network = {"network": self.captured.name, "graph": self.captured.graph, "weights": weights, "cut": cut.name}
        return {**network, "data": self.examples.fingerprint, "made": made}

    def _check(self, cut: Cut, file: Kept, index: Tensor, fresh: Tensor) -> None:
        """Refuse activations that are not this network's: those of a batch are compared with what it gives now."""
        held = file.get(index).to(self.device)
        near = 1e-3 * float(fresh.abs().max())
        if fresh.shape != held.shape or not torch.allclose(fresh, held, rtol=1e-3, atol=near):
            found = f"numbers in {file} that the network does not give"
            raise BadFile(f"activations kept at {cut.name!r}", found, "remove the file, and it is made again")


def autocast(precision: Precision, inputs: Inputs) -> AbstractContextManager[object]:
    """What networks and stitches run in, on the device of their inputs, while a stitch is fitted."""
    return torch.autocast(leaves(inputs)[0].device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def outputs_over(
    network: Callable[..., Any], examples: Examples, *, size: int, label: str = ""
) -> Iterator[tuple[Tensor, Any, Batch]]:
    """Run anything that can be called with inputs over examples: their indices, its outputs, and the batch.

    Args:
        network: in the mode that it shall run in; batches go to the device of its weights.
        examples: what it runs over, in the order in which they are cheapest.
        size: examples a batch.
        label: what is being done, for the progress bar.
    """
    batches = torch.split(examples.order(), size)
    home = home_of(network)
    for index in track(batches, label, len(batches)) if label else batches:
        batch = examples.batch(index).to(home)
        yield index, call(network, batch.inputs), batch

"""What a top runs the layers below it on: numbers that have nothing to do with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelstitch.cut.replayed.structures import same
from modelstitch.support.seeding import generator


@dataclass(frozen=True, eq=False)
class Noise:
    """What a top runs the layers below it on.

    Attributes:
        shape: of one row.
        dtype: of the main input.
        other: for integers, the value: other than the example, so that it shows when the input itself crosses.
        known: rows to take instead, for a network that does not run on others: it packs sentences, or asserts a range.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    other: int
    known: Tensor | None = None

    def rows(self, like: Tensor, follow: bool) -> Tensor:
        """As many rows as a tensor has, always the same ones; of its length too where that is to be followed."""
        shape = (*like.shape[:2], *self.shape[1:]) if follow else (len(like), *self.shape)
        if self.known is not None:
            found = self.known[torch.arange(len(like)) % len(self.known)]
            found = found[:, torch.arange(like.shape[1]) % found.shape[1]] if follow else found
            return found.to(like.device)
        if not self.dtype.is_floating_point:
            return torch.full(shape, self.other, dtype=self.dtype, device=like.device)
        return torch.randn(shape, generator=generator("replay")).to(device=like.device, dtype=self.dtype)


def noise_for(main: Tensor, order: Sequence[str], passed: Callable[[Tensor], list[str]]) -> Noise:
    """Noise that takes a network along the modules that its input takes it along.

    First numbers that have nothing to do with the data. For a network that refuses them, or goes another way on them,
    the rows of the example in another order: those are what it knows.

    Args:
        main: the main input of the example.
        order: the modules that a run on it passes.
        passed: the modules that a run on another main input passes; raises what the network raises.
    """
    shape = tuple(main.shape[1:])
    plain = Noise(shape, main.dtype, int(not main.any()))
    turned = [one.clone() for one in (main.roll(1, 0), main.flip(-1)) if not same(one, main)]
    running = []
    for noise in (plain, *(Noise(shape, main.dtype, 0, one) for one in turned)):
        try:
            way = passed(noise.rows(main, follow=False))
        except Exception:  # the network's own: it does not take this noise
            continue
        if way == order:
            return noise
        running.append(noise)
    return running[0] if running else plain

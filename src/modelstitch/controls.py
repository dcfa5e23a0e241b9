"""Controls: stitchings whose answer is known beforehand, to set beside every penalty.

- ``self``: a network stitched to itself by the identity. The penalty is exactly 0, or the halves are wrong.
- ``untrained``: a bottom of the same architecture that never saw data. Near the input a stitch may make up for it;
  the later the cut, the worse it must be. Where it is not, the stitch learns the task and measures nothing.
- ``stem_reset``: the bottom of a copy of the top network in which the first layer and the last are fresh. The code of
  Bansal, Nakkiran and Barak (2021) measured this where their text says random: all but the stem is trained.
- ``noise``: the bottom's activations replaced by Gaussian noise that tells nothing of the input. The best stitch is a
  constant, which errs as often as guessing one class does. Where it errs less, something else is seen.
- ``shuffled``: the stitch is fitted with each example's activations beside those of the top, and the label, of another;
  it is measured on examples as they are. Where it still works, what it knows did not come from the pairing.

The networks with fresh weights come from `modelstitch.networks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.budget import Budget
from modelstitch.cut import Capture, Cut
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.matching import moments_or_failures
from modelstitch.moments import Moments
from modelstitch.seeding import generator
from modelstitch.stitching import Prepared
from modelstitch.tensors import fingerprint


def noise(bottom: Prepared, cuts: Sequence[Cut], train: Samples, *, seed: int = 0, budget: Budget) -> Prepared:
    """A network whose bottoms give Gaussian noise with each channel's mean and spread in place of activations.

    Each example has noise of its own, the same whenever it comes, keyed by the example and the cut: no order, batch or
    worker changes it. It is drawn on the CPU, about 10 ns a number.

    Args:
        bottom: the network to replace; its whole answers stay those of the record.
        cuts: where.
        train: the examples that give mean and spread; looked at when the first noise is asked for.
        seed: which noise.
        budget: room for activations.
    """
    return dataclasses.replace(bottom, captured=_Noise(bottom, cuts, train, seed, budget))


class _Noise(Capture):
    """A captured network whose bottoms give noise; its tops are its own."""

    def __init__(self, of: Prepared, cuts: Sequence[Cut], train: Samples, seed: int, budget: Budget) -> None:
        self.view, self._of, self._wanted, self._train, self._seed, self._budget = (
            of.captured.view,
            of,
            cuts,
            train,
            seed,
            budget,
        )
        self.entries = of.captured.entries
        self.name, self.cuts = f"noise {seed} for {of.captured.name}", of.captured.cuts

    @cached_property
    def graph(self) -> str:
        """The network's own: its tops are."""
        return self._of.captured.graph

    @cached_property
    def _moments(self) -> dict[Cut, Moments | NumericalFailure]:
        of, pairs = self._of, [(cut, cut) for cut in dict.fromkeys(self._wanted)]
        sums = (of.captured, of.captured, pairs, self._train)
        found = moments_or_failures(*sums, device=of.device, budget=self._budget)
        return dict(zip((cut for cut, _ in pairs), found, strict=True))

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        return _Gaussian(cuts, [self._moments[cut] for cut in cuts], self._seed).to(self._of.device)

    def _top(self, cut: Cut) -> tuple[nn.Module, Any]:
        return self._of.captured._top(cut)

    def _crossing(self, name: str) -> Sequence[str] | None:
        return self._of.captured._crossing(name)

    def _nearest(self, name: str) -> Sequence[str]:
        return self._of.captured._nearest(name)


class _Gaussian(nn.Module):
    """Gives noise at several cuts, whatever the inputs say."""

    def __init__(self, cuts: Sequence[Cut], moments: Sequence[Moments | NumericalFailure], seed: int) -> None:
        super().__init__()
        self._names, self._seed = [cut.name for cut in cuts], seed
        self._shapes = [_fixed(cut) for cut in cuts]
        for index, (cut, sums) in enumerate(zip(cuts, moments, strict=True)):
            if isinstance(sums, NumericalFailure):
                # Activations without moments are not finite: noise in their place is as little a number.
                mean = spread = torch.full((cut.channels or 0,), torch.nan)
            else:
                mean, spread = sums.mean_x, (sums.xx.diagonal() / sums.n).clamp_min(0).sqrt()
            beside = [1] * (len(cut.shape) - 1 if cut.kind == "map" else 0)
            self.register_buffer(f"mean{index}", mean.float().view(-1, *beside))
            self.register_buffer(f"spread{index}", spread.float().view(-1, *beside))

    def forward(self, x: Tensor, *side: Tensor, **kwargs: Tensor) -> tuple[Tensor, ...]:
        """The noise of each example at each cut."""
        keys = [fingerprint({"": one}) for one in x]
        found = []
        for index, (name, shape) in enumerate(zip(self._names, self._shapes, strict=True)):
            streams = [generator("noise", self._seed, name, key) for key in keys]
            drawn = torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(x.device)
            found.append(self.get_buffer(f"mean{index}") + self.get_buffer(f"spread{index}") * drawn)
        return tuple(found)


def _fixed(cut: Cut) -> list[int]:
    """The shape at a cut, where it does not vary with the input."""
    shape = [size for size in cut.shape if size is not None]
    if len(shape) < len(cut.shape):
        do = "leave this control out for networks of inputs of any length"
        raise SettingError(f"noise in place of activations at {cut}", "a length that varies", do)
    return shape


def shuffled(train: Samples, *, seed: int = 0) -> tuple[Samples, Samples]:
    """Examples paired with others, none with itself: what bottoms see, and what tops see and labels are of.

    Args:
        train: the examples to fit on.
        seed: which pairing.

    Returns:
        The examples in their order with the labels of their partners; and the partners, in that order.

    Example:
        >>> found, partners = shuffled(Samples("three", torch.tensor([[0.], [1.], [2.]]), torch.tensor([0, 1, 2]), 3))
        >>> bool((found.inputs == partners.inputs).any()), bool((found.labels == partners.labels).all())
        (False, True)
    """
    ring = torch.randperm(len(train), generator=generator("shuffled pairs", seed))
    order = torch.empty_like(ring)
    order[ring] = ring.roll(1)
    partners = train.take(order)
    return dataclasses.replace(train, labels=partners.labels), partners

"""Noise in place of a bottom's activations: a captured network whose bottoms tell nothing of the input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.activations import Sources, moments_or_failures
from modelstitch.cut import Capture, Cut
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.moments import Moments
from modelstitch.networks import Network
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import fingerprint


def noise(bottom: Network, cuts: Sequence[Cut], train: Sources, *, seed: int = 0) -> Network:
    """A network whose bottoms give Gaussian noise with each channel's mean and spread in place of activations.

    Each example has noise of its own, the same whenever it comes, keyed by the example and the cut: no order, batch or
    worker changes it. It is drawn on the CPU, about 10 ns a number.

    Args:
        bottom: the network to replace; its whole answers stay those of the record.
        cuts: where.
        train: the examples that give mean and spread; looked at when the first noise is asked for.
        seed: which noise.

    Raises:
        SettingError: inputs of any length, whose activations have no one shape.
    """
    for cut in cuts:
        # Asked here and not when the first noise is: that may be hours later, after all other stitchings.
        _fixed(cut)
    return bottom.cut_as(_Noise(bottom, cuts, train, seed))


class _Noise(Capture):
    """A captured network whose bottoms give noise; its tops are its own."""

    def __init__(self, of: Network, cuts: Sequence[Cut], train: Sources, seed: int) -> None:
        self._of, self._wanted, self._train, self._seed = of, cuts, train, seed
        captured = of.captured
        self.view, self.cuts, self.entries, self.plain = captured.view, captured.cuts, captured.entries, captured.plain
        self.name = f"noise {seed} for {captured.name}"

    @property
    def whole(self) -> Capture:
        """Whole answers are those of the network that is replaced."""
        return self._of.captured

    @cached_property
    def graph(self) -> str:
        """The network's own: its tops are."""
        return self._of.captured.graph

    @cached_property
    def _moments(self) -> dict[Cut, Moments | NumericalFailure]:
        source, cuts = self._train.of(self._of.captured), list(dict.fromkeys(self._wanted))
        return dict(zip(cuts, moments_or_failures(source, source, [(cut, cut) for cut in cuts]), strict=True))

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        return _Gaussian(cuts, [self._moments[cut] for cut in cuts], self._seed).to(self._of.device)

    def _top(self, cut: Cut) -> tuple[nn.Module, Any]:
        return self._of.captured._top(cut)

    def takes_main(self, cut: Cut) -> bool:
        """As of the network that is replaced."""
        return self._of.captured.takes_main(cut)

    def _dtype(self, cut: Cut) -> torch.dtype:
        return torch.float32

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
            beside = [1] * (len(cut.shape) - 1 - cut.axis)
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

"""Affine maps of the channels: a convolution for maps, a linear layer for tokens and vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.errors import SettingError
from modelstitch.moments import Moments
from modelstitch.stitches import closed_form
from modelstitch.stitches.closed_form import Solution
from modelstitch.stitches.family import Family, Stitch, channels_of, spoken
from modelstitch.support.tensors import Kind

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class KernelFamily(Family):
    """Abstract: families around one convolution or linear layer, between any numbers of channels.

    Args:
        kernel: side of the convolution, odd; above 1 for maps only.

    Raises:
        SettingError: a kernel that is even, below 1 or no whole number.
    """

    kernel: int = 1
    trainable: ClassVar[bool] = True
    square: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or self.kernel < 1 or self.kernel % 2 == 0:
            found = "a kernel that has no middle"
            raise SettingError(f"a stitch with kernel {self.kernel!r}", found, "choose 1, 3, 5, …")

    def obstacle(self, below: Cut, above: Cut) -> tuple[str, str] | None:
        """As of every family; a kernel above 1 needs maps."""
        general = super().obstacle(below, above)
        if general is None and self.kernel > 1 and below.kind != "map":
            return f"a kernel of {self.kernel} for {spoken(below.kind)}", "use kernel=1: only maps have neighbours"
        return general

    def solve(self, moments: Moments, ridge: float = 0.0) -> Solution:
        """The best map of kernel 1 (`modelstitch.stitches.closed_form.ridge`); wider kernels start there."""
        return closed_form.ridge(moments, ridge)

    def _affine(self, below: Cut, above: Cut) -> AffineStitch:
        return AffineStitch(channels_of(below), channels_of(above), below.kind, len(below.positions), self.kernel)


@dataclass(frozen=True)
class Affine(KernelFamily):
    """``y = W x + b``: a 1x1 convolution for maps, a linear layer for tokens and vectors.

    Args:
        kernel: side of the convolution, odd; above 1 for maps only.

    Raises:
        SettingError: a kernel that is even, below 1 or no whole number.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]])
        >>> moments = Moments()
        >>> moments.update(rows, 3 * rows + 1)
        >>> solution = Affine().solve(moments)
        >>> round(solution.weight.item(), 12), round(solution.bias.item(), 12)
        (3.0, 1.0)
    """

    name: ClassVar[str] = "affine"

    def _module(self, below: Cut, above: Cut) -> Stitch:
        return self._affine(below, above)


class AffineStitch(Stitch):
    """The module ``y = W x + b``, whose only part is its ``layer``.

    Args:
        channels: that come in.
        out_channels: that go out.
        kind: of both cuts.
        positions: number of axes of positions, for maps.
        kernel: side of the convolution, for maps.
    """

    def __init__(self, channels: int, out_channels: int, kind: Kind, positions: int, kernel: int) -> None:
        super().__init__()
        self.layer = (
            _CONVOLUTIONS[positions](channels, out_channels, kernel, padding=kernel // 2)
            if kind == "map"
            else nn.Linear(channels, out_channels)
        )

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        """As of every stitch; a wider kernel becomes the map at its middle tap."""
        assert self.layer.bias is not None
        with torch.no_grad():
            taps = self.layer.weight.zero_()
            middle = taps if taps.ndim == 2 else taps.flatten(2)[..., taps[0, 0].numel() // 2]
            middle.copy_(weight)
            self.layer.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """``W x + b`` at every position."""
        mapped: Tensor = self.layer(x)
        return mapped

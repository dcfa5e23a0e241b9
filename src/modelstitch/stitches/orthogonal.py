"""Orthogonal maps: rotations and reflections of the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.moments import Moments
from modelstitch.stitches.closed_form import Solution, procrustes
from modelstitch.stitches.family import Family, Stitch, channels_of
from modelstitch.support.tensors import Kind


@dataclass(frozen=True)
class Orthogonal(Family):
    """``y = Q x`` with ``Q Qᵀ = I``; trained along the matrix exponential.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> moments = Moments()
        >>> moments.update(rows, 5 * rows.flip(1))
        >>> Orthogonal().solve(moments).weight.round().abs().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    name: ClassVar[str] = "orthogonal"
    trainable: ClassVar[bool] = True
    square: ClassVar[bool] = True

    def solve(self, moments: Moments, ridge: float = 0.0) -> Solution:
        """The best rotation (`modelstitch.stitches.closed_form.procrustes`); ``ridge`` has no effect."""
        return procrustes(moments)

    def _module(self, below: Cut, above: Cut) -> Stitch:
        return _Orthogonal(channels_of(below), below.kind)


class _Orthogonal(Stitch):
    """``Q = Q₀ exp(A - Aᵀ)``: orthogonal for any A, and it reaches every orthogonal matrix near Q₀."""

    def __init__(self, channels: int, kind: Kind) -> None:
        super().__init__()
        self._kind = kind
        # Contiguous: `qr` answers column by column, which safetensors refuses, and a loaded stitch rounds otherwise.
        self.register_buffer("start", torch.linalg.qr(torch.randn(channels, channels)).Q.contiguous())
        self.turn = nn.Parameter(torch.zeros(channels, channels))

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self.get_buffer("start").copy_(weight)
        with torch.no_grad():
            self.turn.zero_()

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.get_buffer("start") @ torch.linalg.matrix_exp(self.turn - self.turn.T)
        if self._kind != "map":
            return x @ weight.T
        # Contiguous, as a network's own maps are: a top may flatten by a view.
        return (x.movedim(1, -1) @ weight.T).movedim(-1, 1).contiguous()

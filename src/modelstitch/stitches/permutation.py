"""Permutations: enough for two networks that learnt the same units in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from modelstitch.cut import Cut
from modelstitch.moments import Moments
from modelstitch.stitches.closed_form import Solution, assignment
from modelstitch.stitches.family import Family, Stitch, channels_of
from modelstitch.support.tensors import Kind


@dataclass(frozen=True)
class Permutation(Family):
    """``y = P x``: the channels renamed.

    Example:
        >>> rows = torch.eye(3)
        >>> moments = Moments()
        >>> moments.update(rows, rows.roll(1, dims=1))
        >>> Permutation().solve(moments).weight.max(1).indices.tolist()
        [2, 0, 1]
    """

    name: ClassVar[str] = "permutation"
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = True

    def solve(self, moments: Moments, ridge: float = 0.0) -> Solution:
        """The best permutation (`modelstitch.stitches.closed_form.assignment`); ``ridge`` has no effect."""
        return assignment(moments)

    def _module(self, below: Cut, above: Cut) -> Stitch:
        return _Permutation(channels_of(below), below.kind)


class _Permutation(Stitch):
    def __init__(self, channels: int, kind: Kind) -> None:
        super().__init__()
        self._axis = 1 if kind == "map" else -1
        self.register_buffer("order", torch.randperm(channels))

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self.get_buffer("order").copy_(weight.max(1).indices)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self._axis, self.get_buffer("order"))

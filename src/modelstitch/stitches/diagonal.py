"""Diagonal maps: every channel scaled and shifted, none mixed with another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.moments import Moments
from modelstitch.stitches import closed_form
from modelstitch.stitches.closed_form import Solution
from modelstitch.stitches.family import Family, Stitch, channels_of
from modelstitch.support.tensors import Kind


@dataclass(frozen=True)
class Diagonal(Family):
    """``y_c = w_c x_c + b_c``: each channel with a scale and a shift of its own.

    Identity ⊂ Diagonal ⊂ Affine. It is enough where two networks have the same units in the same order, in other units
    of measurement; it cannot reorder or mix them.

    Example:
        >>> rows = torch.tensor([[0.0, 1.0], [1.0, 5.0], [2.0, 0.0]])
        >>> moments = Moments()
        >>> moments.update(rows, rows * torch.tensor([3.0, -2.0]) + 1)
        >>> solution = Diagonal().solve(moments)
        >>> (solution.weight.round(decimals=9) + 0.0).tolist(), solution.bias.round(decimals=9).tolist()
        ([[3.0, 0.0], [0.0, -2.0]], [1.0, 1.0])
    """

    name: ClassVar[str] = "diagonal"
    trainable: ClassVar[bool] = True
    square: ClassVar[bool] = True

    def solve(self, moments: Moments, ridge: float = 0.0) -> Solution:
        """The best scale and shift of each channel, ``w_c = S_xy,cc / (S_xx,cc + λ · tr(S_xx)/p)``, ``b = ȳ - w x̄``.

        One simple linear regression a channel; ``λ`` shrinks as in `modelstitch.stitches.closed_form.ridge`, measured
        against the mean variance of all channels, and the channels without weight are those that it gives none.

        Args:
            moments: of the rows to map from (``x``) and to (``y``), with as many channels each.
            ridge: ``λ``, without unit; 0 is least squares.

        Returns:
            The map, whose ``W`` is diagonal, and its residual, at most 1.

        Raises:
            SettingError: the strength is negative or not finite.
            ShapeMismatch: the channels differ in number.
            DataError: the moments have seen no rows.
            NumericalFailure: the target is constant.

        Reference:
            Hoerl & Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", 1970, section 2, for
            one explaining variable at a time.
        """
        channels_x, channels_y = moments.xy.shape
        if channels_x != channels_y:
            found = f"{channels_x} channels to map from and {channels_y} to map to"
            raise ShapeMismatch("a diagonal map between the two cuts", found, "use Affine, or cuts with as many")
        return closed_form.ridge(_Apart(moments), ridge)

    def _module(self, below: Cut, above: Cut) -> Stitch:
        return _Diagonal(channels_of(below), below.kind)


class _Apart(Moments):
    """Moments as if no two channels had anything to do with each other: the best map of these is diagonal."""

    def __init__(self, of: Moments) -> None:
        super().__init__()
        self.merge(of)

    @property
    def xx(self) -> Float64[Tensor, "p p"]:
        """The variances alone."""
        return super().xx.diagonal().diag()

    @property
    def xy(self) -> Float64[Tensor, "p q"]:
        """What each channel has in common with its namesake alone."""
        return super().xy.diagonal().diag()


class _Diagonal(Stitch):
    """One weight and one bias a channel; fresh ones as of a convolution that sees one channel."""

    def __init__(self, channels: int, kind: Kind) -> None:
        super().__init__()
        self._kind = kind
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        if not torch.equal(weight, weight.diagonal().diag()):
            found = "a map that mixes channels"
            raise SettingError("to assign a map to Diagonal", found, "give a diagonal weight, or use Affine")
        with torch.no_grad():
            self.weight.copy_(weight.diagonal())
            self.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        if self._kind != "map":
            return x * self.weight + self.bias
        beside = (-1, *(1 for _ in x.shape[2:]))
        return x * self.weight.view(beside) + self.bias.view(beside)

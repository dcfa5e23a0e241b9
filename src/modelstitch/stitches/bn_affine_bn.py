"""The stitch of Bansal, Nakkiran and Barak (2021): an affine map between two batch norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.stitches.affine import AffineStitch, KernelFamily
from modelstitch.stitches.family import Stitch

_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@dataclass(frozen=True)
class BNAffineBN(KernelFamily):
    """``y = BN(W BN(x) + b)``: batch norm, 1x1 convolution or linear layer, batch norm; for tokens ``W x + b`` alone.

    Args:
        kernel: side of the convolution, odd; above 1 for maps only.

    Raises:
        SettingError: a kernel that is even, below 1 or no whole number.

    Reference:
        Bansal, Nakkiran & Barak, "Revisiting Model Stitching to Compare Neural Representations", 2021, section 3.

    Example:
        >>> cut = Cut("fc", (), (3,), "vector", 0.5, 0.5, True)
        >>> [type(part).__name__ for part in BNAffineBN().build(cut, cut).children()]
        ['BatchNorm1d', 'BatchNorm1d', 'AffineStitch']
    """

    name: ClassVar[str] = "bn_affine_bn"

    def _module(self, below: Cut, above: Cut) -> Stitch:
        affine = self._affine(below, above)
        return affine if below.kind == "tokens" else _BNAffineBN(affine, len(below.positions))


class _BNAffineBN(Stitch):
    def __init__(self, affine: AffineStitch, positions: int) -> None:
        super().__init__()
        weight = affine.layer.weight
        self.before, self.after = _NORMS[positions](weight.shape[1]), _NORMS[positions](weight.shape[0])
        self.affine = affine

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        """Both norms get the statistics that these rows would give them, so train and eval mode start equal."""
        spread = covariance.diagonal()
        out_mean, out_var = weight @ mean + bias, ((weight @ covariance) * weight).sum(1).clamp(min=0)
        scale = (spread + self.before.eps).sqrt()
        with torch.no_grad():
            _set_norm(self.before, mean, spread, torch.ones_like(mean), torch.zeros_like(mean))
            _set_norm(self.after, out_mean, out_var, (out_var + self.after.eps).sqrt(), out_mean)
        self.affine.assign(weight * scale, out_mean, torch.zeros_like(mean), covariance)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.after(self.affine(self.before(x)))
        return mapped


def _set_norm(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_(weight)
    norm.bias.copy_(bias)

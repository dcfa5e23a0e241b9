"""A stitch as the affine map that it is in eval mode, read off by running it."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from modelstitch.cut import Cut
from modelstitch.errors import CannotFold
from modelstitch.stitches import Stitch
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import rows

# In float64; what a stitch computes there is off by rounding alone.
_CLOSE = 1e-8


def affine_of(stitch: Stitch, cut: Cut) -> tuple[Tensor, Tensor]:
    """The weight ``W`` and bias ``b`` of a stitch that maps every position alike: ``y = W x + b``, in float64.

    Args:
        stitch: any; it is copied, and run in eval mode on zeros and on one channel at a time.
        cut: where it stands.

    Raises:
        CannotFold: it is no affine map, or looks at neighbouring positions.
    """
    channels = cut.channels
    assert channels is not None  # no family maps a number of channels that may vary
    stitch = copy.deepcopy(stitch).cpu().double().eval()
    # Three positions along each axis: what a position takes from its neighbours shows beside the one that is set.
    beside = (3,) if cut.kind == "tokens" else tuple(3 for _ in cut.positions)
    shape = (*beside, channels)
    positions = math.prod(shape) // channels
    middle = positions // 2
    units = torch.zeros(channels + 1, positions, channels, dtype=torch.float64)
    units[1:, middle] = torch.eye(channels, dtype=torch.float64)
    probe = torch.randn(2, positions, channels, dtype=torch.float64, generator=generator("probe of a stitch"))
    with torch.no_grad():
        answered, found = (_run(stitch, asked, shape, cut) for asked in (units, probe))
    bias = answered[0, middle]
    weight = (answered[1:, middle] - bias).T
    expected = probe @ weight.T + bias
    if float((found - expected).abs().max()) > _CLOSE * max(1.0, float(expected.abs().max())):
        raise CannotFold(
            f"to fold the stitch at {cut.name!r} into a layer",
            "a map that is not affine, or that looks at neighbouring positions",
            "fit Affine(), Orthogonal(), Permutation() or BNAffineBN() with a kernel of 1",
        )
    return weight, bias


def _run(stitch: Stitch, asked: Tensor, shape: tuple[int, ...], cut: Cut) -> Tensor:
    """A stitch on rows ``(n, positions, channels)``, given to it in the layout of its cut."""
    n, positions, _ = asked.shape
    given = asked.reshape(n, *shape).movedim(-1, -1 if cut.kind == "tokens" else 1 + cut.axis)
    return rows(stitch(given), cut.kind).view(n, positions, -1)

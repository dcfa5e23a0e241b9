"""The space that one side's centred channels span over the rows: what canonical correlations are made of.

From the rows themselves, by a singular value decomposition, or from their streamed moments, by that of the scatter
matrix; the second squares the condition number, which is why directions of almost no variance agree less well.

What counts as a dimension: channels are first scaled to unit variance, so that their units do not matter. Then a
principal direction counts if its variance is more than 10⁻⁹ of that of one channel. Dead, constant, repeated and
collinear channels add directions that fall below: those of float32 activations keep a relative noise of 6·10⁻⁸ in
value, 4·10⁻¹⁵ in variance, which grows with the square of mean over spread and stays below the floor up to a ratio of
about 500. Float16 has noise above it, so that its collinear channels do count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from modelstitch.measures.scale import channel_scales
from modelstitch.moments import varying

_VARIANCE_FLOOR = 1e-9


@dataclass(frozen=True, eq=False)
class Space:
    """An orthonormal basis of the space: ``centred channels = basis · loadings``.

    From moments, where there are no rows, ``basis`` is the map that makes the basis of the centred channels. Channels
    that do not vary have no loadings.
    """

    basis: Float64[Tensor, "n r"]
    loadings: Float64[Tensor, "r live"]


def spanned(x: Float64[Tensor, "n p"]) -> Space:
    """The whole space of a side's rows."""
    mean = x.mean(0)
    # Each channel by a power of two of its own: its unit does not matter, and its squares must not vanish.
    scales = channel_scales(x - mean)
    centred, mean = (x - mean) * scales, mean * scales
    norms = torch.linalg.vector_norm(centred, dim=0)
    live = varying(mean, norms.square(), len(x))
    basis, lengths, directions = torch.linalg.svd(centred[:, live] / norms[live], full_matrices=False)
    counts = lengths.square() > _VARIANCE_FLOOR
    return Space(basis[:, counts], lengths[counts, None] * directions[counts] * norms[live] / scales[live])


def spanned_by_moments(scatter: Float64[Tensor, "p p"], live: Bool[Tensor, " p"]) -> Space:
    """The whole space of a side, from its scatter matrix and which channels vary."""
    norms = scatter.diagonal().sqrt()[live]
    squares, directions = torch.linalg.eigh(scatter[live][:, live] / norms / norms[:, None])
    counts = squares > _VARIANCE_FLOOR
    lengths, directions = squares[counts].sqrt(), directions[:, counts]
    maps = scatter.new_zeros(len(scatter), len(lengths))
    maps[live] = directions / lengths / norms[:, None]
    return Space(maps, lengths[:, None] * directions.T * norms)


def leading(x: Float64[Tensor, "n p"], variance: float) -> Float64[Tensor, "n k"]:
    """An orthonormal basis of the fewest principal components that hold a share of the variance."""
    basis, lengths, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    kept: Tensor = basis[:, : _fewest((lengths / lengths[0]).square(), variance)]
    return kept


def leading_by_moments(scatter: Float64[Tensor, "p p"], variance: float) -> Float64[Tensor, "p k"]:
    """The map that makes the basis of `leading` of the centred channels."""
    trace = scatter.trace()
    squares, directions = torch.linalg.eigh(scatter / trace)
    squares, directions = squares.flip(0), directions.flip(1)
    kept = _fewest(squares, variance)
    maps: Tensor = directions[:, :kept] / squares[:kept].sqrt() / trace.sqrt()
    return maps


def _fewest(squares: Float64[Tensor, " r"], variance: float) -> int:
    """How many of the largest make up the share; where they do so exactly, rounding must not ask for one more."""
    held = squares.clamp(min=0.0).cumsum(0)
    return int((held < variance * held[-1] * (1 - 1e-12)).sum()) + 1

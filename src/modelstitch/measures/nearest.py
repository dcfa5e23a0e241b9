"""Which rows are nearest by cosine, at any distance from the origin.

Two rows of unit length are ``c`` apart with ``c² = 2 - 2 cos``: the nearest by chord are those of the largest cosine.
Far from the origin all cosines are close to 1 and agree in most of their digits, while the chord keeps its own. Chords
come from one matrix product about the mean of the unit rows, whose error is known; where that error leaves open which
rows are among the nearest, the open ones are measured again, by differences, which are exact to a few roundings of the
rows.

Ties: two chords that differ by less than `TIE` are equal, since rounding the rows could exchange them, and of equally
near rows the first ones count. Where the chords themselves are that small for rows that are not the same, the order is
lost, and there is an error instead.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.measures.scale import times_power

_BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"
_EPSILON = torch.finfo(torch.float64).eps
TIE = 16 * _EPSILON
"""Chords of unit rows that differ by less are equal: each of four roundings of either row moves a chord by ε/2."""

# A chord of so many roundings has three digits; below, an order of chords would be one of roundings.
_TOLD = 1000 * TIE


def unit_rows(x: Float64[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
    """The rows scaled to unit length, each at its own size, so that no square overflows or vanishes.

    Raises:
        NumericalFailure: a row is zero and has no direction.
    """
    reach = x.abs().amax(1, keepdim=True)
    zero = int((reach == 0).sum())
    if zero:
        found = f"{zero} rows that are zero and have no direction"
        raise NumericalFailure("nearest neighbours by cosine", found, "cut elsewhere, or leave those examples out")
    odd = (reach < 2.0**-400) | (reach > 2.0**400)
    if bool(odd.any()):
        exponents = torch.frexp(reach).exponent
        for exponent in set(exponents[odd].tolist()):
            x = torch.where(odd & (exponents == exponent), times_power(x, -exponent), x)
    unit: Tensor = x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return unit


def squared_chords(unit: Float64[Tensor, "n p"]) -> tuple[Float64[Tensor, "n n"], float]:
    """The squared chords of all pairs, and what they may be wrong by."""
    centred = unit - unit.mean(0)
    lengths = centred.square().sum(1)
    squares = (lengths + lengths[:, None] - 2 * centred @ centred.T).clamp(min=0.0)
    most = float(lengths.max())
    # The product of p terms, and the rounding of the unit rows themselves.
    return squares, 4 * _EPSILON * (unit.shape[1] + 8) * most + 8 * TIE * most**0.5


def nearest(unit: Float64[Tensor, "n p"], squares: Float64[Tensor, "n n"], error: float, k: int) -> Bool[Tensor, "n n"]:
    """For each row, which k others are nearest.

    Args:
        unit: rows of unit length.
        squares: their squared chords.
        error: what those may be wrong by.
        k: how many neighbours, fewer than rows.

    Raises:
        NumericalFailure: rows that are not the same are too close in direction for their order to be known.
    """
    others = squares.clone().fill_diagonal_(torch.inf)
    edge = others.kthvalue(k, dim=1, keepdim=True).values
    near = others < edge - 2 * error
    doubtful = (others - edge).abs() <= 2 * error
    wanted = k - near.sum(1)
    near |= doubtful & (wanted == doubtful.sum(1))[:, None]
    lost = 0
    for i in (wanted != doubtful.sum(1)).nonzero().flatten().tolist():
        rivals, places = doubtful[i].nonzero().flatten(), int(wanted[i])
        # By differences, and without a copy of most rows where most are rivals.
        others_too = 2 * len(rivals) > len(unit)
        chords = torch.cdist(unit[i : i + 1], unit if others_too else unit[rivals], compute_mode=_BY_DIFFERENCES)[0]
        chords = chords[rivals] if others_too else chords
        last = chords.kthvalue(places).values
        inside = chords < last - TIE
        tied = (chords - last).abs() <= TIE
        lost += bool(0 < last < _TOLD and bool((chords > last).any()))
        # The first of the tied ones fill the places that are left.
        order = tied & (tied.cumsum(0) <= places - inside.sum())
        near[i, rivals[inside | order]] = True
    if lost:
        raise _no_order(lost, len(unit))
    return near


def _no_order(lost: int, n: int) -> NumericalFailure:
    return NumericalFailure(
        asked="nearest neighbours by cosine",
        found=f"{lost} of {n} rows whose nearest rows differ from each other in direction by rounding alone",
        do="subtract the mean of the rows from both sides, or leave out repeated rows",
    )

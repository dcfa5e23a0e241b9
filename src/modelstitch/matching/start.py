"""Where a matching begins (or, direct, ends): a stitch put at its closed form, at the identity, or left at random."""

from __future__ import annotations

import torch

from modelstitch.cut import Cut
from modelstitch.errors import NumericalFailure, ShapeMismatch
from modelstitch.matching.how import Direct, Matching, TaskLoss, starts_in_closed_form
from modelstitch.moments import Moments
from modelstitch.stitches import Family, Stitch


def put_at_start(
    family: Family, stitch: Stitch, below: Cut, above: Cut, by: Matching, moments: Moments | NumericalFailure | None
) -> float | None:
    """Set a stitch's weights in place.

    Args:
        family: of the stitch.
        stitch: as its family builds it, at random.
        below: the bottom's cut.
        above: the top's cut.
        by: the matching.
        moments: of the rows at the two cuts, where the matching needs them.

    Returns:
        The closed form's residual; None where there was no closed form.

    Raises:
        NumericalFailure: the closed form has no solution, or there are no moments to find it from.
        ShapeMismatch: a start at the identity between cuts of different widths.
    """
    if not family.fitted:
        return None
    if not starts_in_closed_form(by):
        if isinstance(by, TaskLoss) and by.start == "identity":
            _put_at_identity(stitch, below, above)
        return None
    if isinstance(moments, NumericalFailure):
        raise moments
    assert moments is not None
    solution = family.solve(moments, by.ridge if isinstance(by, Direct) else 0.0)
    assert solution is not None
    stitch.assign(solution.weight, solution.bias, moments.mean_x, moments.xx / moments.n)
    return solution.residual


def _put_at_identity(stitch: Stitch, below: Cut, above: Cut) -> None:
    channels = below.channels
    if channels is None or channels != above.channels:
        found = f"{channels} channels below and {above.channels} above"
        raise ShapeMismatch(f"a start at the identity from {below} to {above}", found, "start at least_squares")
    zeros = torch.zeros(channels)
    stitch.assign(torch.eye(channels), zeros, zeros, torch.eye(channels))

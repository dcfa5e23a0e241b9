"""How an activation becomes rows that a measure or a closed form can compare.

The choice changes the value and must stand beside it: published numbers differ in it more often than in anything else.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from modelstitch.cut import Cut
from modelstitch.support.tensors import rows

Layout = Literal["flatten", "pool", "position"]
"""flatten: a row is one example, its columns all channels at all positions; pool: a row is one example, its columns
the channels' means over positions; position: a row is one position of one example, its columns the channels. A vector
is the same in all three."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def laid_out(activation: Tensor, cut: Cut, layout: str) -> Tensor:
    """The rows of an activation.

    Args:
        activation: of n examples at a cut, ``(n, *cut.shape)``.
        cut: where it was taken.
        layout: what a row is.

    Returns:
        ``(n, channels · positions)``, ``(n, channels)`` or ``(n · positions, channels)``.
    """
    if cut.kind == "vector":
        return activation
    if layout == "flatten":
        return activation.flatten(1)
    if layout == "position":
        return rows(activation, cut.kind)
    if cut.kind == "map":
        return activation.flatten(2).mean(2)
    return activation.movedim(1 + cut.axis, -1).flatten(1, -2).mean(1)


def real_rows(activation: Tensor, cut: Cut, mask: Tensor | None) -> Tensor:
    """A row for each position that is no padding.

    Args:
        activation: of n examples at a cut.
        cut: where it was taken.
        mask: which positions are real, ``(n, length)``; it speaks of tokens of that length alone.

    Returns:
        ``(rows, channels)``, example by example.
    """
    found = rows(activation, cut.kind)
    if mask is None or cut.kind != "tokens" or activation.shape[:2] != mask.shape or activation.ndim != 3:
        return found
    return found[mask.reshape(-1).bool().to(found.device)]

"""Which cut of one network belongs to which cut of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelstitch.cut import Capture, Cut
from modelstitch.stitches import Family

Pair = tuple[Cut, Cut]
Cuts = Literal["blocks", "all", "grid"] | Sequence[str]
"""Where to stitch: one cut a block, all legal cuts, every block's bottom below every block's top, or cuts by name."""


def cuts_of(captured: Capture, cuts: Cuts) -> Sequence[Cut]:
    """The cuts of one network to choose from; those of unknown kind only where they are asked for by name."""
    if not isinstance(cuts, str):
        return [captured.find(name) for name in cuts]
    found = captured.cuts[1:-1] if cuts == "all" else captured.blocks
    return [cut for cut in found if cut.kind != "unknown"]


def pairs_at(cuts: Cuts, below: Sequence[Cut], above: Sequence[Cut], family: Family) -> list[Pair]:
    """The pairs of cuts that are asked for and that the family can map.

    Args:
        cuts: where.
        below: the cuts of the bottom to choose from.
        above: those of the top.
        family: of the stitches.
    """
    if cuts == "grid":
        return [(x, y) for y in above for x in below if family.obstacle(x, y) is None]
    return matching_cuts(below, above, family)


def matching_cuts(bottoms: Sequence[Cut], tops: Sequence[Cut], family: Family) -> list[Pair]:
    """The cut of the bottom network that belongs to each cut of the top network.

    Networks with the same cuts are matched by name; others by depth: to each top the nearest bottom that the family
    can map onto it. A top without such a bottom is left out.
    """
    same = [cut.name for cut in bottoms] == [cut.name for cut in tops]
    pairs = []
    for top in tops:
        fitting = [cut for cut in bottoms if family.obstacle(cut, top) is None and (cut.name == top.name or not same)]
        if fitting:
            pairs.append((min(fitting, key=lambda cut: abs(cut.depth - top.depth)), top))
    return pairs

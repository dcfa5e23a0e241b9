"""Which cut of one network belongs to which cut of another."""

from __future__ import annotations

from collections.abc import Sequence

from modelstitch.cut import Cut
from modelstitch.stitches import Family

Pair = tuple[Cut, Cut]


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

"""Which cut of one network belongs to which cut of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelstitch.cut import Capture, Cut
from modelstitch.networks import PREPARE
from modelstitch.stitches import Family

Pair = tuple[Cut, Cut]
Cuts = Literal["blocks", "all", "grid"] | Sequence[str]
"""Where to stitch: one cut a block, all legal cuts, every block's bottom below every block's top, or cuts by name."""


def cuts_of(captured: Capture, cuts: Cuts, *, unknown: bool = False, headless: bool = False) -> Sequence[Cut]:
    """The cuts of one network to choose from.

    Args:
        captured: the network.
        cuts: where.
        unknown: those of unknown kind too; else they are taken only where they are asked for by name.
        headless: the network has no head: what it answers with is a place like those before it.
    """
    if not isinstance(cuts, str):
        return [captured.find(name) for name in cuts]
    found = captured.cuts[1:-1] if cuts == "all" else captured.blocks
    if headless:
        found = (*found, *(cut for cut in captured.cuts[-1:] if cut.name == "output"))
    # What lies behind a network's own preparation are the raw examples in another size, and nothing that it computed.
    return [cut for cut in found if (unknown or cut.kind != "unknown") and cut.name != PREPARE]


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
    can map onto it. A top without such a bottom is left out. A network without a head lacks layers that count as depth
    in others, so its cuts are matched by name where the other network has the name, too.
    """
    same = [cut.name for cut in bottoms] == [cut.name for cut in tops]
    headless = any(cut.name == "output" for cut in bottoms)
    pairs = []
    for top in tops:
        fitting = [cut for cut in bottoms if family.obstacle(cut, top) is None and (cut.name == top.name or not same)]
        own = [cut for cut in fitting if headless and _name(cut) == top.name]
        if fitting:
            pairs.append((min(own or fitting, key=lambda cut: abs(cut.depth - top.depth)), top))
    return pairs


def _name(cut: Cut) -> str:
    """Its name; of all of a network without a head that of the last layer, which in a whole network has no other."""
    return cut.aliases[0] if cut.name == "output" and cut.aliases else cut.name


def obstacles_at(
    cuts: Cuts, below: Sequence[Cut], above: Sequence[Cut], family: Family
) -> list[tuple[Cut | None, Cut, str]]:
    """The pairs of cuts that `pairs_at` leaves out, each with the reason.

    Args:
        cuts: as of `pairs_at`, as are the following.
        below: the cuts of the bottom to choose from.
        above: those of the top.
        family: of the stitches.

    Returns:
        For a grid every pair that the family cannot map; else every cut of the top without a bottom, beside the cut
        that comes nearest: of its name, or of its depth.
    """
    if cuts == "grid":
        every = [(x, y, family.obstacle(x, y)) for y in above for x in below]
        return [(x, y, found[0]) for x, y, found in every if found]
    served = {top.name for _, top in matching_cuts(below, above, family)}
    left = []
    for top in above:
        if top.name not in served:
            nearest = min(below, key=lambda cut: (_name(cut) != top.name, abs(cut.depth - top.depth)), default=None)
            found = family.obstacle(nearest, top) if nearest else None
            left.append((nearest, top, found[0] if found else "no cut below it"))
    return left

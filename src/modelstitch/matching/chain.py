"""Several matchings, one after the other: each goes on from where the one before it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelstitch.errors import SettingError
from modelstitch.matching.matching import Descent, Matching, Objective, Start
from modelstitch.stitches import Family


@dataclass(frozen=True)
class Chain(Matching):
    """A chain of matchings; users write a list: ``by=[Direct(ridge=0.1), TaskLoss(epochs=2)]``.

    The first part says where the stitch starts. Each that follows must go downhill, with the top frozen and in the
    first descent's precision, as the activations below are shared.

    Args:
        chain: at least two.
    """

    chain: tuple[Matching, ...]

    @property
    def parts(self) -> tuple[Matching, ...]:
        """The matchings in their order."""
        return self.chain

    @property
    def descents(self) -> tuple[Descent, ...]:
        """All ways downhill, in their order."""
        return tuple(way for part in self.parts for way in part.descents)

    @property
    def descent(self) -> Descent | None:
        """The first way downhill."""
        return self.descents[0]

    @property
    def objective(self) -> Objective:  # type: ignore[override]
        """That of the first way downhill."""
        return self.descents[0].objective

    @property
    def start(self) -> Start:
        """Where the first part begins."""
        return self.parts[0].start

    @property
    def ridge(self) -> float:
        """Of the first part's closed form."""
        return self.parts[0].ridge

    def settled(self, examples: int) -> Chain:
        """The same with every part's numbers told."""
        return Chain(tuple(part.settled(examples) for part in self.parts))

    def check(self, family: Family) -> None:
        """Each part must fit the family, and each but the first go downhill under one frozen top.

        Raises:
            SettingError: a part that cannot.
        """
        for part in self.parts:
            part.check(family)
        asked = f"a chain of {len(self.parts)} matchings"
        for part in self.parts[1:]:
            if part.descent is None:
                raise SettingError(asked, f"{part} after the first", "begin with it: it does not go on from a stitch")
        if any(one.trains_top for one in self.descents):
            raise SettingError(asked, "a part that trains the top", "fine-tune by one matching alone")
        if len({one.precision for one in self.descents}) > 1:
            raise SettingError(asked, "parts of several precisions", "give all parts one precision")


def chained(by: Matching | Sequence[Matching]) -> Matching:
    """What was given as one matching: a list of one is that one.

    Raises:
        SettingError: an empty list.

    Example:
        >>> from modelstitch.matching import Direct
        >>> chained([Direct()])
        Direct(ridge=0.0)
    """
    if not isinstance(by, Sequence):
        return by
    if not by:
        raise SettingError("to match by a chain", "an empty list", "give at least one matching")
    return Chain(tuple(by)) if len(by) > 1 else by[0]

"""The notation of a stitching: ``A@layer2.1 -> B@layer2.1``."""

from __future__ import annotations

from dataclasses import dataclass

from modelstitch.errors import NotationError


@dataclass(frozen=True)
class Stitching:
    """The notation: the bottom of one network up to a cut, the top of another after a cut.

    Example:
        >>> str(Stitching.parse("a@layer2.1->b@layer3.0"))
        'a@layer2.1 -> b@layer3.0'
    """

    bottom: str
    bottom_cut: str
    top: str
    top_cut: str

    @classmethod
    def parse(cls, text: str) -> Stitching:
        """Read the notation.

        Raises:
            NotationError: it is not ``NETWORK@CUT -> NETWORK@CUT``.
        """
        sides = [side.strip().rpartition("@") for side in text.split("->")]
        if len(sides) != 2 or not all(name and cut for name, _, cut in sides):
            raise NotationError(
                f"the stitching {text!r}",
                f"{text.count('->')} arrows and {text.count('@')} cuts, where there must be 1 and 2",
                "write 'A@layer2.1 -> B@layer2.1': the bottom of A, then the top of B",
            )
        (bottom, _, bottom_cut), (top, _, top_cut) = sides
        return cls(bottom, bottom_cut, top, top_cut)

    def __str__(self) -> str:
        return f"{self.bottom}@{self.bottom_cut} -> {self.top}@{self.top_cut}"

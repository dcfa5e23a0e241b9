"""The proof of a channel axis: the same network at another width has another size on that axis, and on no other."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from modelstitch.cut import Capture, capture


@dataclass
class Widths:
    """What was found at the cuts of one network, by name of the cut.

    Attributes:
        right: the claimed axis changes with the width, and no other.
        unknown: no axis is claimed.
        wrong: another axis changes, or more than the claimed one; with the claim and the two shapes.
        fixed: no axis changes, so that nothing is proved: inputs, classes.
    """

    right: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    fixed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{len(self.right)} right, {len(self.unknown)} unknown, {len(self.wrong)} wrong, {len(self.fixed)} fixed"
        return told + "".join(f"\n  {name}: {what}" for name, what in self.wrong.items())


def compared_widths(narrow: nn.Module, wide: nn.Module, example: Any, *, blocks: bool = False) -> Widths:
    """Capture one network at two widths and look at which axes of its cuts change.

    Args:
        narrow: the network.
        wide: the same with other numbers of channels, and else nothing changed.
        example: what both take.
        blocks: look at one cut a block alone.
    """
    return compared_captures(capture(narrow, example), capture(wide, example), blocks=blocks)


def compared_captures(one: Capture, other: Capture, *, blocks: bool = False) -> Widths:
    """The same of two captures, the narrow one first."""
    found, by_name = Widths(), {cut.name: cut for cut in other.cuts}
    for cut in one.blocks if blocks else one.cuts:
        if cut.name not in by_name or len(by_name[cut.name].shape) != len(cut.shape):
            continue
        pairs = zip(cut.shape, by_name[cut.name].shape, strict=True)
        changed = [axis for axis, (a, b) in enumerate(pairs) if a != b]
        if not changed:
            found.fixed.append(cut.name)
        elif cut.kind == "unknown":
            found.unknown.append(cut.name)
        elif changed == [cut.axis] and by_name[cut.name].kind == cut.kind:
            found.right.append(cut.name)
        else:
            found.wrong[cut.name] = (cut.kind, cut.shape, by_name[cut.name].kind, by_name[cut.name].shape)
    return found


def kinds_of(make: Callable[[], nn.Module], example: Any) -> Counter[Any]:
    """How often each kind is claimed in a network."""
    return Counter(cut.kind for cut in capture(make(), example).cuts)

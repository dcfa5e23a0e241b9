"""Places where one tensor crosses: which of them a person would name, and what they are called.

Both ways of cutting (export and replay) describe what they found as a list of :class:`Place`; the choice of one cut a
block and the names depend on nothing else, so both ways name alike.

- A *block* is a module of a class of its own (not a plain container) that holds at least two conv or linear layers,
  but less than half of the network's, whose output is a legal cut, and that is not a stage: a module around two or more
  such modules. Nothing inside a block is offered.
- Between two conv or linear layers there may be several legal places (after the norm, the activation, the pooling).
  One is offered before pooling and one after: the end of a module that holds layers, else the last one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.support.tensors import UNKNOWN_AXIS, Kind, axis_of, called, kind_of

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Cut:
    """A place where exactly one tensor crosses.

    Attributes:
        name: unique in its network and stable, a module path where there is one: ``layer2.1``.
        aliases: other names of the same place (``layer2`` where it ends with ``layer2.1``).
        shape: of the tensor for one example; ``None`` for a length that may vary.
        kind: where the channels are: ``map`` on the first axis, ``tokens`` on the last, ``vector`` on the only one, a
            number on that axis of an example; ``unknown`` where nothing in the network says it.
        depth: share of the network's conv and linear layers below, along the longest path; 0 to 1.
        cost: share of the network's floating-point operations below; 0 to 1.
        block: True for the one cut a block that is offered by default.
    """

    name: str
    aliases: tuple[str, ...]
    shape: tuple[int | None, ...]
    kind: Kind
    depth: float
    cost: float
    block: bool

    @property
    def axis(self) -> int:
        """The axis of channels within one example, from the front.

        Raises:
            ShapeMismatch: it is unknown.
        """
        if self.kind == "unknown":
            raise ShapeMismatch(f"the channels at {self}", *UNKNOWN_AXIS)
        return axis_of(self.kind, len(self.shape))

    @property
    def channels(self) -> int | None:
        """Number of channels of the tensor that crosses; None where it may vary or is unknown."""
        return None if self.kind == "unknown" else self.shape[self.axis]

    @property
    def positions(self) -> tuple[int | None, ...]:
        """Lengths of the axes along which the channels repeat; empty for a vector."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    def bytes(self, longest: int) -> int:
        """What the tensor takes for one example, in float32.

        Args:
            longest: what to take for a length that may vary.
        """
        return 4 * math.prod(longest if size is None else size for size in self.shape)

    def __str__(self) -> str:
        shape = " × ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name} ({called(self.kind)} {shape})"


def checked_kind(cut: Cut, kind: Kind) -> Kind:
    """A kind as a user says it, in its usual spelling.

    Raises:
        SettingError: the tensor at the cut cannot have it.

    Example:
        >>> checked_kind(Cut("c", (), (5, 4, 3), "unknown", 0.5, 0.5, True), 2)
        'tokens'
    """
    ndim = len(cut.shape)
    axes = {"map": 0, "tokens": ndim - 1} if ndim > 1 else {"vector": 0}
    axis = kind if isinstance(kind, int) else axes.get(kind)
    if axis is None or not -ndim <= axis < ndim:
        usual = ", ".join(map(repr, axes))
        do = f"say one of {usual}, or the number of an axis of one example from 0 to {ndim - 1}"
        raise SettingError(f"kind {kind!r} at {cut}", f"a tensor of {ndim} axes for each example", do)
    return kind_of(axis % ndim, ndim)


@dataclass(frozen=True)
class Place:
    """What is known of a legal cut before it has a name.

    Attributes:
        closed: paths of the modules whose output this is, outermost first, the root left out.
        open: paths of the modules that have begun and not ended here, the root left out.
        operation: the name to fall back on, path and operation: ``layer1.0.add``.
        layers: number of conv and linear layers that ran before.
        kind: of the tensor.
        pooled: no positions are left, or a single one.
        raw: the input itself in other clothes (normalised, flattened): no layer below, as many numbers.
    """

    closed: tuple[str, ...]
    open: tuple[str, ...]
    operation: str
    layers: int
    kind: Kind
    pooled: bool
    raw: bool


def inside(path: str, module: str) -> bool:
    """Whether a module path lies strictly inside another."""
    return path.startswith(module + ".")


def pick_blocks(places: Sequence[Place], modules: Mapping[str, nn.Module], layers: Mapping[str, int]) -> set[int]:
    """Choose the places offered by default.

    Args:
        places: the legal cuts strictly between input and output, in order.
        modules: the network's modules by path.
        layers: how many conv and linear layers ran inside each module path; ``""`` is the whole network.

    Returns:
        Indices into ``places``.
    """
    blocks = _blocks(places, modules, layers)
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for index, place in enumerate(places):
        if not place.raw and not blocks.intersection(place.open):
            groups[place.layers, place.pooled].append(index)
    return {_representative(group, places, modules, layers) for group in groups.values()}


def _blocks(places: Sequence[Place], modules: Mapping[str, nn.Module], layers: Mapping[str, int]) -> set[str]:
    candidates = {
        path
        for place in places
        for path in place.closed
        if 2 <= layers.get(path, 0) < layers.get("", 0) / 2 and not isinstance(modules[path], CONTAINERS)
    }
    smallest = {path for path in candidates if not any(inside(other, path) for other in candidates)}
    # A squeeze-and-excite inside a block is the only candidate in it; a stage holds several blocks.
    return {path for path in candidates if sum(inside(other, path) for other in smallest) < 2}


def _representative(
    group: list[int], places: Sequence[Place], modules: Mapping[str, nn.Module], layers: Mapping[str, int]
) -> int:
    def ends_layers(index: int) -> bool:
        return any(layers.get(p, 0) and any(modules[p].children()) for p in places[index].closed)

    return max(group, key=lambda index: (ends_layers(index), index))


def names_of(places: Sequence[Place], picked: set[int]) -> list[tuple[str, tuple[str, ...]]]:
    """Name and aliases of every place, unique.

    A place is called after the outermost module that it ends and that holds no other offered cut: ``layer2.1`` and not
    ``layer2``, ``features.4`` and not ``features.4.2``. A name that comes again gets ``:2``, ``:3``.
    """
    offered = [(index, path) for index in picked for path in (*places[index].closed, places[index].operation)]
    chosen = []
    for index, place in enumerate(places):
        holds_other = [any(i != index and inside(p, path) for i, p in offered) for path in place.closed]
        free = [path for path, holds in zip(place.closed, holds_other, strict=True) if not holds]
        chosen.append(free[0] if free else place.closed[-1] if place.closed else place.operation)
    # The two ends of a network have these names, whatever its modules are called.
    ends = ["input", "output"]
    unique = numbered([*ends, *chosen])[len(ends) :]
    taken = {*ends, *unique}
    named = []
    for place, name in zip(places, unique, strict=True):
        aliases = tuple(path for path in place.closed if path not in taken)
        taken.update(aliases)
        named.append((name, aliases))
    return named


def numbered(names: Iterable[str]) -> list[str]:
    """The names with ``:2``, ``:3`` after those that come again.

    Example:
        >>> numbered(["relu", "add", "relu"])
        ['relu', 'add', 'relu:2']
    """
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return unique

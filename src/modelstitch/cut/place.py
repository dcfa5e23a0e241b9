"""Places where one tensor crosses: which of them a person would name, and what they are called.

Both ways of cutting (export and replay) describe what they found as a list of :class:`Place`; the choice of one cut a
block and the names depend on nothing else, so both ways name alike.

- A *block* is a module of a class of its own that holds at least two conv or linear layers, but less than half of the
  network's (or half, where it comes again), whose output is a legal cut, and that is not a stage: a module around two
  or more such modules. What comes again beside itself is a stage only around two of one class: an attention and a
  perceptron, each with its own sum, make a block. A plain container can be a block where it comes again, with the same
  classes of modules in it. Nothing inside a block is offered.
- Between two conv or linear layers there may be several legal places (after the norm, the activation, the pooling).
  One is offered before pooling and one after: the end of a block, else of a module that holds layers, else the last one
  that computes something. A padding before the next layer, a change of shape outside modules and the input padded are
  no places of their own.
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
        raw: the input itself in other clothes (normalised, flattened, padded): nothing learnt below, or no layer and
            as many numbers.
        moves: the numbers of another place, padded or in another shape, at the end of no module.
        behind: the name to fall back on where that of the operation says little, after the module that ran before it:
            ``head.add`` and not ``add:3``.
        copies: the numbers of the place before it, as they were: what a dropout does in eval mode.
    """

    closed: tuple[str, ...]
    open: tuple[str, ...]
    operation: str
    layers: int
    kind: Kind
    pooled: bool
    raw: bool
    moves: bool = False
    behind: str = ""
    copies: bool = False


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
    # What a layer reads may be flat where nothing was pooled: the same numbers are offered once.
    worth = [
        group
        for (below, pooled), group in groups.items()
        if not (pooled and (below, False) in groups and all(places[index].moves for index in group))
    ]
    return {_representative(group, places, modules, layers, blocks) for group in worth}


def _blocks(places: Sequence[Place], modules: Mapping[str, nn.Module], layers: Mapping[str, int]) -> set[str]:
    candidates = {
        path
        for place in places
        for path in place.closed
        if 2 <= layers.get(path, 0) <= layers.get("", 0) / 2
        and (_comes_again(path, modules) or not (_is_half(path, layers) or isinstance(modules[path], CONTAINERS)))
    }
    smallest = {path for path in candidates if not any(inside(other, path) for other in candidates)}

    def is_stage(path: str) -> bool:
        # A squeeze-and-excite inside a block is the only candidate in it; a stage holds several blocks.
        alike = Counter(_sort(modules[one]) for one in candidates if inside(one, path))
        several = sum(inside(one, path) for one in smallest) > 1
        return max(alike.values(), default=0) > 1 or (several and not _comes_again(path, modules))

    return {path for path in candidates if not is_stage(path)}


def _is_half(path: str, layers: Mapping[str, int]) -> bool:
    return 2 * layers[path] == layers[""]


def _comes_again(path: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether another module beside it is like it."""
    above, _, name = path.rpartition(".")
    beside = modules[above].named_children() if above in modules else ()
    return any(other != name and _sort(one) == _sort(modules[path]) for other, one in beside)


def _sort(module: nn.Module) -> tuple[str, ...]:
    """What makes two modules alike: their class, and of containers the classes that they hold."""
    held = [type(child).__name__ for child in module.children()] if isinstance(module, CONTAINERS) else []
    return type(module).__name__, *held


def _representative(
    group: list[int],
    places: Sequence[Place],
    modules: Mapping[str, nn.Module],
    layers: Mapping[str, int],
    blocks: set[str],
) -> int:
    def rank(index: int) -> tuple[bool, bool, bool, int]:
        closed = places[index].closed
        ends_layers = any(layers.get(path, 0) and any(modules[path].children()) for path in closed)
        return not blocks.isdisjoint(closed), ends_layers, not places[index].moves, index

    found = max(group, key=rank)
    # A dropout that ends nothing but itself gives way to what it was given, where that has a name.
    while places[found].copies and len(places[found].closed) == 1 and found - 1 in group and places[found - 1].closed:
        found -= 1
    return found


def names_of(places: Sequence[Place], picked: set[int]) -> list[tuple[str, tuple[str, ...]]]:
    """Name and aliases of every place, unique.

    A place is called after the outermost module that it ends and that holds no other offered cut: ``layer2.1`` and not
    ``layer2``, ``features.4`` and not ``features.4.2``. A name that comes again gets ``:2``, ``:3``.
    But an operation outside modules whose name says little is called after the module that ran before it, and an end of
    a module that is called again (a dropout) after one around it that ends there as well.
    """
    ended = Counter(path for place in places for path in place.closed)
    offered = [(index, path) for index in picked for path in (*places[index].closed, places[index].operation)]
    chosen = []
    for index, place in enumerate(places):
        holds_other = [any(i != index and inside(p, path) for i, p in offered) for path in place.closed]
        free = [path for path, holds in zip(place.closed, holds_other, strict=True) if not holds]
        once = [path for path in place.closed if ended[path] == 1]
        if free and (ended[free[0]] == 1 or not once):
            chosen.append(free[0])
        elif place.closed:
            chosen.append((once or place.closed)[-1])
        else:
            chosen.append(place.behind if index in picked and place.behind else place.operation)
    # The two ends of a network have these names, whatever its modules are called.
    ends = ["input", "output"]
    unique = numbered([*ends, *chosen])[len(ends) :]
    taken = {*ends, *unique}
    named = []
    for place, name in zip(places, unique, strict=True):
        # Where another name was found, an operation still answers to its own.
        known = place.closed or (place.operation,)
        aliases = tuple(path for path in known if path not in taken)
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

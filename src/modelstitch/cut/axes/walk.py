"""Walking a graph from inputs to outputs with the axes of every tensor in hand.

What an operator does to axes stands in a table of rules by its name (``views``, ``layers``). An operator that no rule
knows gives axes that nothing is known of; so a missing rule costs knowledge and never makes a false claim.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from modelstitch.cut.axes.maps import Axes, Key, Maps, length
from modelstitch.cut.axes.sizes import Sizes
from modelstitch.cut.operators import argument, operator_name

POOLED, LAYER, NORM = 1, 2, 3
"""How far to believe what takes an axis for channels: a pooling leaves it alone, a layer sums over it, a norm (and any
other vector of weights) has a number for each of its entries. Token mixers sum over positions; no norm names those."""

Rule = Callable[["Walk", Node], "Axes | list[Axes]"]


class Walk:
    """The axes of every tensor of a graph.

    Args:
        nodes: of the graph, in order; each notes its value, of which the shape alone is read.
        main: the input whose first axis holds the examples.
        rules: by operator.
    """

    def __init__(self, nodes: Sequence[Node], main: Node, rules: dict[str, Rule]) -> None:
        self._sizes = Sizes()
        self.maps = Maps(self.sizes(main)[0])
        self._found: dict[Node, Axes | list[Axes]] = {}
        self._data: set[Node] = set()
        self._weights: set[Node] = set()
        for node in nodes:
            self._note_origin(node)
            if isinstance(_value(node), (Tensor, list, tuple)):
                self._found[node] = self._checked(node, self._axes_of(node, rules))
        self.ranks = self.maps.ranks()

    def _note_origin(self, node: Node) -> None:
        value = _value(node)
        tensors = [one for one in node.all_input_nodes if not isinstance(_value(one), torch.SymInt)]
        if node.op == "placeholder" or self._data.intersection(tensors):
            self._data.add(node)
        elif node.op == "get_attr":
            if isinstance(value, Tensor) and value.is_floating_point():
                self._weights.add(node)
        elif self._weights.intersection(tensors):
            self._weights.add(node)

    def _axes_of(self, node: Node, rules: dict[str, Rule]) -> Axes | list[Axes]:
        if node.op in ("placeholder", "get_attr"):
            return tuple(self.maps.fresh(size) for size in self.sizes(node))
        if node.op != "call_function":
            return self.unknown(node)
        name = "getitem" if node.target is operator.getitem else operator_name(node)
        rule = rules.get(name)
        if rule is None and torch.Tag.pointwise in getattr(node.target, "tags", ()):
            rule = rules["pointwise"]
        return rule(self, node) if rule else self.unknown(node)

    def _checked(self, node: Node, found: Axes | list[Axes]) -> Axes | list[Axes]:
        """An axis that is not as long as the tensor's is no axis of it: such a claim is dropped."""
        if isinstance(_value(node), Tensor):
            return self._fitting(found[0] if isinstance(found, list) else found, self.sizes(node))
        parts = found if isinstance(found, list) else [found]
        sizes = self._sizes.of_several(_value(node))
        parts = [*parts, *[()] * (len(sizes) - len(parts))]
        return [self._fitting(one, size) for one, size in zip(parts, sizes, strict=False)]

    def _fitting(self, axes: Axes, sizes: tuple[int, ...]) -> Axes:
        if len(axes) != len(sizes):
            return tuple(self.maps.fresh(size) for size in sizes)
        pairs = zip(axes, sizes, strict=True)
        return tuple(key if key and length(key) == size else self.maps.fresh(size) for key, size in pairs)

    # -- what rules ask ------------------------------------------------------------------------------------------

    def sizes(self, node: Node) -> tuple[int, ...]:
        """The lengths of a tensor's axes, with a number of its own for each length that may vary."""
        return self._sizes.of(_value(node))

    def axes(self, node: Any) -> Axes:
        """The axes of a tensor (of several, the first); none of what is no tensor."""
        found = self._found.get(node, ()) if isinstance(node, Node) else ()
        return (found[0] if found else ()) if isinstance(found, list) else found

    def each(self, node: Any) -> list[Axes]:
        """The axes of each of several tensors."""
        found = self._found.get(node, [])
        return found if isinstance(found, list) else [found]

    def several(self, node: Node) -> list[tuple[int, ...]]:
        """The lengths of each of several tensors that an operator gives."""
        return self._sizes.of_several(_value(node))

    def unknown(self, node: Node) -> Axes | list[Axes]:
        """Axes of which nothing is known."""
        if isinstance(_value(node), Tensor):
            return tuple(self.maps.fresh(size) for size in self.sizes(node))
        return [tuple(self.maps.fresh(size) for size in one) for one in self.several(node)]

    def like(self, axes: Axes, sizes: Sequence[int]) -> Axes:
        """Axes in place of others: of the same length the same, of another akin."""
        return tuple(self.part(key, size) for key, size in zip(axes, sizes, strict=True))

    def part(self, key: Key, size: int) -> Key:
        """An axis of the same kind with that length."""
        if length(key) == size:
            return key
        made = self.maps.fresh(size)
        self.maps.akin(made, key)
        return made

    def one(self, keys: Iterable[Key]) -> Key:
        """Axes known to be one; those of length 1, which are repeated, give way."""
        given = list(keys)
        longer = [key for key in given if length(key) != 1] or [key for key in given if key] or [()]
        for other in longer[1:]:
            self.maps.same(longer[0], other)
        return longer[0]

    def broadcast(self, several: Sequence[Axes]) -> Axes:
        """The axes of tensors of several shapes, brought to one by repeating."""
        ndim = max((len(axes) for axes in several), default=0)
        padded = [((),) * (ndim - len(axes)) + axes for axes in several]
        return tuple(self.one(keys) for keys in zip(*padded, strict=True))

    def is_data(self, node: Any) -> bool:
        """Whether a value depends on the network's inputs."""
        return node in self._data

    def is_weight(self, node: Any) -> bool:
        """Whether a value depends on the network's weights, and on no input."""
        return node in self._weights

    def testify(self, key: Key, rank: int) -> None:
        """See `Maps.testify`."""
        self.maps.testify(key, rank)


def axis_argument(node: Node, ndim: int, name: str = "dim") -> int:
    """An axis that an operator is given, counted from the front."""
    return int(argument(node, name, 0)) % max(1, ndim)


def axes_argument(node: Node, ndim: int, name: str = "dim") -> list[int]:
    """Several axes that an operator is given; all, where it is given none."""
    told = argument(node, name)
    dims = list(range(ndim)) if told is None or told == [] else [told] if isinstance(told, int) else list(told)
    return [dim % max(1, ndim) for dim in dims]


def _value(node: Node) -> Any:
    return node.meta.get("val")

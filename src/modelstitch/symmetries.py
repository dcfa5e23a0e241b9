"""The units of a network that may trade places without changing what it computes.

A *group* is a set of channels that all stand for the same units: the rows of one convolution, the batch norm behind it,
the columns of the next one, and, along a residual stream, of every layer that writes to it or reads from it. Groups are
read off the exported graph, so that they are known for every network made of layers, norms, pointwise functions,
pooling and sums. Units that meet any other operator, the input or the output keep their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor
from torch.fx import Node

from modelstitch.cut import wiring as wires
from modelstitch.cut.lengths import sizes
from modelstitch.cut.operators import operator_name
from modelstitch.cut.wiring import Wiring

_POINTWISE = frozenset({"relu", "relu_", "gelu", "silu", "silu_", "sigmoid", "tanh", "elu", "leaky_relu", "hardtanh"})
_POINTWISE |= {"hardswish", "hardsigmoid", "mish", "softplus"} | wires.COPIES
_JOINING = wires.ADDITIONS | {"mul", "sub", "maximum", "minimum"}


@dataclass(frozen=True)
class Spot:
    """One axis of one weight that counts the units of a group.

    Attributes:
        name: of the tensor, as in the ``state_dict``.
        axis: which of its axes.
        spread: how many entries in a row belong to one unit; above 1 where maps were flattened into a vector.
    """

    name: str
    axis: int
    spread: int = 1

    def take(self, tensor: Tensor, order: Int[Tensor, " units"]) -> Tensor:
        """The tensor with its units in another order: unit ``i`` becomes what unit ``order[i]`` was."""
        places = (order[:, None] * self.spread + order.new_tensor(range(self.spread))).flatten()
        return tensor.index_select(self.axis, places)


@dataclass(frozen=True)
class Group:
    """Units that may be permuted, and every weight that must follow.

    Attributes:
        units: how many.
        spots: where they are counted.
    """

    units: int
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class _Channels:
    """Where the channels of a value stand and which group they belong to."""

    axis: int
    label: int
    spread: int = 1


def groups(wiring: Wiring) -> tuple[list[Group], Mapping[Node, int]]:
    """The groups of a captured network, and which of them each value's channels belong to.

    Values whose channels must keep their places are in no group.
    """
    return _Reader(wiring).found()


class _Reader:
    """Goes through a graph once; labels that turn out to be one group are joined, label 0 is what may not move."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._parent = [0]
        self._channels: dict[Node, _Channels] = {}
        self._spots: dict[Spot, int] = {}
        self._at: dict[tuple[str, int], int] = {}
        for node in wiring.graph.nodes:
            self._read(node)

    def found(self) -> tuple[list[Group], dict[Node, int]]:
        """The groups, and the index of the group of each value."""
        free = sorted({self._root(label) for label in self._spots.values()} - {self._root(0)})
        index = {label: i for i, label in enumerate(free)}
        members: list[list[Spot]] = [[] for _ in free]
        for spot, label in self._spots.items():
            if self._root(label) in index:
                members[index[self._root(label)]].append(spot)
        shapes = {name: tensor.shape for name, tensor in self._wiring.network.state_dict().items()}
        made = [Group(shapes[one[0].name][one[0].axis] // one[0].spread, tuple(one)) for one in members]
        roots = {node: self._root(channels.label) for node, channels in self._channels.items()}
        return made, {node: index[root] for node, root in roots.items() if root in index}

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            label = self._parent[label]
        return label

    def _join(self, *marks: int) -> int:
        # The smallest is the root, so that whatever is joined to what may not move does not move either.
        roots = sorted({self._root(mark) for mark in marks})
        for root in roots:
            self._parent[root] = roots[0]
        return roots[0]

    def _new(self) -> int:
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def _mark(self, node: object, axis: int, channels: _Channels) -> None:
        """A weight that counts the units of these channels along one axis."""
        if not isinstance(node, Node):
            return
        spot = Spot(self._wiring.names[node], axis, channels.spread)
        label = self._at.setdefault((spot.name, axis), channels.label)
        self._spots[spot] = self._join(label, channels.label)
        if len({one.spread for one in self._spots if (one.name, one.axis) == (spot.name, axis)}) > 1:
            self._join(0, channels.label)

    def _read(self, node: Node) -> None:
        given = [self._channels[one] for one in node.all_input_nodes if one in self._channels]
        if node in self._wiring.names or not (given or node.op == "placeholder"):
            return
        found = None
        if node.op == "call_function" and given:
            found = self._layer(node) or self._norm(node) or self._moved(node) or self._joined(node)
        if found is None:
            self._join(0, *(one.label for one in given))
            found = _Channels(1, 0)
        self._channels[node] = found

    def _layer(self, node: Node) -> _Channels | None:
        layer = wires.layer_of(node)
        if layer is None:
            return None
        given = self._channels[node.args[0]]  # type: ignore[index]
        axis = len(sizes(node)) - 1 if operator_name(node) == "linear" else 1
        # A grouped convolution ties channels to each other in blocks.
        if layer.groups > 1 or (given.axis != axis and self._root(given.label)):
            return None
        self._mark(layer.weight, 1, given)
        written = _Channels(axis, self._new())
        self._mark(layer.weight, 0, written)
        self._mark(layer.bias, 0, written)
        return written

    def _norm(self, node: Node) -> _Channels | None:
        arguments = wires.norm_arguments(node)
        if arguments is not None:
            given = self._channels[arguments[0]]
            if given.axis != 1:
                return None
            tensors = arguments[1:5]
        elif operator_name(node) == "layer_norm" and len(node.args[1]) == 1:  # type: ignore[arg-type]
            given = self._channels[node.args[0]]  # type: ignore[index]
            if given.axis != len(sizes(node)) - 1:
                return None
            tensors = node.args[2:4]
        else:
            return None
        for tensor in tensors:
            self._mark(tensor, 0, given)
        return given

    def _moved(self, node: Node) -> _Channels | None:
        """The same channels, elsewhere: pooling, averages, views, exchanges of axes, pointwise functions."""
        source = node.args[0]
        if not isinstance(source, Node) or source not in self._channels:
            return None
        given, name = self._channels[source], operator_name(node)
        if wires.value_of(node) is not node or name in _POINTWISE:
            return given
        if name in wires.MAXIMA and given.axis == 1:
            return given
        if wires.is_mean_over_positions(node, given.axis):
            return _Channels(wires.axis_after_mean(node, given.axis), given.label, given.spread)
        if name in wires.VIEWS | wires.EXCHANGES:
            axis = wires.axis_across(source, node, given.axis)
            if axis is not None:
                return _Channels(axis, given.label, given.spread)
            spread = wires.spread_of(source, node, given.axis)
            return _Channels(1, given.label, given.spread * spread) if spread else None
        return None

    def _joined(self, node: Node) -> _Channels | None:
        """Values that meet channel by channel; numbers and weights of one value a channel may take part."""
        if operator_name(node) not in _JOINING:
            return None
        parts = [one for one in node.args[:2] if isinstance(one, Node)]
        met = [self._channels[one] for one in parts if one in self._channels]
        ndim = len(sizes(node))
        if len({(one.axis, one.spread) for one in met}) > 1 or any(
            len(sizes(p)) != ndim for p in parts if p in self._channels
        ):
            return None
        joined = _Channels(met[0].axis, self._join(*(one.label for one in met)), met[0].spread)
        for part in parts:
            axis = joined.axis - ndim + len(sizes(part))
            if part in self._wiring.names and axis >= 0 and sizes(part)[axis] > 1:
                self._mark(part, axis, joined)
        return joined

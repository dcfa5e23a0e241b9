"""Reading an exported graph: where exactly one tensor is live, and what stands there.

*Data* nodes are those that depend on the main input's values; asking for a shape is not depending on values, and a
mask that is told from token ids counts as little (see ``told``). After each data node the live tensors are those that
some later data node or the output still uses. Where that is exactly one tensor, with the batch on an axis of its own,
the graph can be cut; whichever axis it is, a bottom answers with the batch first.
"""

from __future__ import annotations

import math
import operator
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.utils.flop_counter import FlopCounterMode

from modelstitch.cut.axes import Channels
from modelstitch.cut.lengths import batch_axis, expression, sizes
from modelstitch.cut.operators import operator_name
from modelstitch.cut.place import Cut, Place, names_of, numbered, pick_blocks
from modelstitch.cut.told import data_among
from modelstitch.support.tensors import Kind, kind_of

aten = torch.ops.aten
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d"}
_LINEARS = {"linear", "addmm", "mm"}
_LAYERS = _CONVOLUTIONS | _LINEARS | {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_VIEWS = {"view", "_unsafe_view", "reshape", "flatten", "unflatten"}
_PADS = {"pad", "constant_pad_nd"}
_EXCHANGES = {"permute", "transpose", "t", "numpy_T", "movedim"}
_COPIES = {"clone", "alias", "contiguous", "dropout", "feature_dropout"}
_MOVES = _PADS | _VIEWS | _EXCHANGES | _COPIES


class Trace:
    """What an exported graph says of its network.

    Attributes:
        cuts: every legal cut, ``input`` first and ``output`` last.
        node_of: the node whose value crosses, by cut name.
        main: the placeholder of the main input.
    """

    def __init__(
        self, whole: GraphModule, modules: Mapping[str, nn.Module], inputs: Sequence[Tensor], weights: Collection[Node]
    ) -> None:
        nodes = list(whole.graph.nodes)
        self.main = next(node for node in nodes if node.op == "placeholder")
        self._data, self._unlearnt = data_among(nodes, self.main, weights)
        self._index = {node: i for i, node in enumerate(self._data)}
        spelled = [".".join(part for part in (path_of(n), operator_name(n)) if part) for n in self._data]
        self._operation_name = dict(zip(self._data, numbered(spelled), strict=True))
        self._last_use = {node: self._find_last_use(node) for node in self._data}
        self._last_in = self._find_module_ends()
        self._count_layers(whole, inputs)
        self._channels = Channels(nodes, self.main)
        legal = self._legal_nodes()
        # What is returned and used again is a cut like any other; `output` is used no more.
        inner = [node for node in legal if node is not self.main and self._index.keys() & node.users.keys()]
        places = [self._place(node) for node in inner]
        picked = pick_blocks(places, modules, self._layers_inside)
        named = names_of(places, picked)
        self.node_of: dict[str, Node] = {}
        cuts = []
        for node in legal:
            if node in inner:
                i = inner.index(node)
                cuts.append(self._cut(node, *named[i], places[i].kind, i in picked))
            else:
                name = "input" if node is self.main else "output"
                cuts.append(self._cut(node, name, self._aliases_of_end(node, named), self._kind(node), False))
            self.node_of[cuts[-1].name] = node
        self.cuts = tuple(cuts)

    # -- liveness ------------------------------------------------------------------------------------------------

    def _find_last_use(self, node: Node) -> int:
        """Index of the last data node that uses this one; past the end when it is an output; before it when unused."""
        uses = [len(self._data) if user.op == "output" else self._index.get(user, -1) for user in node.users]
        return max(uses, default=self._index[node])

    def _live_after(self, index: int) -> list[Node]:
        return [node for node in self._data[: index + 1] if self._last_use[node] > index]

    def _legal_nodes(self) -> list[Node]:
        legal: dict[Node, None] = {}
        live: set[Node] = set()
        for index, node in enumerate(self._data):
            live = {n for n in live if self._last_use[n] > index}
            if self._last_use[node] > index:
                live.add(node)
            if len(live) == 1:
                (crossing,) = live
                value = crossing.meta["val"]
                if isinstance(value, Tensor) and value.ndim >= 2 and self.batch_axis(crossing) is not None:
                    legal[crossing] = None
        return list(legal)

    def batch_axis(self, node: Node) -> int | None:
        """The axis of a tensor that holds the examples; None where none does by itself."""
        return batch_axis(node, expression(self.main, 0))

    def _example(self, node: Node) -> tuple[Any, ...]:
        """The sizes of a tensor for one example."""
        found, axis = sizes(node), self.batch_axis(node) or 0
        return found[:axis] + found[axis + 1 :]

    # -- modules, layers, cost -----------------------------------------------------------------------------------

    def _find_module_ends(self) -> dict[str, int]:
        return {call: i for i, node in enumerate(self._data) for call, _ in _calls(node)}

    def _count_layers(self, whole: GraphModule, inputs: Sequence[Tensor]) -> None:
        self._layers_inside: Counter[str] = Counter()
        self._layers_before: list[int] = []
        self._longest: dict[Node, int] = {}
        total = 0
        for node in self._data:
            # Of a recurrent layer's several results each is a node; the layer is the one that gives them.
            is_layer = node.target is not operator.getitem and operator_name(node) in _LAYERS
            total += is_layer
            self._layers_before.append(total)
            below = [self._longest[n] for n in node.all_input_nodes if n in self._longest]
            self._longest[node] = max(below, default=0) + is_layer
            if is_layer:
                self._layers_inside.update({"", *(path for _, path in _calls(node))})
        self._flops = _Flops(whole).count(inputs)
        self._cost = list(accumulate(self._flops[node] for node in self._data))

    def _place(self, node: Node) -> Place:
        # The tensor may stay the only live one for some nodes more; the place is where it is about to be used.
        index = min(self._index[user] for user in node.users if user in self._index) - 1
        calls = _calls(node)
        closed = tuple(path for call, path in calls if self._last_in[call] <= index)
        still_open = tuple(path for call, path in calls if self._last_in[call] > index)
        kind, shape = self._kind(node), self._example(node)
        pooled = kind == "vector" or (kind == "map" and all(size == 1 for size in shape[1:]))
        below = self._layers_before[index]
        raw = below == 0 and self._is_raw(node)
        moves = operator_name(node) in (_PADS if closed else _MOVES)
        spoken = self._operation_name[node], self._behind(node)
        copies = operator_name(node) in _COPIES
        return Place(closed, still_open, spoken[0], below, kind, pooled, raw, moves, spoken[1], copies)

    def _is_raw(self, node: Node) -> bool:
        same = node in self._unlearnt or math.prod(sizes(node)) == math.prod(sizes(self.main))
        return same or (operator_name(node) in _PADS and all(map(self._is_raw, node.all_input_nodes)))

    def _behind(self, node: Node) -> str:
        """An operation outside modules, after the outermost module that gave the last of what it reads.

        Only where its own name says little: there is another of that name, or it joins several tensors.
        """
        name, joins = operator_name(node), len(node.all_input_nodes) > 1
        if not joins and f"{name}:2" not in self._operation_name.values():
            return ""
        one: Node | None = node
        while one and not _calls(one):
            one = max((n for n in one.all_input_nodes if n in self._index), key=self._index.__getitem__, default=None)
        return f"{_calls(one)[0][1]}.{name}" if one and one is not node else ""

    def _aliases_of_end(self, node: Node, named: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
        """The modules whose end is the end of the network."""
        if node is self.main:
            return ()
        taken = {name for one, aliases in named for name in (one, *aliases)}
        index = self._index[node]
        ended = [path for call, path in _calls(node) if self._last_in[call] == index and path not in taken]
        return tuple(dict.fromkeys(ended))

    def _cut(self, node: Node, name: str, aliases: tuple[str, ...], kind: Kind, block: bool) -> Cut:
        shape = tuple(int(size) if isinstance(size, int) or size.is_Integer else None for size in self._example(node))
        cost = self._cost[self._index[node]] / max(1, self._cost[-1])
        depth = self._longest[node] / max(1, max(self._longest.values()))
        return Cut(name, aliases, shape, kind, depth, cost, block)

    def _kind(self, node: Node) -> Kind:
        return kind_of(self._channels.axis(node, self.batch_axis(node) or 0), len(sizes(node)) - 1)

    # -- illegal places ------------------------------------------------------------------------------------------

    def _position(self, name: str) -> int | None:
        ends = {path: i for i, node in enumerate(self._data) for _, path in _calls(node)}
        if name in ends:
            return ends[name]
        return next((i for i, node in enumerate(self._data) if self._operation_name[node] == name), None)

    def crossing(self, name: str) -> list[str] | None:
        """Names of the tensors live after the place of that name; None when the network has no such place."""
        index = self._position(name)
        return None if index is None else [self._spoken(node) for node in self._live_after(index)]

    def nearest(self, name: str) -> list[str]:
        """The legal cuts around the place of that name."""
        index = self._position(name) or 0
        before = [c.name for c in self.cuts if self._index[self.node_of[c.name]] <= index]
        after = [c.name for c in self.cuts if self._index[self.node_of[c.name]] > index]
        return before[-1:] + after[:1]

    def _spoken(self, node: Node) -> str:
        if node is self.main:
            return "input"
        ended = [path for call, path in _calls(node) if self._last_in[call] == self._index[node]]
        name = ended[-1] if ended else self._operation_name[node]
        return f"{name} {tuple(node.meta['val'].shape[1:])}" if isinstance(node.meta["val"], Tensor) else name


class _Flops(Interpreter):
    """Runs the graph once and notes each node's floating-point operations."""

    def count(self, inputs: Sequence[Tensor]) -> dict[Node, int]:
        self.flops: defaultdict[Node, int] = defaultdict(int)
        self.counter = FlopCounterMode(display=False)
        with torch.no_grad(), self.counter:
            self.run(*inputs)
        return self.flops

    def run_node(self, n: Node) -> Any:
        before = self.counter.get_total_flops()
        value = super().run_node(n)
        self.flops[n] = self.counter.get_total_flops() - before
        return value


def _calls(node: Node) -> list[tuple[str, str]]:
    """(call, path) of the modules a node ran in, outermost first, the root left out; a call is unique, a path not."""
    stack = node.meta.get("nn_module_stack") or {}
    return [(str(key), str(value[0])) for key, value in stack.items() if isinstance(value, tuple) and value[0]]


def path_of(node: Node) -> str:
    """The innermost module that a node runs in; empty for the root."""
    calls = _calls(node)
    return calls[-1][1] if calls else ""

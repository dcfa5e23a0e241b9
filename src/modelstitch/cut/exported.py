"""Cutting by ``torch.export``: the network as a functional graph of tensors, split where one tensor is live.

The graph is functionalised (``run_decompositions({})``): plain export keeps in-place operators such as ``relu_``, which
would overwrite an activation taken just before them. Operators are otherwise kept as the network calls them, so that
the halves give the frozen network's output bit for bit; this is checked on the example before anything is cut. With
weights that take gradients torch may choose another kernel, and a network its last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from modelstitch.cut.blueprint import blueprint_of
from modelstitch.cut.captured import Capture
from modelstitch.cut.form import Form
from modelstitch.cut.frozen import pair_up
from modelstitch.cut.identity import identity_of_graph
from modelstitch.cut.lengths import SHAPE_OPERATORS, batch_moved, expression, size_from, sizes
from modelstitch.cut.place import Cut
from modelstitch.cut.run import Run
from modelstitch.cut.wiring import Wiring


class Exported(Capture):
    """A network captured as a functional graph."""

    def __init__(self, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        self.name, self.view = type(view).__name__, view
        # Of strided memory export would note how to step through it, and hold other data to that.
        args = tuple(pair_up(t).contiguous() for t in args)
        kwargs = {key: pair_up(t).contiguous() for key, t in kwargs.items()}
        found = blueprint_of(view, args, kwargs)
        self._root, self._graph, self._names = found.root(view), found.graph, found.names
        self._spec, self.entries, self._containers = found.spec, found.entries, found.containers
        self.plain = bool(self._spec.is_leaf())
        self._trace = found.trace
        self.wiring = Wiring(view, self._graph, self._trace.node_of, self._names)
        self._side = {n for n in self._graph.nodes if n.op == "placeholder" and n is not self._trace.main}
        self.cuts = self._trace.cuts

    @cached_property
    def graph(self) -> str:
        """See :class:`Capture`: the digits of the exported graph."""
        return identity_of_graph(self._graph, self._root, self._names, self.view, self._spec)

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        nodes = [self._trace.node_of[cut.name] for cut in cuts]
        needed = _ancestors(nodes, stop=None)
        graph, copied = Graph(), dict[Node, Node]()
        for node in self._graph.nodes:
            # All inputs stay in the signature, needed or not, so that both halves are called alike.
            if node.op == "placeholder" or node in needed:
                copied[node] = graph.node_copy(node, copied.__getitem__)
        graph.output(tuple(self._batch_first(graph, copied[node], node) for node in nodes))
        return self._run(graph)

    def _batch_first(self, graph: Graph, here: Node, node: Node) -> Node:
        return batch_moved(graph, here, len(sizes(node)), self._trace.batch_axis(node) or 0, 0)

    def _top(self, cut: Cut) -> tuple[nn.Module, Callable[[Any], Any]]:
        start, main, needed = self._trace.node_of[cut.name], self._trace.main, self._above(cut)
        beside, graph = set(self._side), Graph()
        if self.takes_main(cut):
            beside.add(main)
            copied: dict[Node, Any] = {start: graph.placeholder(f"at_{start.name}")}
        else:
            copied = {start: graph.placeholder(main.name)}
        given, batch = copied[start], self._trace.batch_axis(start) or 0
        for node in self._graph.nodes:
            if node.op != "placeholder" and copied[start] is given:
                copied[start] = batch_moved(graph, given, len(sizes(start)), 0, batch)
            if node is not start and (node in beside or (node in needed and node is not main)):
                # Lengths asked of tensors are told from the one tensor at hand; side inputs still answer themselves.
                copied[node] = (
                    size_from(graph, copied[start], start, expression(node))
                    if node.target in SHAPE_OPERATORS and node.args[0] not in beside
                    else graph.node_copy(node, lambda n: copied[n])
                )
        return self._run(graph), Form(self._spec)

    def _above(self, cut: Cut) -> set[Node]:
        """What the output is computed from, above a cut."""
        output = next(iter(reversed(self._graph.nodes)))
        return _ancestors([output], stop=self._trace.node_of[cut.name])

    def takes_main(self, cut: Cut) -> bool:
        """See :class:`Capture`: whether something above is told from the main input."""
        return self._trace.main in self._above(cut)

    def _run(self, graph: Graph) -> Run:
        for node in graph.nodes:
            # The example is contiguous, where a view is what reshaping gives; what a half is run on may be strided.
            if node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
        graph.lint()
        return Run(self._root, graph, self._containers)

    def _dtype(self, cut: Cut) -> torch.dtype:
        found: torch.dtype = self._trace.node_of[cut.name].meta["val"].dtype
        return found

    def _crossing(self, name: str) -> Sequence[str] | None:
        return self._trace.crossing(name)

    def _nearest(self, name: str) -> Sequence[str]:
        return self._trace.nearest(name)


def _ancestors(nodes: Sequence[Node], stop: Node | None) -> set[Node]:
    """Everything the nodes are computed from, not looking behind ``stop`` or behind a question about shapes."""
    found: set[Node] = set()
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if node in found or node is stop:
            continue
        found.add(node)
        if stop is None or node.target not in SHAPE_OPERATORS:
            queue.extend(node.all_input_nodes)
    return found

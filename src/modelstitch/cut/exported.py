"""Cutting by ``torch.export``: the network as a functional graph of tensors, split where one tensor is live.

The graph is functionalised (``run_decompositions({})``): plain export keeps in-place operators such as ``relu_``, which
would overwrite an activation taken just before them. Operators are otherwise kept as the network calls them, so that
the halves give the frozen network's output bit for bit; this is checked on the example before anything is cut. With
weights that take gradients torch may choose another kernel, and a network its last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from modelstitch.cut.captured import Capture
from modelstitch.cut.exporting import NotExportable, exported_program
from modelstitch.cut.form import Entry, Form, input_names
from modelstitch.cut.frozen import pair_up, standard_attention
from modelstitch.cut.identity import identity_of_graph
from modelstitch.cut.lengths import SHAPE_OPERATORS, batch_moved, expression, size_from, sizes
from modelstitch.cut.place import Cut
from modelstitch.cut.run import Run, containers_of, modules_of
from modelstitch.cut.told import weights_among
from modelstitch.cut.trace import Trace
from modelstitch.cut.untouched import own_state
from modelstitch.cut.wiring import Wiring


class Exported(Capture):
    """A network captured as a functional graph."""

    def __init__(self, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        self.name, self.view = type(view).__name__, view
        # Of strided memory export would note how to step through it, and hold other data to that.
        args = tuple(pair_up(t).contiguous() for t in args)
        kwargs = {key: pair_up(t).contiguous() for key, t in kwargs.items()}
        program = exported_program(view, args, kwargs)
        self._root, graph, self._names = _unlift(view, program, list(kwargs))
        self._spec = program.call_spec.out_spec
        self.plain = bool(self._spec.is_leaf())
        self._whole = GraphModule(self._root, graph)
        inputs = [*args, *kwargs.values()]
        self.entries = _entries(view, graph, kwargs)
        self._check_bit_equal(inputs, len(args), list(kwargs))
        modules = modules_of(view)
        self._containers = containers_of(modules)
        self._trace = Trace(self._whole, modules, inputs, weights_among(self._names, view.state_dict()))
        self.wiring = Wiring(view, graph, self._trace.node_of, self._names)
        self._side = {n for n in graph.nodes if n.op == "placeholder" and n is not self._trace.main}
        self.cuts = self._trace.cuts

    def _check_bit_equal(self, inputs: list[Tensor], in_order: int, keywords: list[str]) -> None:
        # A forward may write into its inputs and buffers; the graph does not.
        given = [t.clone() for t in inputs]
        with torch.no_grad(), standard_attention(), own_state(self.view):
            expected = self.view(*given[:in_order], **dict(zip(keywords, given[in_order:], strict=True)))
        with torch.no_grad():
            found = self._whole(*inputs)
        for a, b in zip(pytree.tree_leaves(expected), found, strict=True):
            # NaN equals NaN here: a network that answers it is captured as it is, and refused when it is tested.
            if isinstance(a, Tensor) and not torch.allclose(a, b, rtol=0, atol=0, equal_nan=True):
                raise NotExportable("the exported graph does not give its outputs bit for bit")

    @cached_property
    def graph(self) -> str:
        """See :class:`Capture`: the digits of the exported graph."""
        return identity_of_graph(self._whole, self._names, self.view, self._spec)

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        nodes = [self._trace.node_of[cut.name] for cut in cuts]
        needed = _ancestors(nodes, stop=None)
        graph, copied = Graph(), dict[Node, Node]()
        for node in self._whole.graph.nodes:
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
        for node in self._whole.graph.nodes:
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
        output = next(iter(reversed(self._whole.graph.nodes)))
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


def _entries(view: nn.Module, graph: Graph, kwargs: dict[str, Tensor]) -> tuple[Entry, ...]:
    """The inputs as they may be given: their names, and the lengths that were found to be free."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    names = list(kwargs) or input_names(view, len(placeholders))
    found = []
    for name, node in zip(names, placeholders, strict=True):
        value = node.meta["val"]
        shape = tuple(int(size) if isinstance(size, int) else None for size in value.shape[1:])
        found.append(Entry(name, shape, value.dtype, bool(kwargs)))
    return tuple(found)


def _unlift(
    view: nn.Module, program: torch.export.ExportedProgram, keywords: list[str]
) -> tuple[dict[str, Any], Graph, dict[Node, str]]:
    """Turn the placeholders of weights and constants into attributes that share the view's memory, and name them.

    Inputs come first, in the order of the example. What a forward writes into its inputs or buffers is left out: the
    graph answers as the network does from the buffers that it has.
    """
    signature = program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = dict(signature.inputs_to_lifted_tensor_constants)
    # Modules called from the graph (higher-order operators such as autocast regions) come along by name.
    root: dict[str, Any] = dict(program.graph_module.named_children())
    graph, copied, names = Graph(), dict[Node, Node](), dict[Node, str]()
    for node in _inputs_in_order(program, keywords):
        copied[node] = graph.node_copy(node)
    for node in program.graph.nodes:
        target = weights.get(node.name) or constants.get(node.name)
        if node.op == "placeholder" and target is not None:
            flat = _free_name("weight_" + target.replace(".", "_"), root)
            root[flat] = _tensor_at(view, program, target)
            copied[node] = graph.get_attr(flat)
            copied[node].meta = dict(node.meta)
            names[copied[node]] = target
        elif node.op == "output":
            answers = zip(node.args[0], signature.output_specs, strict=True)
            answered = [value for value, spec in answers if spec.kind is OutputKind.USER_OUTPUT]
            graph.output(tuple(copied[value] if isinstance(value, Node) else value for value in answered))
        elif node not in copied:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    return root, graph, names


def _inputs_in_order(program: torch.export.ExportedProgram, keywords: list[str]) -> list[Node]:
    """The placeholders of inputs in the order of the example; export may have its own for keywords."""
    wanted = set(program.graph_signature.user_inputs)
    found = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted]
    if keywords:
        exported = list(program.call_spec.in_spec.child(1).context)
        found = [found[exported.index(name)] for name in keywords]
    return found


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name, or with a number behind it where ``a.b_c`` and ``a_b.c`` would be written alike."""
    return next(one for one in chain([name], (f"{name}_{i}" for i in count(2))) if one not in taken)


def _tensor_at(view: nn.Module, program: torch.export.ExportedProgram, target: str) -> Tensor:
    module, _, name = target.rpartition(".")
    try:
        tensor = getattr(view.get_submodule(module), name)
    except AttributeError:
        tensor = program.constants[target]
    return tensor.detach() if isinstance(tensor, Tensor) else program.constants[target]


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

"""Cutting by ``torch.export``: the network as a functional graph of tensors, split where one tensor is live.

The graph is functionalised (``run_decompositions({})``): plain export keeps in-place operators such as ``relu_``, which
would overwrite an activation taken just before them. Operators are otherwise kept as the network calls them, so that
the halves give the network's output bit for bit; this is checked on the example before anything is cut.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from modelstitch.cut.lengths import expression, size_from
from modelstitch.cut.part import Capture
from modelstitch.cut.place import Cut
from modelstitch.cut.trace import SHAPE_OPERATORS, Trace
from modelstitch.cut.view import SwitchingNorm, pair_up, standard_attention
from modelstitch.cut.wiring import Wiring, norm_arguments


class NotExportable(Exception):
    """Why a network cannot be cut by export; the replay takes over."""


class Exported(Capture):
    """A network captured as a functional graph."""

    def __init__(self, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        self.name, self.view = type(view).__name__, view
        args = tuple(pair_up(t) for t in args)
        kwargs = {key: pair_up(t) for key, t in kwargs.items()}
        program = _export(view, args, kwargs)
        self._root, graph, names = _unlift(view, program)
        self._spec = program.call_spec.out_spec
        self.plain = bool(self._spec.is_leaf())
        self._whole = GraphModule(self._root, graph)
        inputs = [*args, *kwargs.values()]
        with torch.no_grad(), standard_attention():
            expected = view(*args, **kwargs)
        self._check_bit_equal(expected, inputs)
        self._trace = Trace(self._whole, view, inputs)
        self.wiring = Wiring(view, graph, self._trace.node_of, names)
        self._side = {n for n in graph.nodes if n.op == "placeholder" and n is not self._trace.main}
        self.cuts = self._trace.cuts

    def _check_bit_equal(self, expected: Any, inputs: list[Tensor]) -> None:
        with torch.no_grad():
            found = self._whole(*inputs)
        for a, b in zip(pytree.tree_leaves(expected), found, strict=True):
            # NaN equals NaN here: a network that answers it is captured as it is, and refused when it is tested.
            if isinstance(a, Tensor) and not torch.allclose(a, b, rtol=0, atol=0, equal_nan=True):
                raise NotExportable("the exported graph does not give its outputs bit for bit")

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        nodes = [self._trace.node_of[cut.name] for cut in cuts]
        needed = _ancestors(nodes, stop=None)
        graph, copied = Graph(), dict[Node, Node]()
        for node in self._whole.graph.nodes:
            # All inputs stay in the signature, needed or not, so that both halves are called alike.
            if node.op == "placeholder" or node in needed:
                copied[node] = graph.node_copy(node, copied.__getitem__)
        graph.output(tuple(copied[node] for node in nodes))
        return self._module(graph)

    def _top(self, cut: Cut) -> tuple[nn.Module, Any]:
        start = self._trace.node_of[cut.name]
        output = next(iter(reversed(self._whole.graph.nodes)))
        needed = _ancestors([output], stop=start)
        graph = Graph()
        copied: dict[Node, Any] = {start: graph.placeholder(self._trace.main.name)}
        copied[start].meta = dict(start.meta)
        for node in self._whole.graph.nodes:
            if node is start or node is self._trace.main:
                continue
            if node.op == "placeholder" or node in needed:
                # Lengths asked of tensors are told from the one tensor at hand; side inputs still answer themselves.
                copied[node] = (
                    size_from(graph, copied[start], start, expression(node))
                    if node.target in SHAPE_OPERATORS and node.args[0] not in self._side
                    else graph.node_copy(node, lambda n: copied[n])
                )
        return self._module(graph), self._finish

    def _finish(self, values: Any) -> Any:
        return pytree.tree_unflatten(values, self._spec)

    def _module(self, graph: Graph, root: dict[str, Any] | None = None) -> GraphModule:
        graph.lint()
        module = GraphModule(root or self._root, graph)
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
        return module

    def _crossing(self, name: str) -> Sequence[str] | None:
        return self._trace.crossing(name)

    def _nearest(self, name: str) -> Sequence[str]:
        return self._trace.nearest(name)

    def switching(self, run: nn.Module) -> nn.Module:
        """See :class:`Capture`: every inference batch norm becomes a module that follows train and eval mode."""
        assert isinstance(run, GraphModule)
        graph, copied = Graph(), dict[Node, Node]()
        root: dict[str, Any] = dict(run.named_buffers()) | dict(run.named_children())
        for node in run.graph.nodes:
            norm = norm_arguments(node)
            if node in copied:
                continue
            if norm is None:
                copied[node] = graph.node_copy(node, lambda n: copied[n])
                continue
            x, weight, bias, mean, var, momentum, eps = norm
            name = f"norm_{node.name}"
            tensors = (root[str(n.target)] if isinstance(n, Node) else None for n in (weight, bias, mean, var))
            # A norm that averages over all batches (momentum=None) is traced as one that never moves.
            root[name] = SwitchingNorm(*tensors, momentum=momentum or 0.1, eps=eps)
            copied[node] = graph.call_module(name, (copied[x],))
            if node.target is torch.ops.aten._native_batch_norm_legit_no_training.default:
                # It returns (output, mean, rstd), of which inference uses the first alone.
                copied.update(dict.fromkeys(node.users, copied[node]))
        return self._module(graph, root).eval()


def _export(view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> torch.export.ExportedProgram:
    """Export with the batch dynamic, and for integer tensors (token ids, masks) the length too where it can be."""
    reason: Exception | None = None
    for lengths in (True, False):
        dynamic = tuple(_dynamic(t, lengths) for t in args), {k: _dynamic(t, lengths) for k, t in kwargs.items()}
        if not lengths and reason is None:
            continue
        try:
            with torch.no_grad(), _silence():
                shapes: Any = dynamic[0] if not kwargs else dynamic[1]
                program = torch.export.export(view, args, kwargs, dynamic_shapes=shapes, strict=False)
                functional: torch.export.ExportedProgram = program.run_decompositions({})
                return functional
        except Exception as problem:  # export fails in a hundred ways, each with a type of its own
            reason = problem
    raise NotExportable(f"torch.export refuses it: {_first_line(reason)}")


@contextmanager
def _silence() -> Iterator[None]:
    """Export warns, logs and prints, in pages, about what we ask of it; what matters arrives as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _dynamic(tensor: Tensor, lengths: bool) -> dict[int, Any]:
    dims: dict[int, Any] = {0: torch.export.Dim.DYNAMIC}
    if lengths and tensor.ndim == 2 and not tensor.is_floating_point():
        dims[1] = torch.export.Dim.DYNAMIC
    return dims


def _first_line(problem: Exception | None) -> str:
    lines = [line for line in str(problem).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(problem).__name__


def _unlift(view: nn.Module, program: torch.export.ExportedProgram) -> tuple[dict[str, Any], Graph, dict[Node, str]]:
    """Turn the placeholders of weights and constants into attributes that share the view's memory, and name them."""
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise NotExportable("it changes its buffers or inputs in eval mode")
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = dict(signature.inputs_to_lifted_tensor_constants)
    # Modules called from the graph (higher-order operators such as autocast regions) come along by name.
    root: dict[str, Any] = dict(program.graph_module.named_children())
    graph, copied, names = Graph(), dict[Node, Node](), dict[Node, str]()
    for node in program.graph.nodes:
        target = weights.get(node.name) or constants.get(node.name)
        if node.op == "placeholder" and target is not None:
            flat = "weight_" + target.replace(".", "_")
            root[flat] = _tensor_at(view, program, target)
            copied[node] = graph.get_attr(flat)
            copied[node].meta = dict(node.meta)
            names[copied[node]] = target
        else:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    return root, graph, names


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

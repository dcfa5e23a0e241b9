"""What export finds of a network, whatever its weights; kept, so that networks that are alike are exported once.

An export takes seconds, and the same network is cut again and again: its bottom, its top, its twin of another seed, the
untrained copy that is a control. The last few graphs are kept without any weight. A network that is made as one of them
was (the same modules, settings and shapes) is given its graph, which is then held to what is asked of every
export: on the example it answers bit for bit as the network does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from modelstitch.cut.exporting import NotExportable, exported_program
from modelstitch.cut.form import Entry, input_names
from modelstitch.cut.frozen import standard_attention
from modelstitch.cut.likeness import likeness
from modelstitch.cut.run import containers_of, modules_of
from modelstitch.cut.told import weights_among
from modelstitch.cut.trace import Trace
from modelstitch.cut.untouched import own_state

_KEPT = 32
_kept: OrderedDict[Hashable, Blueprint] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Blueprint:
    """A functional graph over tensors that it names and does not hold.

    Attributes:
        graph: the operators; its inputs come first, in the order of the example.
        names: of the nodes that are weights, buffers and constants, where the network holds them.
        rest: what the graph names and the network does not hold: constants, modules called from the graph.
        spec: in which form the network answers.
        entries: its inputs as they may be given.
        containers: of its modules, by path: whether each is a plain container.
        trace: where the graph can be cut.
    """

    graph: Graph
    names: Mapping[Node, str]
    rest: Mapping[str, Any]
    spec: pytree.TreeSpec
    entries: tuple[Entry, ...]
    containers: Mapping[str, bool]
    trace: Trace

    def root(self, view: nn.Module) -> dict[str, Any]:
        """All that the graph names, weights in the view's own memory."""
        return {**self.rest, **_held(view, self.names)}


def blueprint_of(view: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Blueprint:
    """The graph of a network: that of one alike, or its own.

    Args:
        view: a frozen view.
        args: two examples or more, given in order.
        kwargs: or by keyword.

    Raises:
        NotExportable: torch cannot export it, or what it exports does not answer as the network does.
    """
    key = likeness(view, args, kwargs)
    if key in _kept:
        known = _kept[key]
        if _is_bit_equal(view, known.graph, known.root(view), args, kwargs):
            _kept.move_to_end(key)
            return known
    made = _drawn(view, args, dict(kwargs))
    if key is not None:
        _kept[key] = made
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return made


def _drawn(view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Blueprint:
    program = exported_program(view, args, kwargs)
    graph, names, rest = _unlift(program, list(kwargs))
    held = _held(view, names)
    root = {**rest, **held}
    if not _is_bit_equal(view, graph, root, args, kwargs):
        raise NotExportable("the exported graph does not give its outputs bit for bit")
    modules = modules_of(view)
    weights = weights_among(names, view.state_dict())
    trace = Trace(GraphModule(root, graph), modules, [*args, *kwargs.values()], weights)
    # Else the graph would hold on to that module, and with it to the weights.
    graph.owning_module = None
    rest = {name: value for name, value in rest.items() if name not in held}
    entries = _entries(view, graph, kwargs)
    return Blueprint(graph, names, rest, program.call_spec.out_spec, entries, containers_of(modules), trace)


def _held(view: nn.Module, names: Mapping[Node, str]) -> dict[str, Tensor]:
    """The tensors of these names that a network holds, by what the graph calls them."""
    found = {}
    for node, path in names.items():
        module, _, name = path.rpartition(".")
        try:
            tensor = getattr(view.get_submodule(module), name)
        except AttributeError:
            continue
        if isinstance(tensor, Tensor):
            found[str(node.target)] = tensor.detach()
    return found


def _is_bit_equal(
    view: nn.Module, graph: Graph, root: Mapping[str, Any], args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]
) -> bool:
    # A forward may write into its inputs and buffers; the graph does not.
    given, named = [t.clone() for t in args], {key: t.clone() for key, t in kwargs.items()}
    with torch.no_grad(), standard_attention(), own_state(view):
        expected = view(*given, **named)
    with torch.no_grad():
        found = GraphModule(dict(root), graph)(*args, *kwargs.values())
    graph.owning_module = None
    pairs = zip(pytree.tree_leaves(expected), found, strict=True)
    # NaN equals NaN here: a network that answers it is captured as it is, and refused when it is tested.
    return all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs if isinstance(a, Tensor))


def _entries(view: nn.Module, graph: Graph, kwargs: Mapping[str, Tensor]) -> tuple[Entry, ...]:
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
    program: torch.export.ExportedProgram, keywords: list[str]
) -> tuple[Graph, dict[Node, str], dict[str, Any]]:
    """Turn the placeholders of weights and constants into named attributes; and what export noted for them.

    Inputs come first, in the order of the example. What a forward writes into its inputs or buffers is left out: the
    graph answers as the network does from the buffers that it has.
    """
    signature = program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = dict(signature.inputs_to_lifted_tensor_constants)
    # Modules called from the graph (higher-order operators such as autocast regions) come along by name.
    rest: dict[str, Any] = dict(program.graph_module.named_children())
    graph, copied, names = Graph(), dict[Node, Node](), dict[Node, str]()
    for node in _inputs_in_order(program, keywords):
        copied[node] = graph.node_copy(node)
    for node in program.graph.nodes:
        target = weights.get(node.name) or constants.get(node.name)
        if node.op == "placeholder" and target is not None:
            flat = _free_name("weight_" + target.replace(".", "_"), rest)
            rest[flat] = program.constants.get(target)
            copied[node] = graph.get_attr(flat)
            copied[node].meta = dict(node.meta)
            names[copied[node]] = target
        elif node.op == "output":
            answers = zip(node.args[0], signature.output_specs, strict=True)
            answered = [value for value, spec in answers if spec.kind is OutputKind.USER_OUTPUT]
            graph.output(tuple(copied[value] if isinstance(value, Node) else value for value in answered))
        elif node not in copied:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    return graph, names, rest


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

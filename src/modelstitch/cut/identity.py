"""What a network computes with its weights, as 16 hex digits that are the same on every machine.

Of an exported graph: the operators that the output needs, their constant arguments, their wiring by number, and where
weights come in by their ``state_dict`` name. What changes no answer is left out: names of operators, devices, dropout
in eval mode, whether cuDNN is asked. Tensors that the ``state_dict`` does not hold are constants, and count with their
numbers. Of a network that is replayed there is no graph: its classes, their ``repr`` and the source of their
``forward`` stand for it.

Beware: another version of torch may export other operators for the same network, which is another graph.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from modelstitch.cut.calling import plan_of
from modelstitch.cut.spelling import spelled_target
from modelstitch.cut.wiring import norm_arguments
from modelstitch.support.tensors import fingerprint

_COPIES = frozenset({"aten.clone.default", "aten.alias.default"})
_DROPOUT = frozenset({"aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default"})
_PLAIN = (int, float, str, bool, type(None))


def identity_of_graph(
    graph: Graph, root: Mapping[str, Any], names: Mapping[Node, str], view: nn.Module, form: pytree.TreeSpec
) -> str:
    """The digits of an exported network.

    Args:
        graph: its operators.
        root: the tensors and modules that the graph names.
        names: of the nodes that are weights, as in the ``state_dict``.
        view: the network.
        form: in which it answers.
    """
    weights = view.state_dict()
    told = {node: f"weight {name}" for node, name in names.items() if name in weights}
    return _digest([*_lines(graph, root.__getitem__, told), f"form {_form(form)}"])


def _lines(graph: Graph, held: Callable[[str], Any], told: Mapping[Node, str]) -> Iterable[str]:
    needed = _needed(graph)
    number: dict[Node, int] = {}
    # Nodes that pass on what they are given have no number of their own.
    fresh, inputs = count(), count()
    for node in graph.nodes:
        if node.op == "placeholder":
            number[node] = next(fresh)
            yield f"input {next(inputs)}"
        elif node in needed and _passes_on(node):
            number[node] = number[node.args[0]]
        elif node in needed:
            number[node] = next(fresh)
            yield told[node] if node in told else _line(held, node, number)


def _needed(graph: Graph) -> set[Node]:
    found: set[Node] = set()
    queue = [node for node in graph.nodes if node.op == "output"]
    while queue:
        node = queue.pop()
        if node not in found:
            found.add(node)
            queue.extend(node.all_input_nodes)
    return found


def _passes_on(node: Node) -> bool:
    """Whether a node gives what it is given: dropout in eval mode, of which export may leave a copy."""
    if node.op != "call_function":
        return False
    return str(node.target) in _COPIES or (str(node.target) in _DROPOUT and node.args[2] is False)


def _line(held: Callable[[str], Any], node: Node, number: Mapping[Node, int]) -> str:
    if node.op == "get_attr":
        one = held(str(node.target))
        if isinstance(one, GraphModule):
            return f"graph {_digest(_lines(one.graph, partial(getattr, one), {}))}"
        return f"constant {fingerprint({'': one})}" if isinstance(one, Tensor) else f"object {type(one).__name__}"
    norm = norm_arguments(node)
    if norm is not None:
        return f"batch_norm {_told(norm, number)}"
    target = node.op if node.op == "output" else spelled_or_named(node.target)
    kwargs = {key: value for key, value in sorted(node.kwargs.items()) if key not in ("device", "pin_memory")}
    return f"{target} {_told(node.args, number)} {_told(kwargs, number)}"


def spelled_or_named(target: Any) -> str:
    """The name of an operator; of one without a spelling, what torch calls it."""
    try:
        return spelled_target(target)
    except ValueError:
        return getattr(target, "__qualname__", type(target).__name__)


def _told(value: Any, number: Mapping[Node, int]) -> str:
    if isinstance(value, Node):
        return f"%{number[value]}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_told(one, number) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_told(one, number)}' for key, one in value.items())}}}"
    if isinstance(value, slice):
        return f"slice{_told((value.start, value.stop, value.step), number)}"
    return "device" if isinstance(value, torch.device) else repr(value)


def _form(spec: pytree.TreeSpec) -> str:
    if spec.is_leaf():
        return "*"
    kind, context = getattr(spec.type, "__name__", str(spec.type)), spec.context
    keys = [str(key) for key in context] if isinstance(context, (list, tuple)) else []
    return f"{kind}{keys}({', '.join(_form(child) for child in spec.children())})"


def identity_of_modules(view: nn.Module) -> str:
    """The digits of a network without a graph: classes, ``repr``, plain attributes, source of every ``forward``."""
    lines = [re.sub(r"Dropout(\dd)?\(.*?\)", "Dropout", re.sub(r" at 0x[0-9a-f]+", "", repr(view)))]
    plan = plan_of(view)
    if plan is not None:
        lines.append(f"called with {plan}")
    for path, module in view.named_modules():
        kind = type(module)
        lines.append(f"{path} {kind.__module__}.{kind.__qualname__}")
        if not kind.__module__.startswith("torch."):
            lines += [f"{key} = {value!r}" for key, value in sorted(vars(module).items()) if _counts(key, value)]
            lines.append(_source_of(kind))
    return _digest(lines)


def _counts(key: str, value: object) -> bool:
    if key == "training" or key.startswith("_"):
        return False
    parts = value if isinstance(value, (tuple, list)) else [value]
    return all(isinstance(part, _PLAIN) for part in parts)


def _source_of(kind: type[nn.Module]) -> str:
    try:
        return inspect.getsource(kind.forward)
    except (OSError, TypeError):  # typed at a prompt, or built in
        return ""


def _digest(lines: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()

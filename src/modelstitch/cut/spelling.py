"""A graph of operators written as plain JSON values, and read again: no code is generated, unpickled or run.

An operator is spelled by its name (``aten.conv2d.default``, ``operator.mul``) and looked up when it is read. From a
file only operators of PyTorch's own libraries are accepted, and of those only such as change none of their arguments.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Graph, Node

STACK = "nn_module_stack"
_LIBRARIES = ("aten", "prims")
# They read or write files.
_REFUSED = ("from_file", "save")
_ARITHMETIC = ("getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "pos")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_")
_SYMBOLIC = ("sym_max", "sym_min", "sym_not", "sym_int", "sym_float", "sym_ite", "sym_sum")
_ROUNDING = ("ceil", "floor", "trunc")
_ELSEWHERE: dict[str, Any] = {
    **{f"operator.{name}": getattr(operator, name) for name in (*_ARITHMETIC, *_COMPARISONS)},
    **{f"torch.{name}": getattr(torch, name) for name in _SYMBOLIC if hasattr(torch, name)},
    **{f"math.{name}": getattr(math, name) for name in _ROUNDING},
}
# Parts of a network that run under another setting: graphs of their own, held to the same rules.
_REGIONS = ("higher_order.wrap_with_set_grad_enabled", "higher_order.wrap_with_autocast")
_KINDS: dict[str, type] = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}
_OPERATIONS = ("placeholder", "get_attr", "call_function", "call_module", "output")


class Unspeakable(ValueError):
    """Something in a graph that has no spelling, or a spelling that means nothing here."""


def spelled_target(target: Any) -> str:
    """The name of an operator or function; names of inputs, tensors and modules stay as they are.

    Example:
        >>> spelled_target(torch.ops.aten.add.Tensor), spelled_target(operator.mul)
        ('aten.add.Tensor', 'operator.mul')
    """
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"higher_order.{target.__name__}"
    for name, function in _ELSEWHERE.items():
        if function is target:
            return name
    raise Unspeakable(f"the function {target}")


def target_of(name: str, *, trusted: bool) -> Any:
    """The operator or function of that name.

    Args:
        name: as `spelled_target` gives it.
        trusted: whether operators of any library are accepted.

    Raises:
        Unspeakable: there is none, or it is not accepted.
    """
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    library, *path = name.split(".")
    if name in _REGIONS:
        return getattr(torch.ops.higher_order, path[0])
    if len(path) in (1, 2) and (trusted or library in _LIBRARIES):
        found: Any = getattr(torch.ops, library, None)
        for part in path:
            found = getattr(found, part, None) if part.isidentifier() else None
        if isinstance(found, torch._ops.OpOverload) and (trusted or _harmless(found)):
            return found
        if trusted and isinstance(found, torch._ops.HigherOrderOperator):
            return found
    raise Unspeakable(f"the operator {name!r}")


def _harmless(found: torch._ops.OpOverload[..., Any]) -> bool:
    return not found._schema.is_mutable and not any(word in found._schema.name for word in _REFUSED)


def spelled(graph: Graph) -> list[dict[str, Any]]:
    """A graph as a list of JSON values, one for each node, in order.

    Raises:
        Unspeakable: a node has no spelling.
    """
    return [
        {
            "name": node.name,
            "op": node.op,
            "target": spelled_target(node.target),
            "args": _spelled_value(tuple(node.args)),
            "kwargs": _spelled_value(dict(node.kwargs)),
            "modules": [[str(key), str(value[0])] for key, value in (node.meta.get(STACK) or {}).items()],
        }
        for node in graph.nodes
    ]


def graph_of(nodes: list[Mapping[str, Any]], *, trusted: bool = False) -> Graph:
    """The graph that was spelled.

    Args:
        nodes: as `spelled` gives them.
        trusted: whether operators of any library are accepted; not where the spelling comes from a file.

    Raises:
        Unspeakable: the spelling means nothing here.
    """
    graph, known = Graph(), dict[str, Node]()
    for one in nodes:
        op, target = one["op"], one["target"]
        if op not in _OPERATIONS or not isinstance(target, str) or not (trusted or op != "call_module"):
            raise Unspeakable(f"an operation {op!r} on {target!r}")
        args, kwargs = (_value_of(one[key], known.__getitem__) for key in ("args", "kwargs"))
        found = target_of(target, trusted=trusted) if op == "call_function" else target
        if op in ("placeholder", "get_attr") and not target.isidentifier() and not trusted:
            raise Unspeakable(f"the name {target!r}")
        node = graph.create_node(op, found, args, kwargs, name=one["name"])
        node.meta = {STACK: {key: (path, "") for key, path in one["modules"]}}
        known[one["name"]] = node
    return graph


def _spelled_value(value: Any) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [_spelled_value(one) for one in value]}
    if isinstance(value, list):
        return [_spelled_value(one) for one in value]
    if isinstance(value, Mapping):
        return {"dict": [[key, _spelled_value(one)] for key, one in value.items()]}
    if isinstance(value, slice):
        return {"slice": [_spelled_value(one) for one in (value.start, value.stop, value.step)]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for kind, of in _KINDS.items():
        if isinstance(value, of):
            return {kind: str(value).removeprefix("torch.")}
    raise Unspeakable(f"a value of type {type(value).__name__}")


def _value_of(spelling: Any, node: Callable[[str], Node]) -> Any:
    if isinstance(spelling, list):
        return [_value_of(one, node) for one in spelling]
    if not isinstance(spelling, dict):
        return spelling
    ((kind, held),) = spelling.items()
    if kind in _KINDS:
        found = getattr(torch, held, None)
        if isinstance(found, _KINDS[kind]):
            return found
        raise Unspeakable(f"the {kind} {held!r}")
    inner: dict[str, Callable[[], Any]] = {
        "node": lambda: node(held),
        "float": lambda: float(held),
        "tuple": lambda: tuple(_value_of(one, node) for one in held),
        "dict": lambda: {key: _value_of(one, node) for key, one in held},
        "slice": lambda: slice(*(_value_of(one, node) for one in held)),
        "complex": lambda: complex(*held),
        "device": lambda: torch.device(held),
    }
    if kind not in inner:
        raise Unspeakable(f"a value of kind {kind!r}")
    return inner[kind]()

"""Lengths that may vary (the batch, a sentence) in an exported graph, and how a top tells them from its one tensor."""

from __future__ import annotations

import operator
from typing import Any

import sympy
import torch
from torch.fx import Graph, Node

from modelstitch.errors import NotCuttable

aten = torch.ops.aten
SHAPE_OPERATORS = frozenset({aten.sym_size.int, aten.sym_numel.default, aten.sym_stride.int})


def expression(node: Node, dim: int | None = None) -> Any:
    """The size of a tensor node along ``dim``, or the value of a shape node, as a sympy expression or an int."""
    value = node.meta["val"] if dim is None else node.meta["val"].shape[dim]
    return value.node.expr if isinstance(value, torch.SymInt) else value


def sizes(node: Node) -> tuple[Any, ...]:
    """All sizes of a node's tensor (of several, the first) as expressions and ints; empty where it has no tensor.

    Only these are ever compared: to compare sizes as torch gives them can fix a length that should stay free.
    """
    value = node.meta.get("val")
    value = value[0] if isinstance(value, (tuple, list)) and value else value
    if not isinstance(value, torch.Tensor):
        return ()
    shape: tuple[Any, ...] = value.shape
    return tuple(size.node.expr if isinstance(size, torch.SymInt) else size for size in shape)


def batch_axis(node: Node, batch: Any) -> int | None:
    """The axis of a tensor that holds the examples: the first where it does, else the only one that can; else None.

    Args:
        node: of the tensor.
        batch: the number of examples, as an expression.
    """
    found = [axis for axis, size in enumerate(sizes(node)) if size == batch]
    return found[0] if found and (found[0] == 0 or not found[1:]) else None


def batch_first(graph: Graph, here: Node, node: Node, batch: int) -> Node:
    """A tensor with its examples on the first axis.

    Args:
        graph: to which the steps are added.
        here: the tensor in it.
        node: the same in the graph of the whole network.
        batch: the axis of the examples.
    """
    if batch == 0:
        return here
    turned = graph.call_function(aten.permute.default, (here, _first(len(sizes(node)), batch)))
    return graph.call_function(aten.clone.default, (turned,), {"memory_format": torch.contiguous_format})


def batch_back(graph: Graph, here: Node, node: Node, batch: int) -> Node:
    """The reverse of `batch_first`; in memory the tensor lies as in the whole network, since kernels go by that.

    Args:
        graph: to which the steps are added.
        here: the tensor in it, examples first.
        node: the same in the graph of the whole network.
        batch: the axis where the examples stand there.
    """
    if batch == 0:
        return here
    first = _first(len(sizes(node)), batch)
    turned = graph.call_function(aten.permute.default, (here, _inverse(first)))
    strides = [one.node.hint if isinstance(one, torch.SymInt) else one for one in node.meta["val"].stride()]
    outermost = sorted(range(len(strides)), key=lambda axis: -strides[axis])
    if outermost == first:
        return turned
    laid = graph.call_function(aten.permute.default, (turned, outermost))
    laid = graph.call_function(aten.clone.default, (laid,), {"memory_format": torch.contiguous_format})
    return graph.call_function(aten.permute.default, (laid, _inverse(outermost)))


def _first(ndim: int, batch: int) -> list[int]:
    return [batch, *(axis for axis in range(ndim) if axis != batch)]


def _inverse(order: list[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def size_from(graph: Graph, given: Node, source: Node, wanted: Any) -> Any:
    """Tell a length from the one tensor that a top is given.

    Args:
        graph: the top's graph, to which nodes are added.
        given: its placeholder.
        source: the node of the whole graph that the placeholder stands for.
        wanted: the length, as an expression in the symbols of the captured inputs.

    Returns:
        An int, or the node that computes the length.

    Raises:
        NotCuttable: no axis of the tensor tells it: the network computed it from numbers.
    """
    if isinstance(wanted, int) or wanted.is_Integer:
        return int(wanted)
    for dim in range(source.meta["val"].ndim):
        here = expression(source, dim)
        ratio = sympy.simplify(wanted / here)
        if ratio.is_Rational:
            size = graph.call_function(aten.sym_size.int, (given, dim))
            scaled = graph.call_function(operator.mul, (size, int(ratio.p))) if ratio.p != 1 else size
            return graph.call_function(operator.floordiv, (scaled, int(ratio.q))) if ratio.q != 1 else scaled
    shape = " × ".join(str(expression(source, dim)) for dim in range(source.meta["val"].ndim))
    found = f"a length, {wanted}, that the tensor {shape} which crosses there does not tell"
    raise NotCuttable("to take the layers after a cut alone", found, "cut where the network has not yet computed it")

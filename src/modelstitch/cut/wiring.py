"""Which operator of an exported graph reads and writes what, for those who change weights instead of cutting.

Beware: it speaks of the network as it runs in eval mode. Dropout is not there, and a batch norm is a fixed map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from modelstitch.cut.lengths import sizes
from modelstitch.cut.operators import operator_name

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
LAYERS = CONVOLUTIONS | {"linear"}
ADDITIONS = frozenset({"add", "add_"})
AVERAGES = frozenset({"adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d"})
MAXIMA = frozenset({"max_pool1d", "max_pool2d", "adaptive_max_pool2d"})
COPIES = frozenset({"clone", "dropout", "contiguous", "alias"})
EXCHANGES = frozenset({"transpose", "mT"})
VIEWS = frozenset({"view", "_unsafe_view", "reshape", "flatten", "squeeze"})


@dataclass(frozen=True, eq=False)
class Wiring:
    """A captured network as a graph whose weights have names.

    Attributes:
        network: the frozen view that was captured.
        graph: every operator, in order.
        at: the node whose value crosses, by cut name.
        names: of the nodes that are weights or statistics, as in the network's ``state_dict``.
    """

    network: nn.Module
    graph: Graph
    at: Mapping[str, Node]
    names: Mapping[Node, str]

    def below(self, node: Node) -> set[str]:
        """Names of the tensors that a value is computed from."""
        found, queue = {node}, [node]
        while queue:
            fresh = [one for one in queue.pop().all_input_nodes if one not in found]
            found.update(fresh)
            queue.extend(fresh)
        return {self.names[one] for one in found if one in self.names}


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a graph; ``padded`` when zeros stand around what it reads."""

    weight: Node
    bias: Node | None
    padded: bool
    groups: int


def layer_of(node: Node) -> Layer | None:
    """A convolution or linear layer as its arguments; None for anything else."""
    if operator_name(node) not in LAYERS:
        return None
    given: tuple[Any, ...] = node.args[1:]
    defaults: tuple[Any, ...] = (None, 1, 0, 1, 1)
    weight, bias, _, padding, _, groups = given + defaults[len(given) - 1 :]
    assert isinstance(weight, Node)
    assert bias is None or isinstance(bias, Node)
    padded = padding not in (0, "valid") and any(padding if isinstance(padding, (list, tuple)) else [1])
    return Layer(weight, bias, padded, groups if isinstance(groups, int) else 1)


def norm_arguments(node: Node) -> tuple[Any, ...] | None:
    """(x, weight, bias, mean, var, momentum, eps) of an inference batch norm, however it is spelled."""
    aten = torch.ops.aten
    if node.target is aten._native_batch_norm_legit_no_training.default:
        return tuple(node.args)
    if node.target is aten.batch_norm.default and node.args[3] is not None:
        x, weight, bias, mean, var, _, momentum, eps, *_ = node.args
        return x, weight, bias, mean, var, momentum, eps
    return None


def value_of(node: Node) -> Node:
    """The operator itself where a node only picks the first of its results."""
    picks = node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem"
    source = node.args[0] if picks and node.args[1] == 0 else node
    assert isinstance(source, Node)
    return source


def axis_across(one: Node, other: Node, axis: int) -> int | None:
    """Where the channels on an axis of one value stand in another that a view or exchange of axes makes of it.

    The two may be given either way round. None where they do not stay on one axis.
    """
    shape, after = sizes(one), sizes(other)
    middle = other if one in other.all_input_nodes else one
    if operator_name(middle) in EXCHANGES:
        dims: Any = middle.args[1:3]
        pair = [dim % len(shape) for dim in dims] or [len(shape) - 2, len(shape) - 1]
        return pair[1 - pair.index(axis)] if axis in pair else axis
    if axis == 1 and after[1] == shape[1]:
        return 1
    if axis == len(shape) - 1 and after[-1] == shape[-1]:
        return len(after) - 1
    return None


def is_mean_over_positions(node: Node, axis: int) -> bool:
    """Whether a node averages a value over axes other than that of its channels and of the batch."""
    if operator_name(node) in AVERAGES:
        padding: Any = node.args[3:4] if operator_name(node) == "avg_pool2d" else ()
        return axis == 1 and not any(padding[0] if padding else ())
    return operator_name(node) == "mean" and bool(_averaged(node)) and not {0, axis} & _averaged(node)


def axis_after_mean(node: Node, axis: int) -> int:
    """Where the channels stand after a mean over positions."""
    source: Any = node.args[0]
    if len(sizes(node)) == len(sizes(source)):
        return axis
    return axis - sum(dim < axis for dim in _averaged(node))


def _averaged(node: Node) -> set[int]:
    """The axes that ``mean`` averages over; empty where it names none."""
    source: Any = node.args[0]
    dims: Any = node.args[1] if len(node.args) > 1 else ()
    return {dim % len(sizes(source)) for dim in dims or ()}


def along(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector shaped to be multiplied or added along one axis of ``ndim``."""
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


def spread_of(source: Node, flat: Node, axis: int) -> int | None:
    """How many entries of a flattened vector belong to one channel of a map; None where it is no such view."""
    shape, after = sizes(source), sizes(flat)
    if axis != 1 or len(after) != 2 or not all(isinstance(size, int) for size in shape[1:]):
        return None
    return math.prod(shape[2:]) if math.prod(shape[1:]) == after[1] else None

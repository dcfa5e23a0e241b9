"""What the operators of an exported graph are called, and how their arguments are read."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node


def operator_name(node: Node) -> str:
    """What a node computes: ``conv2d``, ``add``; for one part of several results, what gives them."""
    if node.target is operator.getitem:
        return operator_name(node.args[0])  # type: ignore[arg-type]
    return (
        str(node.target.overloadpacket).split(".")[-1] if isinstance(node.target, torch._ops.OpOverload) else node.name
    )


def argument(node: Node, name: str, otherwise: Any = None) -> Any:
    """An argument of an operator by its name, given in order, by keyword or left at its default.

    Args:
        node: the operator.
        name: as PyTorch declares it.
        otherwise: what an operator without such an argument answers.
    """
    if not isinstance(node.target, torch._ops.OpOverload):
        return otherwise
    for index, declared in enumerate(node.target._schema.arguments):
        if declared.name == name:
            if index < len(node.args):
                return node.args[index]
            return node.kwargs.get(name, declared.default_value if declared.has_default_value() else otherwise)
    return otherwise

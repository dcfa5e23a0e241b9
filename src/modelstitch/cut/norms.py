"""Batch norms of a half that follow train and eval mode, on running statistics of their own."""

from __future__ import annotations

import copy
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.fx import Graph, Node

from modelstitch.cut.frozen import SwitchingNorm
from modelstitch.cut.run import Run
from modelstitch.cut.wiring import norm_arguments


@runtime_checkable
class Switchable(Protocol):
    """A module that knows itself how to give its batch norms statistics of their own."""

    def switching(self) -> nn.Module:
        """A copy with batch norms that switch."""
        ...


def switching(run: nn.Module) -> nn.Module:
    """A copy of a half's module whose inference batch norms follow train and eval mode on cloned statistics."""
    if isinstance(run, Run):
        return _switching_run(run)
    return run.switching() if isinstance(run, Switchable) else run


def _switching_run(run: Run) -> Run:
    graph, copied, root = Graph(), dict[Node, Node](), run.held()
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
        copied[node].meta = copy.copy(node.meta)
        if node.target is torch.ops.aten._native_batch_norm_legit_no_training.default:
            # It returns (output, mean, rstd), of which inference uses the first alone.
            copied.update(dict.fromkeys(node.users, copied[node]))
    return Run(root, graph, run.containers)


def switching_view(view: nn.Module) -> nn.Module:
    """A network over the same weights whose batch norms switch: for halves that run whole modules."""
    memo: dict[int, Any] = {id(t): t for t in (*view.parameters(), *view.buffers())}
    twin = copy.deepcopy(view, memo)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is not None:
                momentum = 0.1 if child.momentum is None else child.momentum
                tensors = (child.weight, child.bias, child.running_mean, child.running_var)
                setattr(module, name, SwitchingNorm(*tensors, momentum=momentum, eps=child.eps))
    return twin

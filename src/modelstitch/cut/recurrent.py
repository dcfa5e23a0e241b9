"""Recurrent layers as single operators while a network is exported.

Export asks every operator what shape it gives. Those of ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` answer by going through
the whole sequence step by step, a minute for a few hundred steps, though the graph holds them as one operator anyway.
Within :func:`as_leaves` stand-ins that know their shapes take their place; :func:`as_they_were` puts them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.overrides import TorchFunctionMode

_NAMES = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_OWN: Any = torch.library.Library("modelstitch", "DEF")  # type: ignore[no-untyped-call]


def _shapes(name: str) -> Any:
    """What a recurrent operator gives, as empty tensors."""

    def told(
        x: Tensor,
        hx: Any,
        params: list[Tensor],
        has_biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        both_ways: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        states = list(hx) if name == "lstm" else [hx]
        # The first hidden state is what is handed on: after a projection it is narrower than the cells.
        width = states[0].shape[-1] * (2 if both_ways else 1)
        # In memory the steps come first, whatever the axes are called.
        steps = x.transpose(0, 1) if batch_first and x.ndim == 3 else x
        output = x.new_empty((*steps.shape[:-1], width))
        output = output.transpose(0, 1) if batch_first and x.ndim == 3 else output
        return (output, *(x.new_empty(one.shape) for one in states))

    return told


def _define(name: str) -> None:
    original = getattr(torch.ops.aten, name).input
    schema = str(original._schema).removeprefix(f"aten::{name}.input")
    _OWN.define(f"{name}{schema}")
    _OWN.impl(name, lambda *given: original(*given), "CompositeExplicitAutograd")
    torch.library.register_fake(f"modelstitch::{name}", _shapes(name), lib=_OWN)


for _name in _NAMES:
    _define(_name)

_STANDING = {name: getattr(torch.ops.modelstitch, name).default for name in _NAMES}
_ORIGINAL = {standing: getattr(torch.ops.aten, name).input for name, standing in _STANDING.items()}


class _Leaves(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(getattr(func, "__name__", "")).removesuffix(".input")
        # Of packed sequences the second argument is the size of each step; those are left as they are.
        states = 1 if name == "lstm" else 2
        if name in _STANDING and not kwargs and len(args) == 9 and isinstance(args[states], (list, tuple)):
            return _STANDING[name](*args)
        return func(*args, **(kwargs or {}))


@contextmanager
def as_leaves() -> Iterator[None]:
    """Within it, recurrent layers are stand-ins, each one operator."""
    with _Leaves():
        yield


def as_they_were(module: GraphModule) -> None:
    """Put torch's own operators back in a graph and in those inside it."""
    for one in module.modules():
        if isinstance(one, GraphModule):
            for node in one.graph.nodes:
                node.target = _ORIGINAL.get(node.target, node.target) if callable(node.target) else node.target
            one.recompile()

"""A network as we may touch it: the same weights, frozen, in eval mode; and what both ways of cutting need of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from modelstitch.cut.opened import opened
from modelstitch.errors import NotCuttable

TrainNorm = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float, float], Tensor]
"""``(x, mean, var, weight, bias, momentum, eps)`` to the normalised batch; mean and var are updated in place."""


def frozen_view(network: nn.Module) -> nn.Module:
    """A second module tree in eval mode over the same memory, whose tensors take no gradient.

    Wrappers around the network, or around modules in it, are opened (`modelstitch.cut.opened`).

    Beware: equality bit for bit is promised with this view. torch multiplies some matrices in another order where a
    weight takes a gradient, even under ``no_grad``, so that ``network(x)`` may differ from it by about 10⁻⁷.

    The caller's modules are read only: mode, hooks, ``requires_grad`` and ``.grad`` of the original stay as they are,
    and training the original in place shows in the view. Tensors that are neither parameters nor buffers (features
    kept by a forward, weights computed by pruning or weight norm) are detached and copied.

    Raises:
        NotCuttable: the network is compiled by ``torch.jit`` or quantised, cannot be walked by ``copy.deepcopy``, or
            has lazy parameters.
    """
    network = opened(network)
    name = type(network).__name__
    _refuse_unreadable(network)
    memo: dict[int, Any] = {}
    try:
        for module in network.modules():
            for tensor in _derived(module):
                memo[id(tensor)] = tensor.detach().clone()
        for tensor in chain(network.parameters(), network.buffers()):
            # What was made in inference mode could take no part in a fit, whatever became of it afterwards.
            shared = tensor.clone() if tensor.is_inference() else tensor.detach()
            memo[id(tensor)] = nn.Parameter(shared, requires_grad=False) if isinstance(tensor, nn.Parameter) else shared
        # The innermost first: a wrapper may lie in a wrapper.
        for module in reversed(list(network.modules())):
            if (inside := opened(module)) is not module:
                memo[id(module)] = copy.deepcopy(inside, memo)
        view = copy.deepcopy(network, memo)
    except Exception as problem:
        raise NotCuttable(
            f"a frozen view of {name}",
            f"its modules cannot be copied: {problem}",
            "run lazy modules once, and keep tensors in parameters or buffers",
        ) from problem
    return view.eval()


def _refuse_unreadable(network: nn.Module) -> None:
    for path, module in network.named_modules():
        where = f" at {path!r}" if path else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise NotCuttable(
                f"to cut {type(network).__name__}",
                f"a network compiled by torch.jit{where}, whose layers cannot be read",
                "give the eager network that was passed to torch.jit.script or torch.jit.trace",
            )
        if _is_quantised(module):
            raise NotCuttable(
                f"to cut {type(network).__name__}",
                f"a quantised layer{where}, {type(module).__name__}, through which no gradient flows",
                "give the network in floating point, as it was before it was quantised",
            )


_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "bitsandbytes.", "torchao.")


def _is_quantised(module: nn.Module) -> bool:
    if any(kind.__module__.startswith(_QUANTISED) for kind in type(module).__mro__):
        return True
    tensors = chain(module.parameters(recurse=False), module.buffers(recurse=False))
    return any(t.is_quantized or type(t).__module__.startswith(_QUANTISED) for t in tensors)


def _derived(module: nn.Module) -> Iterable[Tensor]:
    """Tensors with a history among a module's plain attributes, which ``copy.deepcopy`` refuses."""
    plain = {key: value for key, value in vars(module).items() if key not in ("_parameters", "_buffers", "_modules")}
    return [leaf for leaf in pytree.tree_leaves(plain) if isinstance(leaf, Tensor) and not leaf.is_leaf]


_train_norm: TrainNorm | None = None


@contextmanager
def batch_norm_by(function: TrainNorm | None) -> Iterator[None]:
    """Within it, switching norms in train mode normalise by ``function``; None stands for torch's own batch norm.

    For those who hold only a part of each batch: they know of the other parts, and this room does not.
    """
    global _train_norm
    before, _train_norm = _train_norm, function
    try:
        yield
    finally:
        _train_norm = before


class SwitchingNorm(nn.Module):
    """A batch norm with shared weights and running statistics of its own."""

    def __init__(
        self,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        var: Tensor | None,
        *,
        momentum: float,
        eps: float,
    ) -> None:
        super().__init__()
        assert mean is not None  # a norm without running statistics is no inference batch norm
        assert var is not None
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("running_mean", mean.clone())
        self.register_buffer("running_var", var.clone())
        self.momentum, self.eps = momentum, eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in train mode, by the running statistics in eval mode."""
        mean, var, weight, bias = (getattr(self, name) for name in ("running_mean", "running_var", "weight", "bias"))
        if self.training and _train_norm is not None:
            return _train_norm(x, mean, var, weight, bias, self.momentum, self.eps)
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps)


@contextmanager
def standard_attention() -> Iterator[None]:
    """Without torch's fused inference path of transformer layers.

    That path is taken only when no gradient is recorded, rounds differently, and treats padding differently; a stitched
    network must answer alike while its stitch is fitted and while it is measured.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def pair_up(example: Tensor) -> Tensor:
    """At least two examples: a batch of one would be taken for a constant when the network is captured."""
    return example if example.shape[0] > 1 else torch.cat([example, example])

"""Counting the layers that run, by operators: a product of data with a weight, whatever class of module asks for it.

An own linear layer, GPT-2's ``Conv1D`` and a convolution called as a function count like ``nn.Linear``. The product of
two activations (attention) is no layer, nor is that of two weights (spectral norm). A weight that is used again within
one call of a module (a recurrent network's, once a step) counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_CONVOLUTIONS = {"convolution", "_convolution", *(f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3))}
_PRODUCTS = {"linear", "addmm", "mm", "bmm", "baddbmm", "addbmm", "matmul", "mv", "addmv", "_scaled_mm", "_int_mm"}
_RECURRENT = {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"}
_LAYERS = _CONVOLUTIONS | _PRODUCTS | _RECURRENT

# What is known of a piece of memory. A number from 0 is data: the layers on the longest path to it.
_WEIGHT, _CONSTANT = -1, -2


class Layers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, follows every operator of a run.

    Attributes:
        count: layers so far.
        longest: of them, those on the longest path.
        inside: layers that ran inside each module path; ``""`` is the whole network.
        calls: number and path of the module calls that are running, outermost first; kept by the caller.
    """

    def __init__(self, view: nn.Module, inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.longest = 0, 0
        self.inside: Counter[str] = Counter()
        self.calls: list[tuple[int, str]] = []
        held = chain(*([*m.parameters(False), *m.buffers(False), *vars(m).values()] for m in view.modules()))
        self._states = {_memory(t): _WEIGHT for t in held if isinstance(t, Tensor)}
        self._states.update({_memory(t): 0 for t in inputs})
        # The tensors are kept, so that their memory is not given to others while it is counted as theirs.
        self._used: dict[tuple[int, int, int], Tensor] = {}

    def below(self, value: Tensor) -> int:
        """Layers on the longest path to a tensor."""
        return max(0, self._state(value))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        states = [self._state(t) for t in given]
        result = func(*args, **(kwargs or {}))
        state = max(states, default=_CONSTANT)
        if state >= 0 and _WEIGHT in states and func.overloadpacket._qualified_op_name.split("::")[-1] in _LAYERS:
            state += self._note([t for t, s in zip(given, states, strict=True) if s == _WEIGHT])
        # In-place operators and views give memory that is known already; it is as deep as what was written there.
        self._states.update({_memory(t): state for t in pytree.tree_leaves(result) if isinstance(t, Tensor)})
        self.longest = max(self.longest, state)
        return result

    def _state(self, tensor: Tensor) -> int:
        # Made out of our sight (by numpy, say): taken for data as deep as any.
        return self._states.get(_memory(tensor), self.longest)

    def _note(self, weights: list[Tensor]) -> bool:
        weight = max(weights, key=lambda t: t.ndim)
        key = (self.calls[-1][0] if self.calls else 0, _memory(weight), _offset(weight))
        if key in self._used:
            return False
        self._used[key] = weight
        self.count += 1
        self.inside.update({"", *(path for _, path in self.calls)})
        return True


def _memory(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse tensors have no storage
        return id(tensor)


def _offset(tensor: Tensor) -> int:
    return int(tensor.storage_offset()) if tensor.layout is torch.strided else 0

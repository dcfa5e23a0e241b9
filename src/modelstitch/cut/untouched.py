"""Running a view so that nothing of the caller's changes: no input, no buffer, nothing that a module remembers.

A view shares the buffers of the user's network, and a forward may write into what it is given. So a run works on
copies: of its inputs, of every buffer, and of the tensors, lists, dicts and sets that modules hold as plain attributes.
After the run the view is as before, so that no run depends on those before it.

Beware: weights are not copied; a network that writes into its weights in forward changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from modelstitch.cut.frozen import SwitchingNorm

_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
_HOOKS = frozenset(name for name in _OF_EVERY_MODULE if "hooks" in name)


@contextmanager
def own_state(view: nn.Module) -> Iterator[None]:
    """Within, the modules of a view work on copies of their state; afterwards they hold what they held before.

    Batch norms that keep statistics of their own (:class:`SwitchingNorm`) are left alone: those are to move.

    Example:
        >>> import torch
        >>> net = nn.BatchNorm1d(2)
        >>> with own_state(net):
        ...     _ = net(torch.randn(4, 2))
        >>> int(net.num_batches_tracked)
        0
    """
    modules = [m for m in view.modules() if not isinstance(m, SwitchingNorm)]
    before = [(m, dict(m.__dict__), dict(m._buffers)) for m in modules]
    # A network may hook itself when it first runs, and note that it did: both are forgotten, or it would do so again.
    hooks = [
        (held, dict(held)) for m in modules for name, held in vars(m).items() if name in _HOOKS and held is not None
    ]
    copies: dict[int, Any] = {}
    try:
        for module, attributes, buffers in before:
            module._buffers.update({name: _copied(held, copies) for name, held in buffers.items()})
            own = attributes.keys() - _OF_EVERY_MODULE
            module.__dict__.update({name: _copied(attributes[name], copies) for name in own})
        yield
    finally:
        for module, attributes, buffers in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        for held, earlier in hooks:
            held.clear()
            held.update(earlier)


def run_untouched(view: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Any:
    """What a view answers, run on copies of its inputs and its state."""
    with own_state(view):
        return view(*(t.clone() for t in args), **{name: t.clone() for name, t in kwargs.items()})


def _copied(held: Any, copies: dict[int, Any]) -> Any:
    """A copy, the same one for what is held under two names."""
    if not isinstance(held, Tensor) and type(held) not in (list, dict, set):
        return held
    if id(held) not in copies:
        copies[id(held)] = held.clone() if isinstance(held, Tensor) else held.copy()
    return copies[id(held)]

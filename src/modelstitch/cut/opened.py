"""Opening what is wrapped around a network: what a wrapper adds is how the network runs, never what it answers.

Opened are ``nn.DataParallel`` and ``DistributedDataParallel``, ``torch.compile``, averages of weights
(``swa_utils.AveragedModel``) and PEFT's models, whose adapters lie in the layers; so places and weights have the names
that they have in the network itself. Wrappers that change what is called (PEFT's prompt learning, which puts tokens
before the input) are left as they are.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

_PASSING_ON = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def opened(network: nn.Module) -> nn.Module:
    """The network inside all its wrappers; itself where it has none.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> opened(nn.DataParallel(net)) is net, opened(net) is net
        (True, True)
    """
    while (inner := _inside(network)) is not None:
        network = inner
    return network


def _inside(network: nn.Module) -> nn.Module | None:
    inner: object = None
    if isinstance(network, _PASSING_ON):
        inner = network.module
    elif _is(network, "torch._dynamo", "OptimizedModule"):
        # Asked by name: to import the compiler takes longer than to cut a network.
        inner = network._orig_mod
    elif _is(network, "peft", "PeftModel"):
        config: Any = network.active_peft_config
        inner = None if config.is_prompt_learning else network.get_base_model()  # type: ignore[operator]
    return inner if isinstance(inner, nn.Module) else None


def _is(network: nn.Module, package: str, name: str) -> bool:
    return any(kind.__name__ == name and kind.__module__.startswith(package) for kind in type(network).__mro__)

"""Networks that forget: copies with fresh weights everywhere, or in the first layer and the last.

Beware: what a module is born with is known to it alone. One that cannot reset itself gets noise of the scale that its
weights had, so a little of what was learnt (how large weights are) stays.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from modelstitch.compute import home_of
from modelstitch.errors import SettingError
from modelstitch.support.seeding import generator, seeded


def untrained(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of a network with fresh weights, in eval mode.

    Modules that know how to reset themselves do so, batch-norm statistics included. Parameters of other modules are
    drawn from a normal distribution with the mean and spread that they had: the scale stays, the content goes.

    Args:
        network: any module; untouched.
        seed: which fresh weights.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> bool((untrained(net).weight == net.weight).any())
        False
    """
    return _forgetful(network, [path for path, _ in network.named_modules()], "untrained", seed)


def stem_reset(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of a network with fresh weights in its first layer and its last, and its own between, in eval mode.

    First and last are meant in the order in which the network registers its layers: of conv, linear and other modules
    that hold a weight of two axes or more and know how to reset it.

    Args:
        network: any module; untouched.
        seed: which fresh weights.

    Raises:
        SettingError: the network has no such layer.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
        >>> [bool((one.weight == other.weight).all()) for one, other in zip(net, stem_reset(net))]
        [False, True, False]
    """
    layers = [
        path
        for path, module in network.named_modules()
        if _reset_of(module) and any(weight.ndim > 1 for weight in module.parameters(recurse=False))
    ]
    if not layers:
        asked, found = f"a stem reset of {type(network).__name__}", "no layer that knows how to reset its weights"
        raise SettingError(asked, found, "leave this control out, or give its layers a method `reset_parameters`")
    return _forgetful(network, [layers[0], layers[-1]], "stem reset", seed)


def _reset_of(module: nn.Module) -> Any:
    """What gives a module fresh weights, if it knows how."""
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return reset if callable(reset) else None


def _forgetful(network: nn.Module, paths: Sequence[str], what: str, seed: int) -> nn.Module:
    """A copy whose modules at these paths have fresh weights."""
    # On the CPU, whose one stream of random numbers is the same beside every device.
    fresh = copy.deepcopy(network).cpu()
    with seeded(what, seed), torch.no_grad():
        for path in paths:
            module = fresh.get_submodule(path)
            if reset := _reset_of(module):
                reset()
                continue
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=generator(what, seed, path, name))
                spread = parameter.std() if parameter.numel() > 1 else parameter.abs()
                parameter.copy_(parameter.mean() + spread * noise.to(parameter))
    return fresh.to(home_of(network)).eval()

"""Controls: stitchings whose answer is known beforehand, to set beside every penalty.

- ``self``: a network stitched to itself by the identity. The penalty is exactly 0, or the halves are wrong.
- ``untrained``: a bottom of the same architecture that never saw data. Near the input a stitch may make up for it;
  the later the cut, the worse it must be. Where it is not, the stitch learns the task and measures nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from modelstitch.cut import Cut
from modelstitch.data import Samples
from modelstitch.matching import paired_moments
from modelstitch.records import Record
from modelstitch.seeding import generator, seeded
from modelstitch.stitches import Identity
from modelstitch.stitching import Place, Prepared, Setting, Stitching, measure


def self_stitch(
    one: Prepared,
    cuts: Sequence[Cut],
    train: Samples,
    test: Samples,
    seed: int = 0,
) -> list[Record]:
    """A network's own bottom, the identity, and its own top.

    Args:
        one: the network.
        cuts: where.
        train: named in the record; nothing is fitted.
        test: to measure on.
        seed: of the interval.

    Returns:
        A record for each cut, whose penalty is exactly 0.
    """
    moments = paired_moments(one.captured, one.captured, [(cut, cut) for cut in cuts], test, device=one.device)
    stitchings = [Stitching(one.name, cut.name, one.name, cut.name) for cut in cuts]
    places = [Place(where, test_moments=sums) for where, sums in zip(stitchings, moments, strict=True)]
    found = measure(places, one, one, train, test, Setting(Identity(), seed=seed), control="self")
    return [each.record for each in found]


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
    # On the CPU, whose one stream of random numbers is the same beside every device.
    home = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    fresh = copy.deepcopy(network).cpu()
    with seeded("untrained", seed), torch.no_grad():
        for path, module in fresh.named_modules():
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=generator("untrained", seed, path, name))
                spread = parameter.std() if parameter.numel() > 1 else parameter.abs()
                parameter.copy_(parameter.mean() + spread * noise.to(parameter))
    return fresh.to(home).eval()

"""Controls: stitchings whose answer is known beforehand, to set beside every penalty.

- ``self``: a network stitched to itself by the identity. The penalty is exactly 0, or the halves are wrong.
- ``untrained``: a bottom of the same architecture that never saw data. Near the input a stitch may make up for it;
  the later the cut, the worse it must be. Where it is not, the stitch learns the task and measures nothing.
- ``stem_reset``: the bottom of a copy of the top network in which the first layer and the last are fresh. The code of
  Bansal, Nakkiran and Barak (2021) measured this where their text says random: all but the stem is trained.
- ``noise``: the bottom's activations replaced by Gaussian noise that tells nothing of the input. The best stitch is a
  constant, which errs as often as guessing one class does. Where it errs less, something else is seen.
- ``clustered_noise``: noise about the mean of each example's class. It knows the label and nothing else, and so shows
  how little a stitching can cost where nothing else is in common. For `Classification` alone.
- ``shuffled``: the stitch is fitted with each example's activations beside those of the top, and the label, of another;
  it is measured on examples as they are. Where it still works, what it knows did not come from the pairing.

A control is a function from the pairings of a call and the two networks to one pairing, and its line in `CONTROLS`.
The networks with fresh weights come from `modelstitch.networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from modelstitch.data import Examples
from modelstitch.errors import SettingError, did_you_mean
from modelstitch.networks import Network, stem_reset, untrained
from modelstitch.stitching.clustered_noise import clustered_noise
from modelstitch.stitching.noise import noise
from modelstitch.stitching.pairing import Pairing, Pairings, Statistics
from modelstitch.support.seeding import generator

Control = Callable[[Pairings, Network, Network], Pairing]


def controls(names: Sequence[str], made: Pairings, bottom: Network, top: Network) -> list[Pairing]:
    """Those of these controls that stand beside the stitchings of one pair one way, under the same tops.

    Args:
        names: which; ``self``, which speaks of one network alone, is passed over.
        made: the pairings of the call.
        bottom: the network that lends its bottoms.
        top: the network that lends its tops.
    """
    return [make(made, bottom, top) for name, make in CONTROLS.items() if name in names]


def check_controls(names: Sequence[str]) -> None:
    """Refuse names that are no controls.

    Raises:
        SettingError: there is one.
    """
    known = ["self", *CONTROLS]
    for name in names:
        if name not in known:
            do = did_you_mean(name, known, f"choose among {', '.join(known)}")
            raise SettingError(f"to stitch with the control {name!r}", "no such control", do)


def _untrained(made: Pairings, bottom: Network, top: Network) -> Pairing:
    fresh = untrained(bottom.module, seed=made.setting.seed)
    return _fresh(made, fresh, bottom, top, "untrained")


def _stem_reset(made: Pairings, _: Network, top: Network) -> Pairing:
    return _fresh(made, stem_reset(top.module, seed=made.setting.seed), top, top, "stem_reset")


def _fresh(made: Pairings, module: nn.Module, of: Network, top: Network, control: str) -> Pairing:
    ready = Network(of.name, module, example=of.example, kinds=of.kinds)
    return made.pairing(ready, top, made.pairs(ready, top), control)


def _noise(made: Pairings, bottom: Network, top: Network) -> Pairing:
    pairs = made.pairs(bottom, top)
    nothing = noise(bottom, [below for below, _ in pairs], made.train, seed=made.setting.seed)
    return made.pairing(nothing, top, pairs, "noise")


def _clustered_noise(made: Pairings, bottom: Network, top: Network) -> Pairing:
    pairs, known = made.pairs(bottom, top), (made.train, made.test.examples, made.task)
    clustered = clustered_noise(bottom, [below for below, _ in pairs], *known, seed=made.setting.seed)
    return made.pairing(clustered, top, pairs, "clustered_noise")


def _shuffled(made: Pairings, bottom: Network, top: Network) -> Pairing:
    train, partners = (made.train.over(each) for each in shuffled(made.train.examples, seed=made.setting.seed))
    plain = replace(made, train=train).pairing(bottom, top, made.pairs(bottom, top), "shuffled")
    return replace(plain, fits=Statistics(bottom, top, plain.pairs, train, partners))


CONTROLS: dict[str, Control] = {
    "untrained": _untrained,
    "stem_reset": _stem_reset,
    "noise": _noise,
    "clustered_noise": _clustered_noise,
    "shuffled": _shuffled,
}
"""The controls of a pair, by name; ``self`` is of one network, see `Pairings.self_stitches`."""


def shuffled(train: Examples, *, seed: int = 0) -> tuple[Examples, Examples]:
    """Examples paired with others, none with itself: what bottoms see, and what tops see and targets are of.

    Args:
        train: the examples to fit on.
        seed: which pairing.

    Returns:
        The examples in their order with the targets of their partners; and the partners, in that order.

    Raises:
        SettingError: examples of several lengths, whose positions do not pair.

    Example:
        >>> from modelstitch.data import Samples
        >>> found, partners = shuffled(Samples("three", torch.tensor([[0.], [1.], [2.]]), torch.tensor([0, 1, 2]), 3))
        >>> bool((found.batch(slice(3)).inputs == partners.batch(slice(3)).inputs).any())
        False
        >>> bool((found.batch(slice(3)).targets == partners.batch(slice(3)).targets).all())
        True
    """
    if train.ragged:
        found, do = "examples of several lengths, whose positions do not pair", "leave this control out"
        raise SettingError("shuffled pairs", found, do)
    ring = torch.randperm(len(train), generator=generator("shuffled pairs", seed))
    order = torch.empty_like(ring)
    order[ring] = ring.roll(1)
    partners = train.take(order)
    return train.with_targets_of(partners), partners

"""The architectures that can be built by name, always from a seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.networks.gpt import gpt
from modelstitch.networks.mlp import mlp
from modelstitch.networks.myrtle import myrtle
from modelstitch.networks.resnet import resnet18, resnet164
from modelstitch.networks.unet import unet
from modelstitch.networks.vit import vit
from modelstitch.seeding import seeded

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "myrtle": myrtle,
    "resnet18": resnet18,
    "resnet164": resnet164,
    "vit": vit,
    "gpt": gpt,
    "unet": unet,
}


def build(architecture: str, *, seed: int, **options: Any) -> nn.Module:
    """A freshly initialised network: the same seed gives the same weights, whatever was drawn before.

    Args:
        architecture: a name in ``ARCHITECTURES``.
        seed: which initialisation.
        options: the architecture's own options.

    Raises:
        SettingError: no such architecture, or it has no such option.

    Example:
        >>> a, b = (build("mlp", seed=0, widths=(3,)) for _ in range(2))
        >>> bool((a.fc.weight == b.fc.weight).all())
        True
    """
    asked = f"build the network {architecture!r}"
    if architecture not in ARCHITECTURES:
        do = did_you_mean(architecture, ARCHITECTURES, f"choose one of {', '.join(ARCHITECTURES)}")
        raise SettingError(asked, "no architecture of that name", do)
    known = list(inspect.signature(ARCHITECTURES[architecture]).parameters)
    for option in options:
        if option not in known:
            do = did_you_mean(option, known, f"choose among {', '.join(known)}")
            raise SettingError(asked, f"no option {option!r}", do)
    with seeded("network", seed):
        return ARCHITECTURES[architecture](**options)

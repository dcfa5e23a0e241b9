"""Networks that are given the same raw examples, whichever of them prepares images itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelstitch.data import Examples, Samples
from modelstitch.networks.network import Network
from modelstitch.networks.prepare import prepared, takes_raw


def on_raw(networks: Sequence[Network], examples: Examples) -> list[Network] | None:
    """The networks as they take raw images; None where none of them prepares images itself, and nothing is to be done.

    Where one of them does, all are given raw images (`modelstitch.data.raw`): the others behind the normalisation that
    the data have of their own, by which they were trained.

    Args:
        networks: untouched.
        examples: as they are normalised, such as were trained on.
    """
    own = [takes_raw(one.module) for one in networks]
    if not any(own):
        return None
    mean, std = examples.raw_moments if isinstance(examples, Samples) else ((), ())
    return [
        one if ready or not mean else replace(one, module=prepared(one.module, mean=mean, std=std))
        for one, ready in zip(networks, own, strict=True)
    ]

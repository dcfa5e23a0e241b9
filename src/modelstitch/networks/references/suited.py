"""Networks by reference and the classes of the data that they meet."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from modelstitch.errors import FreshWeights
from modelstitch.networks.network import Network
from modelstitch.networks.references.loading import load_network, told_apart
from modelstitch.networks.references.reference import Reference
from modelstitch.vocabulary import SCHEMES

_BUILT = ("timm", "torchvision")
"""Schemes whose networks are built anew, with as many outputs as one likes, unless published weights are asked for."""


def with_outputs_for(networks: Sequence[Network], references: Sequence[str], examples: object) -> list[Network]:
    """Networks with fresh weights, built for as many classes as the examples have; all others as they are.

    Published weights answer for the classes that they were trained on. Fresh ones answer for none, so a network that
    was named without a number of classes is given that of the data, under the reference that says so.

    Args:
        networks: as `load_network` returned them, each under a name of its own.
        references: of each, as it was written.
        examples: to be classified; others than `modelstitch.data.Samples` have no classes and change nothing.
    """
    classes = getattr(examples, "classes", None)
    found = [_built_for(*each, classes) for each in zip(networks, references, strict=True)]
    if len(found) != 2 or all(one is other for one, other in zip(found, networks, strict=True)):
        return found
    names = told_apart((found[0].name, found[1].name))
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def _built_for(network: Network, written: str, classes: int | None) -> Network:
    reference = _parsed(written)
    fresh = reference is not None and reference.scheme in _BUILT and not reference.pretrained
    if reference is None or classes is None or not fresh or reference.has("classes"):
        return network
    text = reference.also(f"classes={classes}")
    warnings.warn(FreshWeights(f"{written} is built for the {classes} classes of the data: {text}"), stacklevel=3)
    with warnings.catch_warnings():
        # That they are fresh was said when it was loaded first.
        warnings.simplefilter("ignore", FreshWeights)
        return load_network(text)


def is_published(reference: str) -> bool:
    """Whether a reference leads to weights that others have published, which answer for classes of their own.

    Example:
        >>> is_published("timm:resnet18?pretrained"), is_published("timm:resnet18"), is_published("nets/mine")
        (True, False, False)
    """
    found = _parsed(reference)
    if found is None:
        return False
    return found.pretrained if found.scheme in _BUILT else found.scheme == "hf" and not found.has("seed")


def _parsed(reference: str) -> Reference | None:
    scheme, mark, _ = reference.partition(":")
    return Reference.parse(reference) if mark and scheme in SCHEMES else None

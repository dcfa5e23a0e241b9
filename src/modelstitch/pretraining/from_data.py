"""What the data decide about a network: how many numbers go in, and how many come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from modelstitch.data import Examples, Samples
from modelstitch.errors import SettingError
from modelstitch.support.tensors import leaves

_AT_ONCE = 1024


def data_options(architecture: str, *sets: Examples, **told: Any) -> dict[str, Any]:
    """The options of an architecture that its data decide.

    An ``mlp`` takes the numbers of an example as ``inputs``; a ``gpt`` the number of tokens as ``vocabulary`` and the
    length of the longest text as ``longest``; all others the ``channels`` of an image, and a ``vit`` its ``size``.
    But for a ``gpt``, ``classes`` is the number of outputs: of classes, or of numbers that an example has as targets.

    Args:
        architecture: a name in ``modelstitch.networks.ARCHITECTURES``.
        sets: what the network learns, first, and what else it shall be able to read.
        told: options that somebody has decided; they come back as they are.

    Raises:
        SettingError: the number of outputs cannot be told from the targets.

    Example:
        >>> from modelstitch.data import digits
        >>> data_options("mlp", digits().train)
        {'inputs': 64, 'classes': 10}
    """
    if architecture == "gpt":
        return {"vocabulary": 1 + max(map(_highest, sets)), "longest": max(one.longest for one in sets), **told}
    shape = _shape(sets[0])
    size = {"inputs": shape.numel()} if architecture == "mlp" else {"channels": shape[0]}
    if architecture == "vit":
        size["size"] = shape[1]
    return {**size, "classes": told["classes"] if "classes" in told else _outputs(architecture, sets), **told}


def _shape(examples: Examples) -> torch.Size:
    return leaves(examples.example)[0].shape[1:]


def _highest(examples: Examples) -> int:
    """The highest token id."""
    return max(int(leaves(batch.inputs)[0].max()) for batch in examples.batches(_AT_ONCE))


def _outputs(architecture: str, sets: Sequence[Examples]) -> int:
    first = sets[0]
    if isinstance(first, Samples):
        return first.classes
    targets = next(_targets(first))
    if not isinstance(targets, Tensor):
        found = f"targets of type {type(targets).__name__}"
        asked = f"the number of outputs of a network that learns {first.name!r}"
        raise SettingError(asked, found, "name it: classes=…")
    # Classes are counted from the targets' values; numbers and yes-or-no labels by their shape.
    if targets.is_floating_point() or (targets.ndim == 2 and architecture != "unet"):
        return targets.shape[1:2].numel() if architecture == "unet" else targets.shape[1:].numel()
    return 1 + max(int(one.max()) for examples in sets for one in _targets(examples))


def _targets(examples: Examples) -> Iterator[Any]:
    for batch in examples.batches(_AT_ONCE):
        yield batch.targets


def output_options(train: Examples) -> dict[str, Any]:
    """How many outputs a network has that learns part of these examples: one for each of their classes.

    Example:
        >>> from modelstitch.data import digits
        >>> output_options(digits().train.first(1))
        {'classes': 10}
    """
    return {"classes": train.classes} if isinstance(train, Samples) else {}

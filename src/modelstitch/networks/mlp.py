"""A multilayer perceptron: the smallest network that can be stitched, and the quickest to test on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


def mlp(*, widths: Sequence[int] = (256, 256), inputs: int = 64, classes: int = 10) -> nn.Module:
    """Flatten, then one block of linear and relu per width, then a linear layer.

    Args:
        widths: units of each hidden layer.
        inputs: numbers per example, all axes together.
        classes: number of outputs.

    Example:
        >>> import torch
        >>> mlp(widths=(5,))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for i, (before, width) in enumerate(zip((inputs, *widths), widths, strict=False)):
        layers.append((f"layer{i + 1}", nn.Sequential(nn.Linear(before, width), nn.ReLU())))
    layers.append(("fc", nn.Linear((inputs, *widths)[-1], classes)))
    return nn.Sequential(OrderedDict(layers))

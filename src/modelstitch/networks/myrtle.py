"""The Myrtle CNN: convolutions without skips, after Page (2018, "How to train your ResNet")."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def myrtle(*, width: int = 64, channels: int = 3, classes: int = 10) -> nn.Module:
    """Five blocks of convolution, batch norm and relu, three of them halving the image, then a linear layer.

    Widths are k, 2k, 4k, 8k, 8k. Three halvings leave an image of 8 pixels a side exactly one; larger ones are
    reduced to one by the last pooling.

    Args:
        width: channels of the first block, k.
        channels: channels of the image.
        classes: number of outputs.

    Example:
        >>> import torch
        >>> myrtle(width=4).eval()(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
    widths = (channels, width, 2 * width, 4 * width, 8 * width, 8 * width)
    blocks = [_block(widths[i], widths[i + 1], pool=i in (1, 2, 3)) for i in range(5)]
    last = [("pool", nn.AdaptiveMaxPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(8 * width, classes))]
    return nn.Sequential(OrderedDict([*((f"block{i + 1}", block) for i, block in enumerate(blocks)), *last]))


def _block(channels: int, width: int, *, pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

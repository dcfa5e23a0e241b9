"""Random crops and flips for a whole batch at once, each example with its own.

They act on the stored images, before normalisation, so that the padding is black and not the mean colour.
"""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor


def augment(
    images: Shaped[Tensor, "n c h w"], *, crop: int, flip: bool, generator: torch.Generator
) -> Shaped[Tensor, "n c h w"]:
    """Shift each image by up to ``crop`` pixels each way, zeros moving in, and mirror about half of them.

    ``out[i, :, y, x] = padded[i, :, y + dy_i, x + dx_i]`` with ``dy_i, dx_i`` uniform on ``0 … 2 crop``, the
    result mirrored left to right with probability 1/2 where ``flip`` is set.

    Args:
        images: images of any type.
        crop: zero padding in pixels on each side before a window of the old size is cut out.
        flip: mirror with probability 1/2.
        generator: where the offsets and coins come from; equal generators give equal images.

    Returns:
        Images of the same shape and type.

    Example:
        >>> images = torch.ones(2, 1, 4, 4)
        >>> bool((augment(images, crop=0, flip=True, generator=torch.Generator()) == images).all())
        True
    """
    n, depth, height, width = images.shape
    offsets = torch.randint(0, 2 * crop + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < (0.5 if flip else 0.0)
    columns = torch.arange(width).expand(n, -1)
    columns = torch.where(mirrored, columns.flip(1), columns) + offsets[1]
    lines = torch.arange(height) + offsets[0]
    padded = torch.nn.functional.pad(images, (crop, crop, crop, crop))
    # All four axes are indexed, channels too: permuting afterwards would leave images of one channel with the strides
    # of channels last, a layout in which torch 2.13.0 corrupts memory on the CPU (see pretraining/supervised.py).
    image, channel = torch.arange(n).view(n, 1, 1, 1), torch.arange(depth).view(1, depth, 1, 1)
    return padded[image, channel, lines[:, None, :, None], columns[:, None, None, :]]

"""The random distortions of SimCLR for small images, on whole batches of tensors, each image with its own.

After Chen, Kornblith, Norouzi and Hinton (2020, appendix A and B.9: no blur for small images): a random crop brought
back to the old size, a flip, colour jitter for four images in five, grey for one in five. Images of other than three
channels have no colour: theirs is jitter of brightness and contrast alone. Jitter comes in one fixed order, brightness,
contrast, saturation, hue; elsewhere the order is drawn as well.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

SHARE, STRETCH = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of a crop: its share of the image's area, and its width for its height, even on a logarithmic scale."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.1
JITTERED, GREY = 0.8, 0.2


class _Draws:
    """Uniform numbers, one an image, drawn on the CPU so that every device sees the same."""

    def __init__(self, like: Tensor, generator: torch.Generator) -> None:
        self.n, self.device, self.generator = len(like), like.device, generator

    def between(self, low: float, high: float) -> Float[Tensor, "n 1 1 1"]:
        drawn = torch.rand(self.n, 1, 1, 1, generator=self.generator)
        return (low + (high - low) * drawn).to(self.device)

    def around(self, middle: float, reach: float) -> Float[Tensor, "n 1 1 1"]:
        return self.between(middle - reach, middle + reach)

    def coins(self, share: float) -> Tensor:
        return self.between(0.0, 1.0) < share


def distort(images: UInt8[Tensor, "n c h w"], *, flip: bool, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """One random view of each image.

    Args:
        images: bytes, on any device.
        flip: mirror half of them, where a mirrored example still is what it was.
        generator: where all numbers come from, on the CPU; equal generators give equal views.

    Returns:
        Values from 0 to 1, which stand for bytes from 0 to 255.

    Example:
        >>> images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
        >>> distort(images, flip=True, generator=torch.Generator()).shape
        torch.Size([2, 3, 8, 8])
    """
    draws = _Draws(images, generator)
    x = _cropped(images.float() / 255, draws)
    x = torch.where(draws.coins(0.5 if flip else 0.0), x.flip(3), x)
    x = torch.where(draws.coins(JITTERED), _jittered(x, draws), x)
    if x.shape[1] == 3:
        x = torch.where(draws.coins(GREY), grey(x), x)
    return x


def _cropped(x: Float[Tensor, "n c h w"], draws: _Draws) -> Float[Tensor, "n c h w"]:
    """A random window of each image, brought to the old size; one that is too long for the image is cut short."""
    area, stretch = draws.between(*SHARE), draws.between(*map(math.log, STRETCH)).exp()
    width, height = (area * stretch).sqrt().clamp(max=1), (area / stretch).sqrt().clamp(max=1)
    across, down = draws.around(0.0, 1.0) * (1 - width), draws.around(0.0, 1.0) * (1 - height)
    none = torch.zeros_like(width)
    # Coordinates run from -1 to 1 across the whole image: out(x) = in(width x + across).
    lines = [torch.cat([width, none, across], 3), torch.cat([none, height, down], 3)]
    grid = affine_grid(torch.cat(lines, 2).squeeze(1), list(x.shape), align_corners=False)
    return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _jittered(x: Float[Tensor, "n c h w"], draws: _Draws) -> Float[Tensor, "n c h w"]:
    x = (x * draws.around(1.0, BRIGHTNESS)).clamp(0, 1)
    x = _mixed(x, grey(x).mean((1, 2, 3), keepdim=True), draws.around(1.0, CONTRAST))
    if x.shape[1] == 3:
        x = turned(_mixed(x, grey(x), draws.around(1.0, SATURATION)), draws.around(0.0, HUE))
    return x


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp(0, 1)


def grey(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The lightness of red, green and blue as the eye has it, in all three; other images as they are."""
    if x.shape[1] != 3:
        return x
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def turned(x: Float[Tensor, "n 3 h w"], turn: Float[Tensor, "n 1 1 1"]) -> Float[Tensor, "n 3 h w"]:
    """The hue of each pixel moved around the colour circle by ``turn``, 1 being the whole circle."""
    top, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    # Grey has no hue, and any will do where the saturation is 0.
    reach = torch.where(top > low, top - low, 1.0)
    hue = torch.where(
        red == top,
        (green - blue) / reach,
        torch.where(green == top, 2 + (blue - red) / reach, 4 + (red - green) / reach),
    )
    corner = torch.tensor([5.0, 3.0, 1.0], device=x.device).view(1, 3, 1, 1)
    k = (corner + hue + 6 * turn) % 6
    return top - (top - low) * torch.minimum(k, 4 - k).clamp(0, 1)

"""A small U-Net: a class for each pixel, from features of several sizes.

After Ronneberger, Fischer and Brox (2015, "U-Net: convolutional networks for biomedical image segmentation"), with
batch norms, padded convolutions and half the depth. Beware: between the first halving and the last concatenation more
than one tensor crosses, one for each skip beside the one on its way down and up. So the network can be cut around the
stem, after that concatenation and around the tail, and nowhere between.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from modelstitch.errors import SettingError, ShapeMismatch


class Convolutions(nn.Module):
    """Twice a 3 x 3 convolution, batch norm and relu."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n width h w"]:
        """Features of the same size."""
        changed: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return changed


class U(nn.Module):
    """Down by halves and up again; on the way up what was there on the way down is set beside what comes from below.

    Args:
        width: channels that come in and go out; one level down there are twice as many.
        depth: how often the image is halved.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(Convolutions(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Convolutions(a + b, a) for a, b in pairwise(widths))

    def forward(self, x: Float[Tensor, "n width h w"]) -> Float[Tensor, "n width h w"]:
        """Features that have seen a neighbourhood of each size."""
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(max_pool2d(x, 2))
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = up(torch.cat([interpolate(x, scale_factor=2.0), skip], 1))
        return x


class UNet(nn.Module):
    """A stem, the U, a tail, and a 1 x 1 convolution."""

    def __init__(self, width: int, depth: int, channels: int, classes: int) -> None:
        super().__init__()
        self.least = 2**depth
        self.stem = Convolutions(channels, width)
        self.u = U(width, depth)
        self.tail = Convolutions(width, width)
        self.fc = nn.Conv2d(width, classes, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes h w"]:
        """The logits of each pixel.

        Raises:
            ShapeMismatch: an image whose sides cannot be halved as often as it goes down.
        """
        if any(side % self.least for side in x.shape[2:]):
            found = f"images of {' x '.join(map(str, x.shape[2:]))} pixels"
            do = f"pad them to multiples of {self.least}, or choose another depth"
            raise ShapeMismatch(f"a U-Net that goes down to 1/{self.least} of the image", found, do)
        logits: Tensor = self.fc(self.tail(self.u(self.stem(x))))
        return logits


def unet(*, width: int = 32, depth: int = 2, channels: int = 3, classes: int = 2) -> nn.Module:
    """A freshly initialised U-Net, for images whose sides can be halved ``depth`` times.

    Args:
        width: channels of the stem, doubled at each halving.
        depth: how often the image is halved.
        channels: channels of the image.
        classes: number of outputs a pixel.

    Raises:
        SettingError: no halving, which makes no U.

    Example:
        >>> unet(width=2)(torch.zeros(2, 3, 8, 12)).shape
        torch.Size([2, 2, 8, 12])
    """
    if depth < 1:
        raise SettingError(f"a U-Net of depth {depth}", "nothing to go down", "choose 1 or more")
    return UNet(width, depth, channels, classes)

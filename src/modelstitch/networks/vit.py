"""A vision transformer for small images, with layer norm before attention and before the MLP.

After Dosovitskiy et al. (2021, "An image is worth 16x16 words"), with one change: the class is read from the mean over
all tokens instead of from a token of its own, so that every token is a place in the image. Attention is written out in
plain matrix products: the fused kernels are chosen by device and by whether a gradient is asked for, and round
differently, so that two halves would not add up to the whole bit for bit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.support.tensors import Logits


class Attention(nn.Module):
    """``softmax(q kᵀ / √d) v`` for each head, ``d`` channels wide, the heads then mixed by a linear layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """What each token gathers from all."""
        n, tokens, width = x.shape
        size = width // self.heads
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.mT * size**-0.5).softmax(-1)
        mixed: Tensor = self.mix((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        return mixed


class Block(nn.Module):
    """``x ↦ y + mlp(norm2(y))`` with ``y = x + attention(norm1(x))``; the MLP is four times as wide.

    ``skip`` is an identity that `modelstitch.fold` may replace by a projection of y.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.skip = nn.Identity()

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """The token stream after this block."""
        x = x + self.attention(self.norm1(x))
        changed: Tensor = self.skip(x) + self.mlp(self.norm2(x))
        return changed


class Patches(nn.Module):
    """Each square patch of the image as one token, its place added as a learned vector."""

    def __init__(self, patch: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n tokens width"]:
        """Tokens, line by line.

        Raises:
            ShapeMismatch: an image of another size.
        """
        if x.shape[2:] != (self.size, self.size):
            asked = f"a vision transformer for images of {self.size} x {self.size} pixels"
            found = f"images of {' x '.join(map(str, x.shape[2:]))}"
            raise ShapeMismatch(asked, found, "build it with the size of the images, which must be square")
        tokens: Tensor = self.conv(x).flatten(2).mT + self.place
        return tokens


class VisionTransformer(nn.Module):
    """Patches, blocks, layer norm, mean over the tokens, linear."""

    def __init__(self, patch: int, depth: int, width: int, heads: int, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.patches = Patches(patch, width, channels, size)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Logits:
        """Logits of each image."""
        logits: Tensor = self.fc(self.norm(self.blocks(self.patches(x))).mean(1))
        return logits


def vit(
    *,
    patch: int = 4,
    depth: int = 12,
    width: int = 768,
    heads: int = 12,
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
) -> nn.Module:
    """A freshly initialised vision transformer for square images.

    Args:
        patch: pixels a side of the square that becomes one token.
        depth: number of blocks.
        width: channels of a token.
        heads: of each attention; they share the width.
        channels: channels of the image.
        size: pixels a side of the image.
        classes: number of outputs.

    Raises:
        SettingError: patches that do not fill the image, or heads that do not share the width evenly.

    Example:
        >>> import torch
        >>> vit(depth=2, width=8, heads=2, channels=1, size=28).eval()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    if min(patch, heads) < 1 or size % patch or width % heads:
        found = f"images of {size} pixels a side, and {heads} heads on a width of {width}"
        do = "choose a patch that divides the size, and heads that divide the width"
        raise SettingError(f"a vision transformer with patches of {patch} pixels", found, do)
    return VisionTransformer(patch, depth, width, heads, channels, size, classes)

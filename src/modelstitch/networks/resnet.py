"""ResNets for small images, with batch norm and relu before each convolution.

The pre-activation block is that of He, Zhang, Ren and Sun (2016, "Identity mappings in deep residual networks"), and so
is the last batch norm and relu. The stem is one 3 x 3 convolution without pooling, as usual for images of 32 pixels a
side. Beware: the ResNet-164 of that paper has bottleneck blocks of three convolutions; the one here has the basic block
of two, 27 a stage, as in Bansal, Nakkiran and Barak (2021).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from modelstitch.support.tensors import Logits


class PreActBlock(nn.Module):
    """``x ↦ skip + conv2(relu(bn2(conv1(relu(bn1(x))))))``; the skip is projected only where the shape changes.

    Where the shape stays, ``skip`` is an identity that `modelstitch.fold` may replace by a projection of x.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.skip = nn.Identity()
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        """The block's sum of skip and change."""
        out = relu(self.bn1(x))
        skip = self.skip(x) if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        changed: Tensor = self.conv2(relu(self.bn2(out))) + skip
        return changed


class ResNet(nn.Module):
    """Stem, stages of blocks (``layer1``, ``layer2``, …), batch norm, global average, linear.

    Each stage after the first halves the image and doubles the width.
    """

    def __init__(self, stages: int, blocks: int, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.stages = [f"layer{stage + 1}" for stage in range(stages)]
        before = width
        for stage, name in enumerate(self.stages):
            after, stride = width * 2**stage, 1 if stage == 0 else 2
            first = PreActBlock(before, after, stride)
            setattr(self, name, nn.Sequential(first, *(PreActBlock(after, after, 1) for _ in range(blocks - 1))))
            before = after
        self.bn = nn.BatchNorm2d(before)
        # Modules of their own, so that the pooled features are a place with a name.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Logits:
        """Logits of each image."""
        x = self.conv1(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(relu(self.bn(x))))
        return logits


def resnet18(*, width: int = 64, channels: int = 3, classes: int = 10) -> nn.Module:
    """A freshly initialised ResNet-18, four stages of two blocks, for images of 8 pixels a side or more.

    Args:
        width: channels of the stem and first stage, k; the stages have k, 2k, 4k, 8k.
        channels: channels of the image.
        classes: number of outputs.

    Example:
        >>> import torch
        >>> resnet18(width=4, channels=1).eval()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return ResNet(4, 2, width, channels, classes)


def resnet164(*, width: int = 16, channels: int = 3, classes: int = 10) -> nn.Module:
    """A freshly initialised ResNet-164, three stages of 27 blocks, for images of 4 pixels a side or more.

    Args:
        width: channels of the stem and first stage, k; the stages have k, 2k, 4k.
        channels: channels of the image.
        classes: number of outputs.

    Example:
        >>> import torch
        >>> resnet164(width=2, channels=1).eval()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    return ResNet(3, 27, width, channels, classes)

"""ResNet-18 for small images, with batch norm and relu before each convolution.

The pre-activation block is that of He, Zhang, Ren and Sun (2016, "Identity mappings in deep residual networks"). The
stem is one 3 x 3 convolution without pooling, as usual for images of 32 pixels a side; the widths are k, 2k, 4k, 8k.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from modelstitch.tensors import Logits


class PreActBlock(nn.Module):
    """``x ↦ skip + conv2(relu(bn2(conv1(relu(bn1(x))))))``; the skip is projected only where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k p q"]:
        """The block's sum of skip and change."""
        out = relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        changed: Tensor = self.conv2(relu(self.bn2(out))) + skip
        return changed


class ResNet18(nn.Module):
    """Stem, four stages of two blocks, batch norm, global average, linear."""

    def __init__(self, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.bn = nn.BatchNorm2d(8 * width)
        # Modules of their own, so that the pooled features are a place with a name.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Logits:
        """Logits of each image."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        logits: Tensor = self.fc(self.pool(relu(self.bn(x))))
        return logits


def _stage(channels: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(PreActBlock(channels, width, stride), PreActBlock(width, width, 1))


def resnet18(*, width: int = 64, channels: int = 3, classes: int = 10) -> nn.Module:
    """A freshly initialised ResNet-18 for images of 8 pixels a side or more.

    Args:
        width: channels of the stem and first stage, k.
        channels: channels of the image.
        classes: number of outputs.

    Example:
        >>> import torch
        >>> resnet18(width=4, channels=1).eval()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return ResNet18(width, channels, classes)

"""Classes of torchvision with few and narrow blocks: classifiers, segmentation, and the backbones of detectors.

Each function builds one at a width, a number that all its channels follow.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision import models, ops
from torchvision.models import detection, efficientnet, mobilenetv3, regnet, segmentation
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import BasicBlock, Bottleneck

from catalogue.entry import Entry, images, labels, pixels

CLASSES, WIDTH, WIDE = 5, 16, 24
ResNet = partial(models.ResNet, num_classes=CLASSES)


def mobilenet_v2(width: int) -> nn.Module:
    """Expansion, channels, repeats and stride of each stage."""
    stages = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]
    return models.MobileNetV2(CLASSES, inverted_residual_setting=stages, width_mult=width / 8)


def mobilenet_v3(width: int) -> mobilenetv3.MobileNetV3:
    """Blocks with and without squeeze and excitation, the second and third of them strided."""
    told = [(16, 3, 16, 16, True, "RE", 1), (16, 3, 48, 24, False, "RE", 2), (24, 5, 64, 32, True, "HS", 2)]
    blocks = [mobilenetv3.InvertedResidualConfig(*one, dilation=1, width_mult=width / 16) for one in told]
    return models.MobileNetV3(blocks, 4 * width, num_classes=CLASSES)


def efficient(width: int) -> nn.Module:
    """Three stages of inverted bottlenecks."""
    told = [(1, 3, 1, 16, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 32, 1)]
    stages = [efficientnet.MBConvConfig(*one, width_mult=width / 16) for one in told]
    return models.EfficientNet(stages, 0.0, num_classes=CLASSES)


def regular(width: int) -> nn.Module:
    """Four blocks, with squeeze and excitation."""
    told = regnet.BlockParams.from_init_params(4, width, 8.0, 2.0, 8, se_ratio=0.25)
    return models.RegNet(told, CLASSES, stem_width=8)


def shuffled(width: int) -> nn.Module:
    """Channels shuffled between two groups."""
    return models.ShuffleNetV2([1, 2, 1], [width, 2 * width, 4 * width, 8 * width, 8 * width], CLASSES)


def dense(width: int) -> nn.Module:
    """Two dense blocks."""
    return models.DenseNet(width // 2, (2, 2), width, num_classes=CLASSES)


def convnext(width: int) -> nn.Module:
    """Two stages."""
    return models.ConvNeXt([CNBlockConfig(width, 2 * width, 1), CNBlockConfig(2 * width, None, 2)], num_classes=CLASSES)


def swin(width: int) -> nn.Module:
    """Two stages, one shifted window in each."""
    return models.SwinTransformer([4, 4], width, [2, 2], [2, 2], [4, 4], num_classes=CLASSES)


def vision_transformer(width: int) -> nn.Module:
    """Three blocks over 16 patches."""
    return models.VisionTransformer(32, 8, 3, 4, 2 * width, 40, num_classes=CLASSES)


def maxvit(width: int) -> nn.Module:
    """One stage of two layers, attention over windows and over a grid."""
    return models.MaxVit((56, 56), width, 7, [width], [2], 8, 0.0, num_classes=CLASSES)


def residual(**told: Any) -> nn.Module:
    """A residual network of four blocks."""
    return ResNet(BasicBlock, [1, 1, 1, 1], **told)


def body(*layers: str) -> nn.Module:
    """A residual network without its head, several of whose maps are given."""
    return IntermediateLayerGetter(residual(), dict(zip(layers, ("out", "aux"), strict=False)))


def fully_convolutional() -> nn.Module:
    """With a second head, as it is trained."""
    heads = [segmentation.fcn.FCNHead(channels, CLASSES) for channels in (512, 256)]
    return segmentation.FCN(body("layer4", "layer3"), *heads)


def deeplab() -> nn.Module:
    """Dilated convolutions of several rates."""
    return segmentation.DeepLabV3(body("layer4"), segmentation.deeplabv3.DeepLabHead(512, CLASSES))


def lraspp(width: int) -> nn.Module:
    """Two maps of a MobileNet V3."""
    backbone = IntermediateLayerGetter(mobilenet_v3(width).features, {"1": "low", "3": "high"})
    return segmentation.LRASPP(backbone, width, 2 * width, CLASSES, inter_channels=width)


def pyramid(width: int) -> nn.Module:
    """The backbone of Faster R-CNN: maps of four sizes, and a pooled one."""
    layers = {f"layer{place}": str(place) for place in (1, 2, 3, 4)}
    return detection.backbone_utils.BackboneWithFPN(residual(), layers, [64, 128, 256, 512], width)


def longer_pyramid(width: int) -> nn.Module:
    """The backbone of RetinaNet: two further maps by convolutions."""
    more = ops.feature_pyramid_network.LastLevelP6P7(width, width)
    layers = {f"layer{place}": str(place) for place in (2, 3, 4)}
    return detection.backbone_utils.BackboneWithFPN(residual(), layers, [128, 256, 512], width, more)


def _classifier(name: str, make: Any, side: int = 64, *, widens: bool = True) -> Entry:
    narrow, wide = (partial(make, WIDTH), partial(make, WIDE)) if widens else (make, None)
    return Entry("torchvision", name, narrow, images(side), labels(CLASSES), wide)


def _segmenter(name: str, make: Any) -> Entry:
    return Entry("torchvision", name, make, images(64), pixels(CLASSES, 64))


ENTRIES = [
    _classifier("ResNet, basic blocks", residual, widens=False),
    _classifier("ResNet, bottlenecks", partial(ResNet, Bottleneck, [1, 1, 1, 1]), widens=False),
    _classifier("ResNeXt", partial(ResNet, Bottleneck, [1, 1, 1, 1], groups=4, width_per_group=4), widens=False),
    _classifier("AlexNet", partial(models.AlexNet, CLASSES), widens=False),
    _classifier("SqueezeNet", partial(models.SqueezeNet, "1_1", CLASSES), widens=False),
    _classifier("DenseNet", dense),
    _classifier("ShuffleNetV2", shuffled),
    _classifier("MobileNetV2", mobilenet_v2),
    _classifier("MobileNetV3", mobilenet_v3),
    _classifier("EfficientNet", efficient),
    _classifier("RegNet", regular),
    _classifier("ConvNeXt", convnext),
    _classifier("SwinTransformer", swin, 32),
    _classifier("VisionTransformer", vision_transformer, 32),
    _classifier("MaxVit", maxvit, 56),
    _segmenter("FCN", fully_convolutional),
    _segmenter("DeepLabV3", deeplab),
    _segmenter("LRASPP", partial(lraspp, WIDTH)),
    Entry("torchvision", "BackboneWithFPN", partial(pyramid, WIDTH), images(64)),
    Entry("torchvision", "BackboneWithFPN, P6 and P7", partial(longer_pyramid, WIDTH), images(64)),
]

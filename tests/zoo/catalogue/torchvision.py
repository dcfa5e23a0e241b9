"""Models of torchvision: classifiers, segmentation, and the backbones of detectors, as small as they can be told to be."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision import models, ops
from torchvision.models import detection, segmentation

from catalogue.entry import Entry, images, labels, pixels

CLASSES = 5


def pyramid() -> nn.Module:
    """The backbone of a detector: ResNet-18 with maps of five sizes."""
    return detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None)


def feature_pyramid() -> nn.Module:
    """The backbone of RetinaNet."""
    more = ops.feature_pyramid_network.LastLevelP6P7(256, 256)
    return detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4], extra_blocks=more
    )


CLASSIFIERS: list[tuple[str, dict[str, Any], int]] = [
    ("resnet18", {}, 64),
    ("alexnet", {}, 64),
    ("squeezenet1_1", {}, 64),
    ("googlenet", {"aux_logits": False, "init_weights": False}, 64),
    ("shufflenet_v2_x0_5", {}, 64),
    ("mobilenet_v2", {"width_mult": 0.25}, 64),
    ("mobilenet_v3_small", {"width_mult": 0.5}, 64),
    ("mnasnet0_5", {}, 64),
    ("efficientnet_b0", {}, 64),
    ("regnet_y_400mf", {}, 64),
    ("convnext_tiny", {}, 64),
    ("swin_t", {}, 64),
]
VIT = {"image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 48}
MAXVIT = {"input_size": (56, 56), "stem_channels": 16, "partition_size": 7, "head_dim": 8, "stochastic_depth_prob": 0.0}
SEGMENTERS = [segmentation.fcn_resnet50, segmentation.deeplabv3_mobilenet_v3_large, segmentation.lraspp_mobilenet_v3_large]


def classifier(name: str, **told: Any) -> nn.Module:
    """A model by its name, its weights random."""
    return models.get_model(name, weights=None, num_classes=CLASSES, **told).eval()


def vision_transformer(width: int) -> nn.Module:
    """A vision transformer of three blocks."""
    return models.VisionTransformer(**{**VIT, "hidden_dim": width}, num_classes=CLASSES).eval()


def maxvit() -> nn.Module:
    """A MaxVit of two stages."""
    return models.MaxVit(**MAXVIT, block_channels=[16, 24], block_layers=[1, 1], num_classes=CLASSES).eval()


def segmenter(make: Any) -> nn.Module:
    """A network of one class a pixel."""
    return make(weights=None, weights_backbone=None, num_classes=CLASSES).eval()


_seen = partial(Entry, "torchvision")
ENTRIES = [
    *(_seen(name, partial(classifier, name, **told), images(side), labels(CLASSES)) for name, told, side in CLASSIFIERS),
    _seen("VisionTransformer", partial(vision_transformer, 32), images(32), labels(CLASSES), partial(vision_transformer, 48)),
    _seen("MaxVit", maxvit, images(56), labels(CLASSES)),
    *(_seen(make.__name__, partial(segmenter, make), images(64), pixels(CLASSES, 64)) for make in SEGMENTERS),
    _seen("resnet_fpn_backbone", pyramid, images(64)),
    _seen("resnet_fpn_backbone_p6p7", feature_pyramid, images(64)),
]

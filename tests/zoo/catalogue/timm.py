"""Models of timm: the name, what makes it narrow, what makes it wide, and the side of its images.

At least sixty families, a family being a module of `timm.models`. Without a wide form nothing is proved of its axes.
"""

from __future__ import annotations

import sys
import unittest.mock
from functools import partial
from typing import Any

import timm
import torch
from torch import nn

from catalogue.entry import Entry, images, labels

CLASSES = 7


def half_as_many_again(channels: int) -> int:
    """A wider number of channels."""
    return channels * 3 // 16 * 8


ROWS: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("convnext_atto", {"dims": (8, 16, 24, 32), "depths": (1, 1, 2, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("convnextv2_atto", {"dims": (8, 16, 24, 32), "depths": (1, 1, 2, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("edgenext_xx_small", {"dims": (24, 48, 88, 168), "depths": (1, 1, 2, 1)}, {"dims": (32, 64, 96, 176)}, 64),
    ("focalnet_tiny_srf", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, {"embed_dim": 32}, 64),
    ("vit_tiny_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    (
        "swin_tiny_patch4_window7_224",
        {"img_size": 56, "embed_dim": 24, "depths": (1, 2), "num_heads": (3, 3)},
        {"embed_dim": 48},
        56,
    ),
    (
        "swinv2_tiny_window8_256",
        {"img_size": 64, "embed_dim": 24, "depths": (1, 2), "num_heads": (3, 3)},
        {"embed_dim": 48},
        64,
    ),
    ("mixer_s16_224", {"img_size": 64, "embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 64),
    ("gmixer_12_224", {"img_size": 64, "embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 64),
    ("resmlp_12_224", {"img_size": 64, "embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 64),
    ("gmlp_ti16_224", {"img_size": 64, "embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 64),
    ("vit_small_patch16_dinov3", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    ("vit_small_patch14_dinov2", {"embed_dim": 48, "depth": 3, "img_size": 70}, {"embed_dim": 96}, 70),
    ("eva02_tiny_patch14_224", {"img_size": 70, "embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 70),
    ("beit_base_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    ("deit3_small_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    ("cait_xxs24_224", {"img_size": 64, "embed_dim": 48, "depth": 2}, {"embed_dim": 96}, 64),
    ("levit_128s", {"img_size": 64, "embed_dim": (32, 64, 96), "depth": (1, 1, 1)}, {"embed_dim": (48, 80, 112)}, 64),
    ("xcit_nano_12_p16_224", {"img_size": 64, "embed_dim": 32, "depth": 3}, {"embed_dim": 64}, 64),
    ("poolformer_s12", {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("caformer_s18", {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1)}, {"dims": (16, 32, 64, 96)}, 64),
    ("pvt_v2_b0", {"embed_dims": (8, 16, 40, 64), "depths": (1, 1, 1, 1)}, {"embed_dims": (16, 32, 80, 128)}, 64),
    (
        "twins_svt_small",
        {"embed_dims": (16, 32, 64, 128), "depths": (1, 2, 2, 1)},
        {"embed_dims": (32, 64, 128, 256)},
        224,
    ),
    ("efficientnet_lite0", {}, {"round_chs_fn": half_as_many_again}, 64),
    ("mobilenetv3_small_100", {}, {"round_chs_fn": half_as_many_again}, 64),
    ("resnet18", {"channels": (8, 16, 24, 32), "layers": (1, 1, 1, 1)}, {"channels": (12, 20, 28, 36)}, 64),
    ("seresnet18", {"channels": (32, 32, 32, 32), "layers": (1, 1, 1, 1)}, {"channels": (48, 48, 48, 48)}, 64),
    ("ecaresnet50t", {"channels": (8, 16, 24, 32), "layers": (1, 1, 1, 1)}, {"channels": (12, 20, 28, 36)}, 64),
    ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, {"growth_rate": 12}, 64),
    ("convmixer_768_32", {"dim": 16, "depth": 3}, {"dim": 24}, 64),
    ("ghostnet_100", {}, {"width": 1.5}, 64),
    ("sequencer2d_s", {"embed_dims": (16, 24, 24, 24), "layers": (1, 1, 1, 1)}, {"embed_dims": (24, 36, 36, 36)}, 224),
    (
        "davit_tiny",
        {"embed_dims": (16, 32, 48, 64), "num_heads": (2, 2, 2, 2), "depths": (1, 1, 1, 1)},
        {"embed_dims": (24, 48, 64, 80)},
        224,
    ),
    ("hiera_tiny_224", {"embed_dim": 32, "stages": (1, 1, 1, 1)}, {"embed_dim": 64}, 224),
    (
        "efficientformer_l1",
        {"embed_dims": (16, 24, 32, 48), "depths": (1, 1, 1, 2)},
        {"embed_dims": (24, 32, 40, 56)},
        224,
    ),
    ("inception_next_atto", {"dims": (32, 64, 96, 128), "depths": (1, 1, 2, 1)}, {"dims": (48, 80, 112, 144)}, 64),
    ("starnet_s1", {"base_dim": 8, "depths": (1, 1, 2, 1)}, {"base_dim": 12}, 64),
    ("visformer_tiny", {"img_size": 64, "embed_dim": 48, "depth": (1, 1, 2)}, {"embed_dim": 96}, 64),
    (
        "coat_tiny",
        {"embed_dims": (24, 24, 24, 24), "serial_depths": (1, 1, 1, 1), "parallel_depth": 1},
        {"embed_dims": (48, 48, 48, 48)},
        224,
    ),
    ("repvgg_a0", {}, {}, 64),
    ("lambda_resnet26t", {}, {}, 128),
    ("convit_tiny", {"img_size": 64, "embed_dim": 48, "depth": 3, "local_up_to_layer": 2}, {"embed_dim": 96}, 64),
    ("crossvit_tiny_240", {"depth": ((1, 1, 0),), "embed_dim": (24, 48)}, {}, 240),
    ("darknet17", {}, {}, 64),
    ("dla46_c", {}, {}, 64),
    ("efficientformerv2_s0", {"depths": (1, 1, 1, 1), "num_vit": 1}, {}, 224),
    ("efficientvim_m1", {"embed_dim": (32, 48, 64), "depths": (1, 1, 1)}, {"embed_dim": (48, 64, 80)}, 224),
    ("efficientvit_b0", {}, {}, 64),
    ("efficientvit_m0", {"embed_dim": (16, 32, 48), "depth": (1, 1, 1)}, {"embed_dim": (32, 64, 96)}, 224),
    ("fasternet_t0", {"embed_dim": 16, "depths": (1, 1, 1, 1)}, {"embed_dim": 32}, 64),
    ("fastvit_t8", {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}, {"embed_dims": (24, 48, 96, 192)}, 64),
    ("gcvit_xxtiny", {"embed_dim": 16, "depths": (1, 1, 1, 1)}, {"embed_dim": 32}, 224),
    (
        "hieradet_small",
        {"embed_dim": 32, "num_heads": 2, "stages": (1, 1, 2, 1), "global_att_blocks": (3,)},
        {"embed_dim": 64},
        224,
    ),
    ("mambaout_femto", {"dims": (16, 24, 32, 48), "depths": (1, 1, 1, 1)}, {"dims": (24, 32, 48, 64)}, 64),
    ("mobilevit_xxs", {}, {}, 64),
    (
        "nest_tiny",
        {"embed_dims": (16, 32, 64), "num_heads": (2, 2, 2), "depths": (1, 1, 1)},
        {"embed_dims": (32, 64, 96)},
        224,
    ),
    ("pit_ti_224", {"base_dims": (16, 16, 16), "depth": (1, 1, 1)}, {"base_dims": (24, 24, 24)}, 224),
    ("regnetx_002", {}, {}, 64),
    ("repvit_m0_9", {"embed_dim": (16, 24, 32, 48), "depth": (1, 1, 2, 1)}, {"embed_dim": (24, 32, 48, 64)}, 64),
    ("res2net50_14w_8s", {"layers": (1, 1, 1, 1)}, {}, 64),
    ("resnest14d", {"layers": (1, 1, 1, 1)}, {}, 64),
    (
        "resnetv2_18",
        {"layers": (1, 1, 1, 1), "channels": (16, 16, 24, 32), "stem_chs": 16},
        {"channels": (24, 24, 32, 40)},
        64,
    ),
    ("shvit_s1", {"embed_dim": (32, 48, 64), "partial_dim": (8, 12, 16)}, {"embed_dim": (48, 64, 80)}, 128),
    ("skresnet18", {"channels": (16, 16, 32, 32), "layers": (1, 1, 1, 1)}, {}, 64),
    ("swiftformer_xs", {"layers": (1, 1, 1, 1), "embed_dims": (16, 24, 32, 48)}, {"embed_dims": (24, 32, 48, 64)}, 64),
    (
        "swinv2_cr_tiny_224",
        {"img_size": 64, "embed_dim": 24, "depths": (1, 2), "num_heads": (3, 3)},
        {"embed_dim": 48},
        64,
    ),
    (
        "tiny_vit_5m_224",
        {"embed_dims": (32, 32, 64, 64), "num_heads": (2, 2, 2, 2), "depths": (1, 1, 1, 1)},
        {"embed_dims": (64, 64, 96, 96)},
        224,
    ),
    ("tnt_s_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3, "inner_dim": 16}, {"embed_dim": 96}, 64),
    ("tresnet_m", {"layers": (1, 1, 1, 1)}, {}, 64),
    ("vit_relpos_small_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    ("samvit_base_patch16_224", {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 4}, {"embed_dim": 96}, 64),
    ("volo_d1_224", {"layers": (1, 1, 1, 1), "embed_dims": (24, 48, 48, 48)}, {"embed_dims": (48, 96, 96, 96)}, 224),
    ("ese_vovnet19b_slim_dw", {}, {}, 64),
]


def family(name: str) -> str:
    """The module of timm that a model stands in."""
    return timm.models.model_entrypoint(name).__module__.rpartition(".")[2]


def built(name: str, told: dict[str, Any]) -> nn.Module:
    """One of timm's models with other sizes, also where its own function fixes them."""
    state = torch.get_rng_state()
    try:
        return timm.create_model(name, num_classes=CLASSES, **told).eval()
    except TypeError:
        torch.set_rng_state(state)
        home = sys.modules[timm.models.model_entrypoint(name).__module__]
        build = home.build_model_with_cfg
        with unittest.mock.patch.object(home, "build_model_with_cfg", lambda *a, **k: build(*a, **{**k, **told})):
            return timm.create_model(name, num_classes=CLASSES).eval()


ENTRIES = [
    Entry(
        "timm",
        name,
        partial(built, name, narrow),
        images(side),
        labels(CLASSES),
        partial(built, name, {**narrow, **wide}) if wide else None,
    )
    for name, narrow, wide, side in ROWS
]

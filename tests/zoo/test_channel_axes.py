"""The channel axes of published architectures at two widths; random weights, nothing is downloaded."""

import warnings

import pytest
import torch

from widths import compared_widths

timm = pytest.importorskip("timm")

# The model, what makes it narrow, what makes it wide, and the side of its images.
TIMM = [
    ("convnext_atto", {"dims": (8, 16, 24, 32), "depths": (1, 1, 2, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("convnextv2_atto", {"dims": (8, 16, 24, 32), "depths": (1, 1, 2, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("edgenext_xx_small", {"dims": (24, 48, 88, 168)}, {"dims": (32, 64, 96, 176)}, 64),
    ("focalnet_tiny_srf", {"embed_dim": 24, "depths": (1, 1, 1, 1)}, {"embed_dim": 32}, 64),
    ("vit_tiny_patch16_224", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 224),
    ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": (1, 2, 1, 1)}, {"embed_dim": 48}, 224),
    ("swinv2_tiny_window8_256", {"embed_dim": 24, "depths": (1, 2, 1, 1)}, {"embed_dim": 48}, 256),
    ("mixer_s16_224", {"embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 224),
    ("gmixer_12_224", {"embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 224),
    ("resmlp_12_224", {"embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 224),
    ("gmlp_ti16_224", {"embed_dim": 48, "num_blocks": 3}, {"embed_dim": 64}, 224),
    ("vit_small_patch16_dinov3", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 64),
    ("vit_small_patch14_dinov2", {"embed_dim": 48, "depth": 3, "img_size": 70}, {"embed_dim": 96}, 70),
    ("eva02_tiny_patch14_224", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 224),
    ("beit_base_patch16_224", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 224),
    ("deit3_small_patch16_224", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 224),
    ("cait_xxs24_224", {"embed_dim": 48, "depth": 3}, {"embed_dim": 96}, 224),
    ("levit_128s", {"embed_dim": (32, 64, 96)}, {"embed_dim": (48, 80, 112)}, 224),
    ("coat_tiny", {"embed_dims": (24, 24, 24, 24)}, {"embed_dims": (48, 48, 48, 48)}, 224),
    ("xcit_nano_12_p16_224", {"embed_dim": 32, "depth": 3}, {"embed_dim": 64}, 224),
    ("poolformer_s12", {"embed_dims": (8, 16, 24, 32)}, {"embed_dims": (12, 20, 28, 36)}, 64),
    ("caformer_s18", {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1)}, {"dims": (16, 32, 64, 96)}, 64),
    ("pvt_v2_b0", {"embed_dims": (8, 16, 40, 64)}, {"embed_dims": (16, 32, 80, 128)}, 64),
    ("twins_svt_small", {"embed_dims": (16, 32, 64, 128)}, {"embed_dims": (32, 64, 128, 256)}, 224),
    ("pit_ti_224", {"base_dims": (8, 8, 8)}, {"base_dims": (16, 16, 16)}, 224),
    ("crossvit_9_240", {"embed_dim": (16, 32)}, {"embed_dim": (32, 64)}, 240),
    ("efficientnet_lite0", {}, {"channel_multiplier": 1.5}, 64),
    ("efficientnet_b0", {}, {"channel_multiplier": 1.5}, 64),
    ("mobilenetv3_small_100", {}, {"channel_multiplier": 1.5}, 64),
    ("resnet18", {"channels": (8, 16, 24, 32)}, {"channels": (12, 20, 28, 36)}, 64),
    ("seresnet18", {"channels": (32, 32, 32, 32)}, {"channels": (48, 48, 48, 48)}, 64),
    ("ecaresnet50t", {"channels": (8, 16, 24, 32)}, {"channels": (12, 20, 28, 36)}, 64),
    ("densenet121", {"growth_rate": 8}, {"growth_rate": 12}, 64),
    ("nf_resnet26", {"width_factor": 0.25}, {"width_factor": 0.5}, 64),
    ("regnetx_002", {"w0": 24}, {"w0": 48}, 64),
    ("hrnet_w18_small", None, None, 64),
    (
        "maxvit_tiny_rw_224",
        {"embed_dim": (32, 64, 64, 64), "depths": (1, 1, 1, 1)},
        {"embed_dim": (64, 96, 96, 96)},
        224,
    ),
    ("convmixer_768_32", {"dim": 16, "depth": 3}, {"dim": 24}, 64),
    ("ghostnet_100", {}, {"width": 1.5}, 64),
    ("repvgg_a0", {}, {}, 64),
    ("vgg11", {}, {}, 64),
    ("inception_v3", {}, {}, 128),
    ("sequencer2d_s", {"embed_dims": (16, 24, 24, 24), "layers": (1, 1, 1, 1)}, {"embed_dims": (24, 36, 36, 36)}, 224),
    ("volo_d1_224", None, None, 224),
    ("mobilevit_xxs", None, None, 64),
    ("nextvit_small", None, None, 64),
    ("davit_tiny", {"embed_dims": (16, 32, 48, 64), "num_heads": (2, 2, 2, 2)}, {"embed_dims": (24, 48, 64, 80)}, 224),
    ("gcvit_xxtiny", None, None, 224),
    ("tiny_vit_5m_224", {"embed_dims": (32, 64, 96, 128)}, {"embed_dims": (64, 128, 160, 192)}, 224),
    ("efficientformer_l1", {"embed_dims": (16, 24, 32, 48)}, {"embed_dims": (24, 32, 40, 56)}, 224),
    ("fastvit_t8", {"embed_dims": (16, 32, 48, 64)}, {"embed_dims": (24, 40, 56, 72)}, 64),
    ("hiera_tiny_224", {"embed_dim": 32, "stages": (1, 1, 1, 1)}, {"embed_dim": 64}, 224),
    ("inception_next_atto", {"dims": (32, 64, 96, 128)}, {"dims": (48, 80, 112, 144)}, 64),
    ("rdnet_tiny", None, None, 64),
    ("starnet_s1", {"base_dim": 8}, {"base_dim": 12}, 64),
    ("vovnet39a", {}, {}, 64),
    ("visformer_tiny", {"embed_dim": 48}, {"embed_dim": 96}, 224),
    ("nest_tiny", {"embed_dims": (24, 48, 96), "num_heads": (2, 2, 2)}, {"embed_dims": (48, 96, 144)}, 224),
]
USABLE = [row for row in TIMM if row[1] is not None and row[1] != row[2]]


def timm_widths(name, narrow, wide, side, **settings):
    """What is found in one of timm's architectures at two widths."""
    torch.manual_seed(0)
    a, b = (timm.create_model(name, num_classes=7, **told).eval() for told in (narrow, {**narrow, **wide}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compared_widths(a, b, torch.randn(2, 3, side, side), **settings)


@pytest.mark.parametrize("row", USABLE, ids=[row[0] for row in USABLE])
def test_only_the_claimed_axis_follows_the_width(row):
    found = timm_widths(*row)
    assert not found.wrong, str(found)
    assert found.right

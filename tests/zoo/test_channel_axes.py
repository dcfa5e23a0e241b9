"""The channel axes of published architectures at two widths; random weights, nothing is downloaded."""

import sys
import unittest.mock
import warnings

import pytest
import timm
import torch
import transformers
from torch import nn

from widths import compared_widths


def half_as_many_again(channels):
    """A wider number of channels."""
    return channels * 3 // 16 * 8


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
    ("xcit_nano_12_p16_224", {"embed_dim": 32, "depth": 3}, {"embed_dim": 64}, 224),
    ("poolformer_s12", {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}, {"dims": (12, 20, 28, 36)}, 64),
    ("caformer_s18", {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1)}, {"dims": (16, 32, 64, 96)}, 64),
    ("pvt_v2_b0", {"embed_dims": (8, 16, 40, 64)}, {"embed_dims": (16, 32, 80, 128)}, 64),
    ("twins_svt_small", {"embed_dims": (16, 32, 64, 128)}, {"embed_dims": (32, 64, 128, 256)}, 224),
    ("efficientnet_lite0", {}, {"round_chs_fn": half_as_many_again}, 64),
    ("mobilenetv3_small_100", {}, {"round_chs_fn": half_as_many_again}, 64),
    ("resnet18", {"channels": (8, 16, 24, 32)}, {"channels": (12, 20, 28, 36)}, 64),
    ("seresnet18", {"channels": (32, 32, 32, 32)}, {"channels": (48, 48, 48, 48)}, 64),
    ("ecaresnet50t", {"channels": (8, 16, 24, 32)}, {"channels": (12, 20, 28, 36)}, 64),
    ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, {"growth_rate": 12}, 64),
    ("convmixer_768_32", {"dim": 16, "depth": 3}, {"dim": 24}, 64),
    ("ghostnet_100", {}, {"width": 1.5}, 64),
    ("sequencer2d_s", {"embed_dims": (16, 24, 24, 24), "layers": (1, 1, 1, 1)}, {"embed_dims": (24, 36, 36, 36)}, 224),
    ("davit_tiny", {"embed_dims": (16, 32, 48, 64), "num_heads": (2, 2, 2, 2)}, {"embed_dims": (24, 48, 64, 80)}, 224),
    ("hiera_tiny_224", {"embed_dim": 32, "stages": (1, 1, 1, 1)}, {"embed_dim": 64}, 224),
    ("efficientformer_l1", {"embed_dims": (16, 24, 32, 48)}, {"embed_dims": (24, 32, 40, 56)}, 224),
    ("inception_next_atto", {"dims": (32, 64, 96, 128)}, {"dims": (48, 80, 112, 144)}, 64),
    ("starnet_s1", {"base_dim": 8}, {"base_dim": 12}, 64),
    ("visformer_tiny", {"embed_dim": 48}, {"embed_dim": 96}, 224),
    # Its export takes minutes.
    ("coat_tiny", {"embed_dims": (24, 24, 24, 24)}, {"embed_dims": (48, 48, 48, 48)}, 224),
]


def timm_network(name, told):
    """One of timm's architectures with other sizes, also where its own function fixes them."""
    torch.manual_seed(0)
    try:
        return timm.create_model(name, num_classes=7, **told).eval()
    except TypeError:
        home = sys.modules[timm.models.model_entrypoint(name).__module__]
        build = home.build_model_with_cfg
        with unittest.mock.patch.object(home, "build_model_with_cfg", lambda *a, **k: build(*a, **{**k, **told})):
            return timm.create_model(name, num_classes=7).eval()


def timm_widths(name, narrow, wide, side):
    """What is found in one of timm's architectures at two widths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        two = [timm_network(name, told) for told in (narrow, {**narrow, **wide})]
        return compared_widths(*two, torch.randn(2, 3, side, side))


@pytest.mark.parametrize("row", TIMM, ids=[row[0] for row in TIMM])
def test_only_the_claimed_axis_follows_the_width(row):
    found = timm_widths(*row)
    assert not found.wrong, str(found)
    assert found.right


TEXT, PIXELS = {"hidden_size": 32, "num_attention_heads": 4}, {"image_size": 32}
LLAMA = {"num_key_value_heads": 2, "num_hidden_layers": 2, "intermediate_size": 40, "vocab_size": 50, "pad_token_id": 0}
BERT = {"num_hidden_layers": 2, "intermediate_size": 40, "vocab_size": 50}
T5 = {"d_model": 32, "d_kv": 8, "num_heads": 4, "num_layers": 2, "d_ff": 40, "vocab_size": 50}
# The class, what its configuration has at both widths, and what makes it wide; its input is words or an image.
TRANSFORMERS = [
    ("LlamaForCausalLM", TEXT | LLAMA, {"hidden_size": 48}, "words"),
    ("Qwen2ForCausalLM", TEXT | LLAMA, {"hidden_size": 48}, "words"),
    ("Qwen3ForCausalLM", TEXT | LLAMA | {"head_dim": 8}, {"hidden_size": 48}, "words"),
    ("MistralForCausalLM", TEXT | LLAMA, {"hidden_size": 48}, "words"),
    ("GemmaForCausalLM", TEXT | LLAMA | {"head_dim": 8}, {"hidden_size": 48}, "words"),
    ("T5EncoderModel", T5, {"d_model": 48}, "words"),
    ("GPT2LMHeadModel", {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": 50}, {"n_embd": 48}, "words"),
    ("GPTNeoXForCausalLM", TEXT | BERT, {"hidden_size": 48}, "words"),
    ("BertModel", TEXT | BERT, {"hidden_size": 48}, "words"),
    ("RobertaModel", TEXT | BERT, {"hidden_size": 48}, "words"),
    (
        "DistilBertModel",
        {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 40, "vocab_size": 50},
        {"dim": 48},
        "words",
    ),
    ("ViTModel", TEXT | PIXELS | {"num_hidden_layers": 2, "patch_size": 8}, {"hidden_size": 48}, "image"),
    (
        "SwinModel",
        PIXELS | {"patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
        {"embed_dim": 24},
        "image",
    ),
    (
        "ConvNextModel",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        {"hidden_sizes": [12, 20, 28, 36]},
        "image",
    ),
    (
        "DINOv3ViTModel",
        TEXT | PIXELS | {"num_hidden_layers": 2, "patch_size": 8, "intermediate_size": 40},
        {"hidden_size": 48},
        "image",
    ),
    ("Dinov2Model", TEXT | PIXELS | {"num_hidden_layers": 2, "patch_size": 8}, {"hidden_size": 48}, "image"),
    (
        "SegformerModel",
        {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1]},
        {"hidden_sizes": [32, 64, 80, 128]},
        "image",
    ),
    (
        "ResNetModel",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        {"hidden_sizes": [12, 20]},
        "image",
    ),
    (
        "FocalNetModel",
        PIXELS | {"embed_dim": 16, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]},
        {"embed_dim": 24},
        "image",
    ),
    (
        "MobileViTModel",
        PIXELS | {"hidden_sizes": [16, 24, 32]},
        {"hidden_sizes": [24, 32, 40], "neck_hidden_sizes": [8, 16, 32, 40, 48, 64, 160]},
        "image",
    ),
]


class Answering(nn.Module):
    """A network of transformers as one of tensors."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def transformers_network(name, told):
    """One of transformers' classes, small."""
    torch.manual_seed(0)
    made = getattr(transformers, name)
    config = made.config_class(**told)
    config.use_cache = False
    return Answering(made(config)).eval()


def transformers_widths(name, narrow, wide, takes):
    """What is found in one of transformers' classes at two widths."""
    example = torch.arange(18).view(2, 9) % 49 + 1 if takes == "words" else torch.randn(2, 3, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compared_widths(*(transformers_network(name, told) for told in (narrow, narrow | wide)), example)


@pytest.mark.parametrize("row", TRANSFORMERS, ids=[row[0] for row in TRANSFORMERS])
def test_only_the_claimed_axis_follows_the_width_in_transformers(row):
    found = transformers_widths(*row)
    assert not found.wrong, str(found)
    assert found.right

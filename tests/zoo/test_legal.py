"""Cuts of networks that others wrote: tiny ones of transformers' and timm's own classes, with random weights."""

import pytest
import torch
import transformers
from timm.models.convmixer import ConvMixer
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from modelstitch.cut import capture
from modelstitch.support.seeding import seeded

WORDS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 49}
GPT2 = {**WORDS, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32, "use_cache": False}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
WIDE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 8,
    "max_source_positions": 10,
    "vocab_size": 50,
    "pad_token_id": 0,
}


class Reading(nn.Module):
    """A sentence encoder that tells its mask from the ids, and takes the mean over real words."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, input_ids):
        real = (input_ids != 0).long()
        words = self.network(input_ids, attention_mask=real).last_hidden_state
        return (words * real[..., None]).sum(1) / real.sum(1, keepdim=True)


class Encoder(nn.Module):
    """PyTorch's own encoder, its padding told from the ids."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
        self.embed, self.fc = nn.Embedding(50, 16), nn.Linear(16, 3)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, ids):
        return self.fc(self.layers(self.embed(ids), src_key_padding_mask=ids == 0).mean(1))


def ids(rows, length=9):
    found = torch.randint(2, 49, (rows, length), generator=torch.Generator().manual_seed(rows))
    for row in range(rows):
        end = length - row % 3
        found[row, end:] = 0
        found[row, end - 1] = 49
    return found


def images(rows):
    return torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(rows))


def sounds(rows):
    return torch.randn(rows, 8, 20, generator=torch.Generator().manual_seed(rows))


def numbered(path, count=3):
    return [f"{path}.{place}" for place in range(count)]


NETWORKS = {
    "BertModel": (
        lambda: Reading(transformers.BertModel(transformers.BertConfig(**WORDS, **WIDE))),
        ids,
        ["network.embeddings", *numbered("network.encoder.layer"), "sum"],
    ),
    "GPT2ForSequenceClassification": (
        lambda: transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**GPT2, num_labels=3)),
        ids,
        ["transformer.drop", *numbered("transformer.h"), "score"],
    ),
    "GPT2LMHeadModel": (
        lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)),
        ids,
        ["transformer.drop", *numbered("transformer.h")],
    ),
    "T5EncoderModel": (
        lambda: Reading(transformers.T5EncoderModel(transformers.T5Config(**T5))),
        ids,
        ["network.encoder.embed_tokens", *numbered("network.encoder.block"), "sum"],
    ),
    "CLIPTextModelWithProjection": (
        lambda: transformers.CLIPTextModelWithProjection(
            transformers.CLIPTextConfig(**WORDS, **WIDE, max_position_embeddings=16, projection_dim=8)
        ),
        ids,
        ["text_model.embeddings", *numbered("text_model.encoder.layers")],
    ),
    "CLIPVisionModelWithProjection": (
        lambda: transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(**WIDE, image_size=32, patch_size=8, projection_dim=8)
        ),
        images,
        ["vision_model.embeddings", *numbered("vision_model.encoder.layers")],
    ),
    "WhisperEncoder": (
        lambda: WhisperEncoder(transformers.WhisperConfig(**WHISPER)),
        sounds,
        ["conv1.gelu", "conv2.add", *numbered("layers")],
    ),
    "TransformerEncoder": (Encoder, ids, ["embed", *numbered("layers.layers"), "mean"]),
    "ConvMixer": (
        lambda: ConvMixer(16, 4, kernel_size=3, patch_size=4, num_classes=5),
        images,
        ["stem", *numbered("blocks", 4), "global_pool"],
    ),
    "SwinTransformer": (
        lambda: SwinTransformer(
            img_size=32, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=5
        ),
        images,
        [
            *("patch_embed", "layers.0.blocks.0", "layers.0.blocks.1", "layers.1.downsample"),
            *("layers.1.blocks.0", "layers.1.blocks.1", "head.global_pool"),
        ],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_offered_by_name_and_their_halves_make_the_network_whole(name):
    make, example, expected = NETWORKS[name]
    with seeded("zoo"):
        network = make().eval().requires_grad_(False)
    halves = capture(network, example(2))
    assert halves.replayed == ""
    assert [cut.name for cut in halves.blocks] == expected
    inputs = example(5)
    right = torch.utils._pytree.tree_leaves(halves.top("input")(inputs))
    for cut in halves.blocks:
        found = halves.top(cut).after(halves.bottom(cut)(inputs), (), inputs)
        assert all(map(torch.equal, torch.utils._pytree.tree_leaves(found), right)), cut.name

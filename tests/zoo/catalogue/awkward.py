"""Networks as people write them: wrapped, recurrent, of several inputs or outputs, in other number types, in place."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from catalogue.entry import Draw, Entry, both, images, labels, named, numbers, pixels, same, several, values, words
from catalogue.modules import (
    Branching,
    Conditioned,
    Counting,
    Experts,
    Graph,
    InPlace,
    Keyword,
    Mlp,
    Noisy,
    Own,
    Several,
    Siamese,
    Soft,
    Sometimes,
    Tabular,
    Twice,
    UNet,
    Volume,
)
from catalogue.sequences import WIDTH, Packed, Recurrent, Sentences, Spectral, Tied, TimeFirst, Translator
from catalogue.transformers import TEXT


def convolutional(width: int = WIDTH) -> nn.Sequential:
    """Three convolutions and a class."""
    layers = [nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


def autoencoder(width: int = WIDTH) -> nn.Sequential:
    """An image through a bottleneck and back."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(width * 64, 16), nn.ReLU(),
        nn.Linear(16, width * 64), nn.Unflatten(1, (width, 8, 8)), nn.ReLU(), nn.ConvTranspose2d(width, 3, 2, 2),
    )  # fmt: skip


def adapted() -> nn.Module:
    """A classifier of sentences with low-rank adapters."""
    config = transformers.BertConfig(**TEXT, num_labels=3)
    base = transformers.BertForSequenceClassification(config)
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"], init_lora_weights=False)
    return peft.get_peft_model(base, lora)


def pruned() -> nn.Module:
    """Half of the weights of each layer masked."""
    network = convolutional()
    for layer in (network[0], network[2], network[6]):
        prune.l1_unstructured(layer, "weight", 0.5)
    return network


def reparametrised() -> nn.Module:
    """Weights behind a spectral norm and a weight norm."""
    network = Mlp()
    parametrizations.spectral_norm(network.a)
    parametrizations.weight_norm(network.b)
    return network


def lazy() -> nn.Module:
    """Layers that learn their sizes from a first call."""
    network = nn.Sequential(
        nn.LazyConv2d(WIDTH, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(3)
    )
    network(torch.zeros(2, 3, 8, 8))
    return network


def hooked() -> nn.Module:
    """A hook of the user's that changes what a layer gives."""
    network = Mlp()
    network.b.register_forward_hook(lambda module, inputs, output: output * 2)
    return network


def traced() -> nn.Module:
    """A network as `torch.jit.trace` leaves it."""
    return torch.jit.trace(Mlp(), torch.zeros(2, 6))


def quantised() -> nn.Module:
    """Linear layers in 8 bits."""
    return torch.ao.quantization.quantize_dynamic(Mlp().eval(), {nn.Linear}, dtype=torch.qint8)


def ragged(n: int, stream: torch.Generator) -> Tensor:
    """Sentences of other lengths, padded with 0."""
    ids = words()(n, stream)
    return ids.masked_fill(torch.arange(9) >= torch.randint(4, 10, (n, 1), generator=stream), 0)


def edges(n: int, stream: torch.Generator) -> Tensor:
    """Adjacencies of five nodes, each beside itself."""
    return (torch.rand(n, 5, 5, generator=stream) > 0.5).float() + torch.eye(5)


def as_mapping(z: Tensor, h: Tensor) -> dict[str, Any]:
    """Scores, features and a constant by name."""
    return {"features": h, "logits": z, "none": None}


def as_tuple(z: Tensor, h: Tensor) -> tuple[Any, ...]:
    """Scores first, then more, nested."""
    return z, (h, None)


ROW, SERIES, TEXTS, PICTURE = numbers(6), numbers(7, 5), words(), images(16)
THREE = labels(3)


def _one(name: str, make: Any, inputs: Draw, targets: Any = THREE, wide: Any = None, **expected: Any) -> Entry:
    return Entry("awkward", name, make, inputs, targets, wide, **expected)


def _widened(name: str, make: Any, inputs: Draw, targets: Any = THREE, **expected: Any) -> Entry:
    return _one(name, make, inputs, targets, partial(make, width=20), **expected)


COMPILED = "a network compiled by torch.jit, whose layers cannot be read"
ENTRIES = [
    _one("LSTM", partial(Recurrent, nn.LSTM), SERIES, THREE, partial(Recurrent, nn.LSTM, 20)),
    _one(
        "GRU, both ways",
        partial(Recurrent, nn.GRU, bidirectional=True),
        SERIES,
        THREE,
        partial(Recurrent, nn.GRU, 20, bidirectional=True),
    ),
    _one("LSTM of 300 steps", partial(Recurrent, nn.LSTM), numbers(300, 5)),
    _one("packed sequences", Packed, ragged),
    _one("time on the first axis", TimeFirst, SERIES),
    _widened("U-Net", UNet, PICTURE, pixels(4, 16)),
    _widened("autoencoder", autoencoder, PICTURE, same, unknown=("7",)),
    _widened("graph, dense adjacency", Graph, both(numbers(5, 5), edges)),
    _widened("two inputs", Conditioned, both(PICTURE, numbers(4))),
    _widened("two inputs through one encoder", Siamese, both(ROW, ROW)),
    _widened("numbers and categories", Tabular, both(numbers(5), words(2))),
    _one("arguments by keyword", Keyword, named(x=ROW, mask=lambda n, stream: torch.ones(n, 6))),
    _widened("mapping out", partial(Mlp, answer=as_mapping), ROW),
    _widened("nested tuple out", partial(Mlp, answer=as_tuple), ROW, several(3)),
    _one("experts by mask", Experts, ROW),
    _widened("experts, all of which run", Soft, ROW, values(3), unknown=("mul",)),
    _widened("tied weights", Tied, TEXTS, same),
    _widened("one layer three times", Twice, ROW),
    _one("torch.compile", lambda: torch.compile(convolutional(), backend="eager"), PICTURE),
    _one("torch.jit.script", lambda: torch.jit.script(convolutional()), PICTURE, cannot=COMPILED),
    _one("torch.jit.trace", traced, ROW, cannot=COMPILED),
    _one("DataParallel", lambda: nn.DataParallel(convolutional()), PICTURE),
    _one("LoRA", adapted, TEXTS),
    _one("pruned", pruned, PICTURE),
    _one("spectral and weight norm", reparametrised, ROW),
    _one("bfloat16", lambda: convolutional().bfloat16(), numbers(3, 16, 16, dtype=torch.bfloat16)),
    _one("half", lambda: convolutional().half(), numbers(3, 16, 16, dtype=torch.float16)),
    _one("float64", lambda: convolutional().double(), numbers(3, 16, 16, dtype=torch.float64)),
    _one("quantised", quantised, ROW, cannot="a quantised layer at 'a'"),
    _one("lazily built", lazy, images(8)),
    _widened("in place", InPlace, PICTURE),
    _one("moving buffer", Counting, ROW),
    _one("layer that does not always run", Sometimes, ROW, unequal=("a",), cannot="cut 'a' of A as a self-stitch"),
    _widened("branch on values", Branching, PICTURE),
    _one("dropout that stays on", Noisy, ROW, cannot="two runs on one input differ in eval mode"),
    _widened("encoder with padding", Sentences, ragged),
    _widened("encoder and decoder", Translator, both(TEXTS, words(6)), None),
    _widened("layers by einsum", Own, ROW),
    _widened("Fourier transform", Spectral, SERIES),
    _widened("branches joined", Several, numbers(4, 12)),
    _widened("three dimensions", Volume, numbers(1, 8, 8, 8)),
    _one("hook of the user's", hooked, ROW),
    _one("parts shared by a copy", lambda: copy.deepcopy(nn.Sequential(*[nn.Linear(6, 6)] * 3, nn.Linear(6, 3))), ROW),
    _widened("no labels", convolutional, PICTURE, None),
]

"""Networks as people write them: wrapped, recurrent, with several inputs or outputs, in other number types, in place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.utils import parametrizations, prune, rnn

from catalogue.entry import Draw, Entry, both, images, labels, named, numbers, pixels, same, several, values, words
from catalogue.transformers import TEXT

WIDTH = 12


class Recurrent(nn.Module):
    """Two recurrent layers over a series, and a class from the last step."""

    def __init__(self, kind: type[nn.RNNBase], width: int = WIDTH, **told: Any) -> None:
        super().__init__()
        self.first = kind(5, width, batch_first=True, **told)
        out = width * (2 if told.get("bidirectional") else 1)
        self.second = kind(out, width, batch_first=True)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)[0])[0][:, -1])


class Packed(nn.Module):
    """A recurrent reader that packs its sentences by their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(50, WIDTH, padding_idx=0), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1).cpu()
        packed = rnn.pack_padded_sequence(self.embed(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.body(self.lstm(packed)[1][0][-1]).relu())


class TimeFirst(nn.Module):
    """A recurrent layer over (steps, examples, numbers): the examples stand on the second axis inside."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.norm, self.head = nn.LSTM(5, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.lstm(x.transpose(0, 1))[0])[-1])


class UNet(nn.Module):
    """Two resolutions with a skip."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up, self.tail = nn.ConvTranspose2d(2 * width, width, 2, 2), nn.Conv2d(2 * width, width, 3, padding=1)
        self.head = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x).relu()
        deep = self.middle(self.down(skip).relu()).relu()
        return self.head(self.tail(torch.cat([self.up(deep), skip], 1)).relu())


class Graph(nn.Module):
    """Two graph convolutions by a dense adjacency, and a class of the graph."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        weights = adjacency / adjacency.sum(-1, keepdim=True)
        return self.head((weights @ self.second((weights @ self.first(nodes)).relu())).relu().mean(1))


class Conditioned(nn.Module):
    """An image network whose channels are scaled by what a second input says."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)
        self.told, self.head = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.head((self.b(self.a(x).relu()).relu() * self.told(told)[:, :, None, None]).mean((2, 3)))


class Siamese(nn.Module):
    """One encoder for two inputs, compared at the end."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head((self.encode(x) - self.encode(y)).abs())


class Mlp(nn.Module):
    """Three layers; `answer` says in what form the scores are given."""

    def __init__(self, width: int = WIDTH, answer: Callable[..., Any] = lambda z, h: z) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 3)
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        h = self.b(self.a(x).relu()).relu()
        return self.answer(self.c(h), h)


class Keyword(nn.Module):
    """Called by keyword, with arguments that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Mlp()

    def forward(self, *, x: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
        return self.inner(x if mask is None else x * mask) * scale


class Experts(nn.Module):
    """A mixture of experts: each row goes to one, picked by a boolean mask."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Linear(6, WIDTH), nn.Linear(WIDTH, 2)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        chosen, out = self.gate(h).argmax(1), torch.zeros_like(h)
        for place, expert in enumerate(self.experts):
            out[chosen == place] = expert(h[chosen == place])
        return self.head(self.body(out).relu())


class Soft(nn.Module):
    """A mixture of experts, all of which run."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem, self.gate = nn.Linear(6, width), nn.Linear(width, 3)
        self.experts, self.head = nn.ModuleList(nn.Linear(width, width) for _ in range(3)), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        every = torch.stack([expert(h) for expert in self.experts], 1)
        return self.head((self.gate(h).softmax(1)[..., None] * every).sum(1).relu())


class Tied(nn.Module):
    """A language model whose last layer is its embedding."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(50, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids)).relu())


class Twice(nn.Module):
    """One layer that is used three times."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem, self.again, self.head = nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for _ in range(3):
            h = self.again(h).tanh()
        return self.head(h)


class InPlace(nn.Module):
    """Every operator works in place, the first on the caller's own tensor."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.a(x.sub_(0.5).div_(2.0))))
        h = self.b(h).add_(h[:, :, 1:-1, 1:-1]).clamp_(min=0)
        return self.head(h.mean((2, 3)).mul_(2.0))


class Counting(nn.Module):
    """A buffer that moves with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Mlp()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.inner(x)


class Sometimes(nn.Module):
    """A layer that runs for some batches alone: how many rows are positive decides."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.more, self.b, self.head = (
            nn.Linear(*s) for s in ((6, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 3))
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        if bool((x[:, 0] > 0).any()):
            h = self.more(h).relu()
        return self.head(self.b(h).relu())


class Branching(nn.Module):
    """A branch on values that export cannot follow, and that never differs."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.a(x)))
        if float(h.sum()) > 1e9:
            h = h / 2
        return self.head(self.b(h).relu().mean((2, 3)))


class Noisy(nn.Module):
    """Dropout that stays on."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(f.dropout(self.a(x).relu(), training=True))


class Sentences(nn.Module):
    """PyTorch's own encoder, which leaves padding out."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True)
        self.embed, self.head = nn.Embedding(50, width), nn.Linear(width, 3)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(ids), src_key_padding_mask=ids == 0).mean(1))


class Translator(nn.Module):
    """PyTorch's encoder and decoder, the target sentence a second input."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, width), nn.Embedding(50, width)
        self.body = nn.Transformer(width, 2, 1, 1, 24, batch_first=True)
        self.head = nn.Linear(width, 50)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.body(self.source(source), self.target(target)))


class Own(nn.Module):
    """Layers that are no modules of torch: parameters and einsum."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        sizes = ((6, width), (width, width), (width, 3))
        self.weights = nn.ParameterList(torch.randn(*size) / size[0] ** 0.5 for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights[:-1]:
            x = torch.einsum("ni,io->no", x, weight).relu()
        return x @ self.weights[-1]


class Spectral(nn.Module):
    """Mixes positions by a Fourier transform, as FNet does."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        h = h + torch.fft.fft(h, dim=1).real
        return self.head((h + self.body(h).relu()).mean(1))


class Several(nn.Module):
    """Parallel branches of other kernels, joined, as in Inception."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, width, 3, padding=1)
        self.branches = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for kernel in (1, 3, 5))
        self.head = nn.Linear(3 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        return self.head(torch.cat([branch(h) for branch in self.branches], 1).relu().mean(2))


class Volume(nn.Module):
    """Three dimensions, as of scans and films."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv3d(1, width, 3), nn.Conv3d(width, width, 3), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()).relu().mean((2, 3, 4)))


class Tabular(nn.Module):
    """Categories and numbers in one table."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(50, 4) for _ in range(2))
        self.a, self.b, self.head = nn.Linear(8 + 5, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        parts = [embed(categories[:, place]) for place, embed in enumerate(self.embed)]
        return self.head(self.b(self.a(torch.cat([numbers, *parts], 1)).relu()).relu())


def convolutional(width: int = WIDTH, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Three convolutions and a class."""
    layers = [nn.Conv2d(3, width, 3), activation(), nn.Conv2d(width, width, 3, stride=2), activation()]
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


def _one(name: str, make: Any, inputs: Draw, targets: Any = THREE, wide: Any = None, cannot: str = "") -> Entry:
    return Entry("awkward", name, make, inputs, targets, wide, cannot)


def _widened(name: str, make: Any, inputs: Draw, targets: Any = THREE) -> Entry:
    return _one(name, make, inputs, targets, partial(make, width=20))


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
    _widened("autoencoder", autoencoder, PICTURE, same),
    _widened("graph, dense adjacency", Graph, both(numbers(5, 5), edges)),
    _widened("two inputs", Conditioned, both(PICTURE, numbers(4))),
    _widened("two inputs through one encoder", Siamese, both(ROW, ROW)),
    _widened("numbers and categories", Tabular, both(numbers(5), words(2))),
    _one("arguments by keyword", Keyword, named(x=ROW, mask=lambda n, stream: torch.ones(n, 6))),
    _widened("mapping out", partial(Mlp, answer=as_mapping), ROW),
    _widened("nested tuple out", partial(Mlp, answer=as_tuple), ROW, several(3)),
    _one("experts by mask", Experts, ROW),
    _widened("experts, all of which run", Soft, ROW, values(3)),
    _widened("tied weights", Tied, TEXTS, same),
    _widened("one layer three times", Twice, ROW),
    _one("torch.compile", lambda: torch.compile(convolutional(), backend="eager"), PICTURE),
    _one("torch.jit.script", lambda: torch.jit.script(convolutional()), PICTURE),
    _one("torch.jit.trace", traced, ROW),
    _one("DataParallel", lambda: nn.DataParallel(convolutional()), PICTURE),
    _one("LoRA", adapted, TEXTS),
    _one("pruned", pruned, PICTURE),
    _one("spectral and weight norm", reparametrised, ROW),
    _one("bfloat16", lambda: convolutional().bfloat16(), numbers(3, 16, 16, dtype=torch.bfloat16)),
    _one("half", lambda: convolutional().half(), numbers(3, 16, 16, dtype=torch.float16)),
    _one("float64", lambda: convolutional().double(), numbers(3, 16, 16, dtype=torch.float64)),
    _one("quantised", quantised, ROW),
    _one("lazily built", lazy, images(8)),
    _widened("in place", InPlace, PICTURE),
    _one("moving buffer", Counting, ROW),
    _one("layer that does not always run", Sometimes, ROW),
    _widened("branch on values", Branching, PICTURE),
    _one("dropout that stays on", Noisy, ROW),
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

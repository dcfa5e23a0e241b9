"""Tiny networks of many wirings, with what a person would say of their cuts: shared by the tests of several rooms.

``NETWORKS`` holds them by name. Every network has lived-in batch norms (statistics and weights that are not 0 and 1)
and draws its weights from a seed of its own, so that nothing passes because two numbers happen to be equal.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from modelstitch.cut import Capture, capture
from modelstitch.cut.frozen import standard_attention
from modelstitch.networks.resnet import resnet18
from modelstitch.networks.vit import vit
from modelstitch.support.seeding import generator, seeded


class Plain(nn.Module):
    """conv, norm, in-place relu, pool; the textbook chain."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.pool(self.features(x)).flatten(1)))


class PostAct(nn.Module):
    """Residual block whose relu overwrites the sum in place."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
            if channels != width
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


class PostActNet(nn.Module):
    """A stem and three residual blocks in two stages."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.layer1 = nn.Sequential(PostAct(width, width), PostAct(width, width))
        self.layer2 = nn.Sequential(PostAct(width, 5))
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


class Dense(nn.Module):
    """Every layer's output is concatenated to all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3, padding=1)
        self.block1 = _DenseBlock(3)
        self.down = nn.Sequential(nn.BatchNorm2d(7), nn.ReLU(inplace=True), nn.Conv2d(7, 4, 1), nn.AvgPool2d(2))
        self.block2 = _DenseBlock(4)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.block2(self.down(self.block1(self.stem(x))))).mean((2, 3)))


class _DenseBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 2, 3, padding=1))
        self.two = nn.Sequential(nn.BatchNorm2d(channels + 2), nn.ReLU(), nn.Conv2d(channels + 2, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.one(x)], 1)
        return torch.cat([x, self.two(x)], 1)


class Branching(nn.Module):
    """Two branches of different depth, concatenated, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3)
        self.mixed1 = _Fork(3)
        self.mixed2 = _Fork(5)
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mixed2(self.mixed1(F.relu(self.stem(x)))).amax((2, 3)))


class _Fork(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.short = nn.Conv2d(channels, 2, 1)
        self.long = nn.Sequential(nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([self.short(x), self.long(x)], 1))


class Attention(nn.Module):
    """Norm, multi-head attention, norm, mlp, each around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches by convolution, a class token, positions, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 4, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.place = nn.Parameter(torch.randn(1, 5, 4))
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList([Attention(4), Attention(4)])
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = self.drop(torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Windowed(nn.Module):
    """Tokens on a grid, channels last, attended to in windows."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 4, 2, 2)
        self.norm = nn.LayerNorm(4)
        self.blocks = nn.Sequential(_Window(4), _Window(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patch(x).permute(0, 2, 3, 1))
        return self.head(self.blocks(x).mean((1, 2)))


class _Window(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 6), nn.GELU(), nn.Linear(6, width))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        windows = self.norm1(x).view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.qkv(windows).chunk(3, -1)
        mixed = self.proj(F.scaled_dot_product_attention(q, k, v))
        x = x + mixed.view(n, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return x + self.mlp(self.norm2(x))


class Text(nn.Module):
    """Token ids of any length, with a mask as a side input that every block uses."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.place = nn.Embedding(16, 4)
        self.blocks = nn.ModuleList([_Masked(4), _Masked(4)])
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed(input_ids) + self.place(torch.arange(input_ids.shape[1], device=input_ids.device))
        mask = attention_mask[:, None, None, :].bool()
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x)[:, 0])


class _Masked(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 6), nn.GELU(), nn.Linear(6, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (t[:, None] for t in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[:, 0])
        return x + self.mlp(x)


class Mobile(nn.Module):
    """Inverted residual blocks with squeeze-and-excite, nested as stages of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.blocks = nn.Sequential(
            nn.Sequential(_Inverted(3, 3), _Inverted(3, 3)), nn.Sequential(_Inverted(3, 4), _Inverted(4, 4))
        )
        self.conv_head = nn.Conv2d(4, 5, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_head(self.blocks(F.silu(self.bn1(self.conv_stem(x)))))
        return self.classifier(self.pool(F.silu(x)).flatten(1))


class _Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(x.mean((2, 3), keepdim=True)))))


class _Inverted(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.se = _Squeeze(channels)
        self.conv_pw = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.skips = channels == width

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv_pw(self.se(F.silu(self.bn1(self.conv_dw(x))))))
        return x + y if self.skips else y


class Twice(nn.Module):
    """One module called twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.again = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.again(self.again(self.first(x))))


class Functional(nn.Module):
    """Modules for the weights only; everything else is functions, with the batch size read from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3)
        self.fc1, self.fc2 = nn.Linear(16, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu_(self.conv2(F.pad(x, (1, 0, 1, 0))))
        x = x.view(x.size(0), -1)
        return F.log_softmax(self.fc2(F.dropout(F.relu(self.fc1(x)), training=self.training)), dim=1)


class Branchy(nn.Module):
    """A Python branch on the data, which export refuses; two residual blocks before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3, bias=False)
        self.block1, self.block2 = PostAct(3, 3), PostAct(3, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        if float(x.detach().sum()) > 1e6:
            x = x / 2
        return self.fc(x.mean((2, 3)))


class Tied(nn.Module):
    """Encoder and decoder share one matrix, by weight and by module."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(6, 4, bias=False)
        self.middle = nn.Linear(4, 4)
        self.same = self.middle
        self.outward = nn.Linear(4, 4, bias=False)
        self.outward.weight = self.middle.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.outward(F.relu(self.same(F.relu(self.inward(x))))) @ self.inward.weight


class Reparametrised(nn.Module):
    """Weights that are computed: weight norm, spectral norm; and a tensor that is a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.one = parametrizations.weight_norm(nn.Linear(6, 4))
        self.two = parametrizations.spectral_norm(nn.Linear(4, 4))
        self.scale = torch.tensor([0.5, 1.5, 2.5, 3.5])
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.two(torch.tanh(self.one(x)) * self.scale)))


class Structured(nn.Module):
    """Logits, features and a list of both, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Any]:
        features = torch.relu(self.two(torch.relu(self.one(x))))
        logits = self.last(features)
        return {"logits": logits, "all": [logits, (features, features.sum(1))]}


def live_in(network: nn.Module) -> nn.Module:
    """Give batch norms and other one-initialised weights numbers of their own, as training would."""
    stream = generator("lived in", type(network).__name__)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm):
                for tensor in (*module.parameters(), *module.buffers()):
                    if tensor.is_floating_point():
                        tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.5)
    return network


def images(rows: int) -> Tensor:
    return torch.randn(rows, 2, 8, 8, generator=generator("images", rows))


def grey_images(rows: int) -> Tensor:
    return images(rows)[:, :1]


def vectors(rows: int) -> Tensor:
    return torch.randn(rows, 6, generator=generator("vectors", rows))


def sentences(rows: int, length: int = 7) -> dict[str, Tensor]:
    stream = generator("sentences", rows, length)
    mask = torch.rand(rows, length, generator=stream) > 0.3
    mask[:, 0] = True
    return {"input_ids": torch.randint(11, (rows, length), generator=stream), "attention_mask": mask.long()}


@dataclass(frozen=True)
class Tiny:
    """A tiny network: how to make one, how to make inputs for it, and its cuts as a person would list them.

    Attributes:
        make: a fresh network, before it has lived.
        inputs: a batch of so many rows, as an example is given.
        blocks: name and kind of every cut offered by default.
        replayed: whether export refuses it.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    blocks: Mapping[str, str]
    replayed: bool = False

    def network(self, seed: int = 0) -> nn.Module:
        with seeded("tiny", seed):
            return live_in(self.make()).eval()


@cache
def network_of(name: str) -> nn.Module:
    """The network of that name, one for all tests: to be looked at, not to be changed.

    Its weights ask for no gradient, as those of the halves: torch's matrix product folds its batch axes or not by that
    flag, also where no gradient is recorded, and the last digit with it.
    """
    return NETWORKS[name].network().requires_grad_(False)


@cache
def captured(name: str) -> Capture:
    """The capture of ``network_of(name)``, made once because it takes about a second."""
    with warnings.catch_warnings():
        # That a network is replayed is asked of `Capture.replayed`, and of the warning in a test of its own.
        warnings.simplefilter("ignore")
        return capture(network_of(name), NETWORKS[name].inputs(1))


def answer(network: nn.Module, inputs: Any) -> Any:
    """What the network says: the right-hand side of the law of the split."""
    with torch.no_grad(), standard_attention():
        return call(network, inputs)


def call(network: Callable[..., Any], inputs: Any) -> Any:
    """Run a network on inputs given as an example is given."""
    return network(**inputs) if isinstance(inputs, Mapping) else network(inputs)


def main(inputs: Any) -> Tensor:
    """The main input: the first."""
    return next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs


def sides(inputs: Any) -> dict[str, Tensor]:
    """The side inputs, which both halves are given: all but the first."""
    return dict(list(inputs.items())[1:]) if isinstance(inputs, Mapping) else {}


NETWORKS = {
    "plain": Tiny(Plain, images, {"features.3": "map", "features.6": "map", "drop": "vector"}),
    "preact": Tiny(
        lambda: resnet18(width=2, channels=1),
        grey_images,
        {"conv1": "map"} | {f"layer{s}.{b}": "map" for s in (1, 2, 3, 4) for b in (0, 1)},
    ),
    "postact": Tiny(
        PostActNet, images, {"stem": "map", "layer1.0": "map", "layer1.1": "map", "layer2": "map", "mean": "vector"}
    ),
    "dense": Tiny(Dense, images, {"stem": "map", "block1": "map", "down": "map", "block2": "map", "mean": "vector"}),
    "branching": Tiny(Branching, images, {"relu": "map", "mixed1": "map", "mixed2": "map", "amax": "vector"}),
    "transformer": Tiny(
        Transformer, images, {"drop": "tokens", "blocks.0": "tokens", "blocks.1": "tokens", "select": "vector"}
    ),
    "vit": Tiny(
        lambda: vit(patch=4, depth=2, width=4, heads=2, channels=2, size=8),
        images,
        {"patches": "tokens", "blocks.0": "tokens", "blocks.1": "tokens", "mean": "vector"},
    ),
    "windowed": Tiny(
        Windowed, images, {"norm": "tokens", "blocks.0": "tokens", "blocks.1": "tokens", "mean": "vector"}
    ),
    "text": Tiny(
        Text, sentences, {"embed.add": "tokens", "blocks.0": "tokens", "blocks.1": "tokens", "select": "vector"}
    ),
    "mobile": Tiny(
        Mobile,
        images,
        {"bn1.silu": "map"}
        | {f"blocks.{stage}.{block}": "map" for stage in (0, 1) for block in (0, 1)}
        | {"conv_head.silu": "map", "pool": "map"},
    ),
    "twice": Tiny(Twice, vectors, {"first": "vector", "again.1": "vector", "again.1:2": "vector"}),
    "functional": Tiny(
        Functional,
        images,
        {"max_pool2d": "map", "conv2.relu": "map", "fc1.relu": "vector", "fc2": "vector"},
    ),
    "branchy": Tiny(Branchy, images, {"stem": "map", "block1": "map", "block2": "map"}, replayed=True),
    "tied": Tiny(Tied, vectors, {"inward.relu": "vector", "same.relu": "vector", "outward": "vector"}),
    "reparametrised": Tiny(Reparametrised, vectors, {"one": "vector", "two": "vector"}),
    "structured": Tiny(Structured, vectors, {"one.relu": "vector", "two.relu": "vector"}),
}

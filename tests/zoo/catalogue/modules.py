"""Awkward networks over rows and images: of several inputs or outputs, with experts, in place, by values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from catalogue.sequences import WIDTH


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

"""Layers are counted by operators: own layers, attention, recurrent networks, weights that are computed."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from fixtures import NETWORKS, captured, images, network_of, vectors
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.cut.replayed.recording import record


def recorded(network, *inputs):
    return record(frozen_view(network), inputs, {})


def layers(network, *inputs):
    """Layers in all, and on the longest path."""
    found = recorded(network, *inputs)
    return found.inside[""], found.layers


class Own(nn.Module):
    """A linear layer of nobody's class."""

    def __init__(self, inward, outward, way):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(inward, outward)), nn.Parameter(torch.randn(outward))
        self.way = way

    def forward(self, x):
        return WAYS[self.way](x, self.w, self.b)


WAYS = {
    "product": lambda x, w, b: x @ w + b,
    "addmm": lambda x, w, b: torch.addmm(b, x, w),
    "einsum": lambda x, w, b: torch.einsum("ni,io->no", x, w) + b,
    "function": lambda x, w, b: F.linear(x, w.t(), b),
    "computed": lambda x, w, b: F.linear(x, (w * 2).t().contiguous()),
    "by row": lambda x, w, b: torch.bmm(x[:, None], w.expand(len(x), -1, -1))[:, 0] + b,
}


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_nobody_s_class_count(way):
    network = nn.Sequential(*(layer for _ in range(3) for layer in (Own(6, 6, way), nn.Tanh())), Own(6, 3, way))
    halves = Replayed(frozen_view(network), (vectors(2),), {}, "on purpose")
    assert [(cut.name, cut.depth) for cut in halves.blocks] == [("1", 0.25), ("3", 0.5), ("5", 0.75)]
    assert halves.find("6") == halves.find("output")


class Attends(nn.Module):
    """One head: three layers side by side, two products of activations, one layer behind."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        return self.out((self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1) @ self.v(x))


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 6)

    def forward(self, x):
        return self.lin(self.lin(x))


class Computed(nn.Module):
    """Weights that are each computed, used and dropped again; notes whether somebody still holds them."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(6, 6) for _ in range(4))

    def forward(self, x):
        for weight in self.weights:
            computed = weight * 2
            held = weakref.ref(computed)
            x = x @ computed
            del computed
            HELD.append(held() is not None)
        return x


HELD = []


class Written(nn.Module):
    """Gathers what a layer gives in a tensor made before."""

    def __init__(self):
        super().__init__()
        self.lin, self.last = nn.Linear(6, 4), nn.Linear(5, 3)

    def forward(self, x):
        gathered = torch.zeros(len(x), 5)
        gathered[:, 1:] = self.lin(x)
        return self.last(gathered)


TOKENS = torch.ones(2, 3, 4)
COUNTS = {
    "attention": (Attends, TOKENS, (4, 2)),
    "torch's attention": (lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), TOKENS, (4, 4)),
    "a layer called twice": (Twice, vectors(2), (2, 2)),
    "weights computed in one call": (Computed, vectors(2), (4, 4)),
    "what a slice was given": (Written, vectors(2), (2, 2)),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(6, 4)), vectors(2), (1, 1)),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(6, 4)), vectors(2), (1, 1)),
    "convolution": (lambda: nn.Conv2d(2, 3, 3), images(2), (1, 1)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3), images(2), (1, 1)),
    "no layer": (lambda: nn.Embedding(5, 3), torch.ones(2, 3, dtype=torch.long), (0, 0)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_number_of_layers_in_all_and_on_the_longest_path(name):
    make, inputs, right = COUNTS[name]
    assert layers(make().eval(), inputs) == right


def test_the_memory_of_a_counted_weight_is_not_given_to_the_next():
    HELD.clear()
    assert layers(Computed(), vectors(2)) == (4, 4)
    assert all(HELD)
    HELD.clear()
    Computed().requires_grad_(False)(vectors(2))
    assert not any(HELD)


@pytest.mark.parametrize("length", [3, 9])
def test_a_recurrent_layer_does_not_grow_with_the_sentence(length):
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.onward = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            h = torch.zeros_like(x[:, 0])
            for t in range(x.shape[1]):
                h = torch.tanh(x[:, t] @ self.inward + h @ self.onward)
            return h

    assert layers(Cell(), torch.ones(2, length, 4)) == (2, 1)


class Numpy(nn.Module):
    """Leaves torch on the way."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = torch.from_numpy(self.one(x).detach().numpy().copy())
        return self.last(self.two(h))


def test_a_way_round_torch_does_not_start_the_count_anew():
    halves = Replayed(frozen_view(Numpy()), (vectors(2),), {}, "on purpose")
    assert [cut.depth for cut in halves.cuts] == [0, 1 / 3, 2 / 3, 1]


@pytest.mark.parametrize("name", ["plain", "postact", "branching", "transformer"])
def test_depth_and_cost_are_those_of_the_export(name):
    inputs = NETWORKS[name].inputs(2)
    halves = Replayed(frozen_view(network_of(name)), (inputs,), {}, "on purpose")
    for cut in halves.cuts:
        other = captured(name).find(cut.name)
        assert cut.depth == other.depth, cut.name
        assert cut.cost == pytest.approx(other.cost), cut.name

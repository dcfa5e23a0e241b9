"""Legality, depth, cost and kind as read from a graph, against lists made by hand."""

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, captured, vectors
from modelstitch.cut import capture

every_network = pytest.mark.parametrize("name", NETWORKS)

# Read off the forward functions with a pencil: after each operation, is anything else still needed?
LEGAL = {
    "postact": [
        *("input", "stem.0", "stem.1", "stem", "layer1.0.add", "layer1.0", "layer1.1.add", "layer1.1"),
        *("layer2.0.add", "layer2", "mean", "output"),
    ],
    "dense": [
        *("input", "stem", "block1.cat", "block1", "down.0", "down.1", "down.2", "down"),
        *("block2.cat", "block2", "relu", "mean", "output"),
    ],
    "twice": ["input", "first", "again.0", "again.1", "again.0:2", "again.1:2", "output"],
    "branchy": ["input", "stem", "block1", "block2", "output"],
    "structured": ["input", "one", "one.relu", "two", "two.relu"],
}


@pytest.mark.parametrize("name", LEGAL)
def test_the_legal_cuts_are_those_of_a_list_made_by_hand(name):
    assert [cut.name for cut in captured(name).cuts] == LEGAL[name]


@every_network
def test_kinds_of_the_default_cuts(name):
    assert {cut.name: cut.kind for cut in captured(name).blocks} == NETWORKS[name].blocks


@every_network
def test_the_way_of_cutting(name):
    assert bool(captured(name).replayed) == NETWORKS[name].replayed


@every_network
def test_depth_and_cost_never_fall(name):
    for share in ("depth", "cost"):
        values = [getattr(cut, share) for cut in captured(name).cuts]
        assert values == sorted(values)
        assert values[0] == 0
        assert all(0 <= value <= 1 for value in values)
    last = captured(name).cuts[-1]
    assert (last.depth, last.cost) == (1, 1) or last.name != "output"


def test_depth_of_resnet18_counts_eighteen_layers():
    # 16 convolutions in blocks, the stem and the linear layer; shortcuts lie beside the longest path.
    depth = {cut.name: cut.depth for cut in captured("preact").blocks}
    assert depth["conv1"] == pytest.approx(1 / 18)
    assert depth["layer1.0"] == pytest.approx(3 / 18)
    assert depth["layer4.1"] == pytest.approx(17 / 18)


def test_cost_counts_two_operations_for_each_multiplication_and_addition():
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    cost = {cut.name: cut.cost for cut in capture(network, vectors(1)).cuts}
    assert cost == {"input": 0, "0": pytest.approx(24 / 36), "1": pytest.approx(24 / 36), "output": 1}


class Waveform(nn.Module):
    """Channels first, then last, with as many channels as positions: sizes say nothing."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = torch.relu(x.transpose(1, 2) * 2)
        return self.fc(self.norm(x).mean(1))


def test_kinds_are_told_from_operators_where_sizes_are_equal():
    kinds = {cut.name: cut.kind for cut in capture(Waveform(), torch.zeros(1, 2, 4)).cuts}
    assert kinds == {
        "input": "map",
        "conv": "map",
        "relu": "map",
        "transpose": "tokens",
        "mul": "tokens",
        "relu:2": "tokens",
        "norm": "tokens",
        "mean": "vector",
        "output": "vector",
    }


def test_kinds_on_a_grid_with_channels_last():
    kinds = {cut.name: cut.kind for cut in captured("windowed").cuts}
    assert kinds["patch"] == "map"
    assert kinds["permute"] == kinds["norm"] == kinds["blocks.0.add"] == "tokens"


class Gated(nn.Module):
    """The input itself is needed to the end."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.two(self.one(x)) * x


def test_the_input_may_be_what_crosses_beside():
    halves = capture(Gated(), vectors(2))
    assert [cut.name for cut in halves.cuts] == ["input", "output"]
    with pytest.raises(ValueError, match=r"crosses there: input, one \(6,\)\ndo:    .*: 'input' or 'output'"):
        halves.find("one")


class Shapely(nn.Module):
    """Asks the input for its size at the end; a size is not a value."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.two(self.one(x)) + torch.ones(x.shape[0], 3)


def test_asking_for_a_shape_is_not_depending_on_values():
    network = Shapely().requires_grad_(False)
    halves = capture(network, vectors(2))
    assert "one" in [cut.name for cut in halves.cuts]
    x = vectors(5)
    assert torch.equal(halves.top("one")(halves.bottom("one")(x)), network(x))

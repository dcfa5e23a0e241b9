"""The identity of a network's graph: changed by what changes an answer, and by nothing else."""

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, captured, vectors
from modelstitch.cut import capture
from modelstitch.cut.identity import identity_of_modules
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, Identity

TESTS = Path(__file__).parents[1]


def dense(activation, *, drop=0.5, slope=0.1, last=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 4), activation, nn.Dropout(drop), nn.Linear(4, 4), nn.LeakyReLU(slope), nn.Linear(4, last)
    )


def graph_of(network, x=None):
    return capture(network, vectors(2) if x is None else x).graph


def differ(one, other):
    assert graph_of(one) != graph_of(other), "two networks, one graph"


def test_networks_of_equal_weights_and_another_activation_differ():
    one, other = dense(nn.ReLU()), dense(nn.Tanh())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    differ(one, other)


def test_a_network_that_is_the_same_is_seen():
    with pytest.raises(AssertionError, match="two networks, one graph"):
        differ(dense(nn.ReLU()), dense(nn.ReLU()))


def test_constants_wiring_and_places_of_weights_count():
    differ(dense(nn.ReLU()), dense(nn.ReLU(), slope=0.2))
    differ(dense(nn.ReLU()), nn.Sequential(*dense(nn.ReLU())[:5]))

    class Wired(nn.Module):
        def __init__(self, order, scale=2.0):
            super().__init__()
            self.one, self.two, self.order = nn.Linear(6, 6), nn.Linear(6, 6), order
            self.scale = torch.tensor([scale])

        def forward(self, x):
            first, second = (self.one, self.two) if self.order else (self.two, self.one)
            return second(torch.relu(first(x))) * self.scale

    differ(Wired(True), Wired(False))
    # A tensor that the state_dict does not hold is a constant.
    differ(Wired(True), Wired(True, scale=3.0))


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("name", ["preact", "transformer", "text"])
def test_neither_the_example_nor_the_weights_count(name, rows):
    other = NETWORKS[name].network(7)
    assert capture(other, NETWORKS[name].inputs(rows)).graph == captured(name).graph


def test_the_mode_and_dropout_do_not_count():
    expected = graph_of(dense(nn.ReLU()))
    assert graph_of(dense(nn.ReLU(), drop=0.2).train()) == expected
    assert graph_of(dense(nn.ReLU(), drop=0.0)) == expected
    without = dense(nn.ReLU())
    without[2] = nn.Identity()
    assert graph_of(without) == expected


def test_all_networks_differ():
    found = {name: captured(name).graph for name in NETWORKS}
    assert len(set(found.values())) == len(NETWORKS)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found.values())


def test_it_is_the_same_in_another_process():
    code = "import warnings; warnings.simplefilter('ignore'); from fixtures import captured;"
    code += "print(*[captured(name).graph for name in ('preact', 'branchy', 'reparametrised')])"
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment["PYTHONHASHSEED"] = "7"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [captured(name).graph for name in ("preact", "branchy", "reparametrised")]


def test_a_tuple_and_a_mapping_of_the_same_inputs_give_the_same():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(6, 4)

        def forward(self, x, shift):
            return torch.relu(self.one(x)) + shift

    network, x, shift = Two(), vectors(2), torch.ones(2, 4)
    assert graph_of(network, (x, shift)) == graph_of(network, {"x": x, "shift": shift})


def test_a_stitched_network_is_known_by_both_halves_and_the_stitch():
    halves, x = captured("preact"), NETWORKS["preact"].inputs(2)
    found = []
    for name, family in (("layer1.1", Identity()), ("layer1.1", Affine()), ("layer2.1", Affine())):
        cut = halves.find(name)
        found.append(graph_of(Stitched(halves.bottom(cut), family.build(cut, cut), halves.top(cut)), x))
    assert len(set(found)) == 3


# Networks that are replayed have no graph; their code stands for it


class Branching(nn.Module):
    def __init__(self, activation, scale=1.0):
        super().__init__()
        self.one, self.two, self.activation, self.scale = nn.Linear(6, 4), nn.Linear(4, 3), activation, scale

    def forward(self, x):
        x = self.activation(self.one(x)) * self.scale
        return self.two(x / 2 if float(x.sum()) > 1e9 else x)


class Otherwise(Branching):
    def forward(self, x):
        x = self.activation(self.one(x)) * self.scale
        return self.two(x / 3 if float(x.sum()) > 1e9 else x)


def replayed(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = capture(network, vectors(2))
    assert found.replayed
    return found.graph


def test_replayed_networks_are_known_by_classes_settings_and_source():
    networks = [
        Branching(nn.ReLU()),
        Branching(nn.Tanh()),
        Branching(nn.LeakyReLU(0.2)),
        Branching(nn.ReLU(), scale=2.0),
        Otherwise(nn.ReLU()),
    ]
    assert len({replayed(one) for one in networks}) == len(networks)
    assert replayed(Branching(nn.ReLU())) == replayed(copy.deepcopy(networks[0]).train())


def test_the_source_of_forward_counts():
    one = type("Same", (nn.Module,), {"__module__": "m", "forward": Branching.forward})
    other = type("Same", (nn.Module,), {"__module__": "m", "forward": Otherwise.forward})
    assert identity_of_modules(one()) != identity_of_modules(other())

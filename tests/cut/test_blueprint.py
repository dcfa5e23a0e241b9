"""Networks that are alike are exported once, and none is ever answered for by another's graph or weights."""

import copy
import gc
import itertools

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, answer, call, main, network_of, sides
from modelstitch.cut import blueprint, capture, capture_of
from modelstitch.cut.likeness import likeness
from modelstitch.networks import untrained
from modelstitch.stitched import Stitched
from modelstitch.support.seeding import seeded


@pytest.fixture
def exports(monkeypatch):
    """The names of the networks that were exported, with nothing kept from before."""
    monkeypatch.setattr(blueprint, "_kept", type(blueprint._kept)())
    seen, real = [], blueprint.exported_program
    monkeypatch.setattr(
        blueprint, "exported_program", lambda view, *of: seen.append(type(view).__name__) or real(view, *of)
    )
    return seen


def copied(name):
    """A copy of a fixture whose weights and statistics are others."""
    network = copy.deepcopy(network_of(name))
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.25).add_(0.125)
    return network


def joined(halves, cut, inputs):
    """What the halves at a cut answer."""
    told = [main(inputs)] if halves.takes_main(halves.find(cut)) else []
    return halves.top(cut)(call(halves.bottom(cut), inputs), *told, *sides(inputs).values())


# They hold hooks, or what is neither a weight nor plain.
UNLIKE = {"reparametrised"}
ALIKE = [name for name, tiny in NETWORKS.items() if not tiny.replayed and name not in UNLIKE]


@pytest.mark.parametrize("name", ALIKE)
def test_a_twin_is_cut_as_it_would_be_by_itself(name, monkeypatch):
    example, inputs, network = NETWORKS[name].inputs(1), NETWORKS[name].inputs(3), copied(name)
    of = capture(network_of(name), example)
    monkeypatch.setattr(blueprint, "exported_program", None)
    found = capture(network, example)
    assert (found.cuts, found.graph, found.entries) == (of.cuts, of.graph, of.entries)
    assert found.wiring.names == of.wiring.names
    expected = answer(network, inputs)
    for cut in found.cuts:
        torch.testing.assert_close(joined(found, cut, inputs), expected, rtol=0, atol=0)
        assert capture_of(found.bottom(cut)) is found


@pytest.mark.parametrize("name", sorted(UNLIKE))
def test_what_has_no_twin_is_exported_each_time(name, exports):
    for _ in range(2):
        capture(network_of(name), NETWORKS[name].inputs(1))
    assert len(exports) == 2


def mlp(*activations, seed=0):
    with seeded("alike", seed):
        return nn.Sequential(nn.Linear(6, 4), *(activations or [nn.ReLU()]), nn.Linear(4, 3)).requires_grad_(False)


X = torch.linspace(-1, 1, 18).view(3, 6)


def test_weights_are_those_of_the_network_and_of_it_alone(exports):
    one, other = mlp(), mlp(seed=1)
    first, second = capture(one, X), capture(other, X)
    assert exports == ["Sequential"]
    for network, halves in ((one, first), (other, second)):
        assert torch.equal(joined(halves, "1", X), network(X))
        assert halves.view[0].weight.data_ptr() == network[0].weight.data_ptr()
        assert halves.wiring.network is halves.view
    with torch.no_grad():
        other[0].weight.add_(1)
    assert torch.equal(joined(second, "1", X), other(X))
    assert torch.equal(joined(first, "1", X), one(X))


def test_an_untrained_twin_and_a_second_call_are_no_exports(exports):
    network = mlp()
    for one in (network, untrained(network), network):
        capture(one, X)
    assert len(exports) == 1


@pytest.mark.parametrize("at", ["input", "1", "output"])
def test_stitched_networks_are_alike_where_their_halves_are(at, exports):
    halves = [capture(mlp(seed=seed), X) for seed in (0, 1)]
    made = [
        Stitched(below.bottom(at), Scale(), above.top(at)).eval() for below, above in itertools.permutations(halves)
    ]
    for one in made:
        found = capture(one, X)
        assert found.replayed == ""
        torch.testing.assert_close(joined(found, found.cuts[0], X), one(X), rtol=0, atol=0)
    assert len(exports) == 2
    bent = [capture(mlp(nn.Tanh()), X), halves[1]]
    other = Stitched(bent[0].bottom("output"), Scale(), bent[1].top("output")).eval()
    straight = Stitched(halves[0].bottom("output"), Scale(), halves[1].top("output")).eval()
    assert likeness(other, (X,), {}) not in (None, likeness(straight, (X,), {}))


class Scale(nn.Module):
    def forward(self, x):
        return x * 2


class Deaf(nn.Module):
    """Answers by a global, which nothing in it tells."""

    factor = 1.0

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.two(self.one(x)) * GLOBAL["factor"]


GLOBAL = {"factor": 1.0}


def test_what_a_key_cannot_tell_is_seen_in_the_answer(monkeypatch, exports):
    network = Deaf().requires_grad_(False)
    before = capture(network, X)
    monkeypatch.setitem(GLOBAL, "factor", 2.0)
    after = capture(network, X)
    assert len(exports) == 2
    assert before.graph != after.graph
    assert torch.equal(joined(after, "one", X), network(X))


def test_no_weight_is_kept(exports):
    network, twin = mlp(), mlp(seed=1)
    for one in (network, twin):
        joined(capture(one, X), "1", X)
    places = {one[0].weight.data_ptr() for one in (network, twin)}
    assert (len(exports), len(blueprint._kept)) == (1, 1)
    assert places == held_among(places)
    del network, twin, one
    assert not held_among(places)


def held_among(places):
    """Where tensors lie that are still there."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if type(one) in (torch.Tensor, nn.Parameter)]
    # Others that run in this process leave tensors without memory.
    return {one.data_ptr() for one in tensors if torch._C._has_storage(one)} & places


def test_only_the_last_few_are_kept(monkeypatch, exports):
    monkeypatch.setattr(blueprint, "_KEPT", 2)
    kinds = [nn.ReLU(), nn.Tanh(), nn.GELU()]
    for kind in (*kinds, kinds[2], kinds[0]):
        capture(mlp(kind), X)
    assert len(exports) == 4
    assert len(blueprint._kept) == 2


class Setting(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return x


class Other(Setting):
    pass


def shared():
    one = nn.ReLU()
    return nn.Sequential(nn.Linear(6, 6), one, nn.Linear(6, 6), one)


def tied():
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
    network[2].weight = network[0].weight
    return network


def buffered(persistent):
    network = Setting(1)
    network.register_buffer("mean", torch.zeros(6), persistent=persistent)
    return network


def apart():
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Setting(1), Setting(2)),
        (Setting(1), Setting(1.0)),
        (Setting((1, 2)), Setting([1, 2])),
        (Setting({"a": 1}), Setting({"a": 2})),
        (Setting(torch.relu), Setting(torch.tanh)),
        (Setting(1), Other(1)),
        (mlp(), mlp(nn.Tanh())),
        (mlp(), mlp(nn.ReLU(), nn.ReLU())),
        (mlp(), mlp().double()),
        (mlp(), mlp().eval()),
        (apart(), shared()),
        (apart(), tied()),
        (buffered(True), buffered(False)),
    ],
)
def test_other_networks_are_not_alike(one, other):
    keys = [likeness(network, (X,), {}) for network in (one, other)]
    assert None not in keys
    assert keys[0] != keys[1]
    assert keys[0] == likeness(copy.deepcopy(one), (X,), {})


def test_another_example_is_not_alike():
    assert (
        len({likeness(mlp(), *of) for of in [((X,), {}), ((X[:2],), {}), ((X.double(),), {}), ((), {"input": X})]}) == 4
    )


def hooked():
    network = mlp()
    network[1].register_forward_hook(lambda module, inputs, output: output)
    return network


def closed(factor):
    return lambda x: x * factor


@pytest.mark.parametrize("network", [hooked(), *map(Setting, (torch.ones(2), object(), {3}, closed(2)))], ids=str)
def test_what_cannot_be_told_is_like_nothing(network):
    assert likeness(network, (X,), {}) is None


def test_a_function_without_surroundings_is_a_setting():
    one, other = Setting(nn.functional.relu), Setting(nn.functional.gelu)
    assert likeness(one, (X,), {}) == likeness(copy.deepcopy(one), (X,), {}) != likeness(other, (X,), {})

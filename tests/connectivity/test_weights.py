"""Weights between two networks: units matched change no answer, and statistics are those of the mixed network."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, answer, captured, live_in, network_of
from modelstitch.connectivity import match_units
from modelstitch.connectivity.weights import estimate_statistics, mixed
from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import NotCuttable
from modelstitch.networks import build, weights_fingerprint
from modelstitch.support.seeding import generator
from modelstitch.symmetries import groups


@cache
def ready(name):
    """A network and its capture: of the catalogue where it is there, else built."""
    if name in NETWORKS:
        return network_of(name), captured(name)
    options = {"myrtle": {"width": 3, "channels": 1}, "mlp": {"widths": (9, 7)}}[name]
    network = live_in(build(name, seed=0, **options)).eval()
    return network, capture(network, torch.zeros(2, 1, 8, 8))


def loaded(network, weights):
    twin = copy.deepcopy(network)
    twin.load_state_dict(weights)
    return twin


def shuffled(network, found):
    """The same network with the units of every group in another order."""
    twin, stream = copy.deepcopy(network), generator("shuffled")
    weights = twin.state_dict()
    for group in found:
        order = torch.randperm(group.units, generator=stream)
        for spot in group.spots:
            weights[spot.name].copy_(spot.take(weights[spot.name], order))
    return twin


def likeness(one, other):
    with torch.no_grad():
        return sum(float((x * y).sum()) for x, y in zip(one.parameters(), other.parameters(), strict=True))


def inputs_of(halves):
    return torch.randn(16, *halves.cuts[0].shape, generator=generator("weights test"))


def check_same_answers(network, weights, inputs):
    found, expected = (answer(one, inputs) for one in (loaded(network, weights), network))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5), "another network"


@pytest.mark.parametrize("name", ["preact", "myrtle", "mlp"])
def test_matched_units_are_found_and_change_no_answer(name):
    b, halves = ready(name)
    inputs = inputs_of(halves)
    a = shuffled(b, groups(halves.wiring)[0])
    assert not torch.equal(a.fc.weight, b.fc.weight)
    matched = match_units(capture(a, inputs[:2]), halves)
    check_same_answers(a, matched, inputs)
    # The law of recovery: of a network and itself with its units in another order, the order is found.
    assert all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in matched.items())


def test_two_networks_come_nearer_and_stay_what_they_are():
    b, halves = ready("plain")
    a, inputs = NETWORKS["plain"].network(7), inputs_of(halves)
    before = weights_fingerprint(a), weights_fingerprint(b)
    matched = match_units(capture(a, inputs[:2]), halves)
    check_same_answers(a, matched, inputs)
    assert likeness(loaded(a, matched), b) > likeness(a, b) + 0.1
    # The canary: one weight that did not follow makes it another network.
    last = "features.4.weight"
    with pytest.raises(AssertionError, match="another network"):
        check_same_answers(a, {**matched, last: a.state_dict()[last]}, inputs)
    for tensor in matched.values():
        tensor.zero_()
    assert (weights_fingerprint(a), weights_fingerprint(b)) == before


def test_the_units_of_a_replayed_network_are_not_known():
    with pytest.raises(NotCuttable, match="to match the units of Branchy"):
        match_units(captured("branchy"), captured("branchy"))


def test_mixing_weighs_what_goes_in_and_keeps_counts():
    a, b = network_of("plain"), NETWORKS["plain"].network(7)
    found = mixed(b, [(0.25, a.state_dict()), (0.75, b.state_dict())]).state_dict()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.25 * a.state_dict()[name] + 0.75 * b.state_dict()[name])
        else:
            assert torch.equal(tensor, b.state_dict()[name])


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.last = nn.BatchNorm1d(4, momentum=0.3), nn.Dropout(0.5), nn.Linear(4, 2)
        live_in(self)

    def forward(self, x):
        return self.last(self.drop(self.norm(x)))


def test_statistics_are_those_of_the_samples():
    """An oracle: with batches of equal size the running mean is the mean, and the variance that within batches."""
    network = Norms().train()
    inputs = torch.randn(600, 4, generator=generator("statistics")) * 3 + 1
    estimate_statistics(network, Samples("points", inputs, torch.arange(600) % 2, 2))
    whole = inputs[:512]
    assert torch.allclose(network.norm.running_mean, whole.mean(0), atol=1e-5)
    assert torch.allclose(network.norm.running_var, whole.view(2, 256, 4).var(1).mean(0), rtol=1e-5)
    assert network.norm.momentum == 0.3
    assert not any(module.training for module in network.modules())
    few = Samples("points", inputs[:40], torch.arange(40) % 2, 2)
    estimate_statistics(network, few)
    assert torch.allclose(network.norm.running_mean, inputs[:40].mean(0), atol=1e-5)

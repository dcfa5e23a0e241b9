"""Symmetries: permuting a group changes no answer, and permuting less than a group does."""

import copy

import pytest
import torch

from fixtures import NETWORKS, answer, captured, network_of
from modelstitch.cut import capture
from modelstitch.networks import build
from modelstitch.symmetries import Group, Spot, groups


def permuted(network, group):
    """The network with the units of a group in reverse order."""
    twin = copy.deepcopy(network)
    weights = twin.state_dict()
    for spot in group.spots:
        weights[spot.name].copy_(spot.take(weights[spot.name], torch.arange(group.units).flip(0)))
    return twin


def check_same(network, group, inputs):
    assert torch.allclose(answer(permuted(network, group), inputs), answer(network, inputs), atol=1e-5), (
        "another answer"
    )


@pytest.mark.parametrize(
    ("name", "units"),
    [
        # Three of a stream, and of each block what stands between its two convolutions; the image and the answer stay.
        ("preact", [2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16]),
        ("plain", [3, 4]),
        ("postact", [3, 3, 3, 5, 5]),
        ("vit", [4, 16, 16]),
        ("functional", [4, 5]),
        # Channels that are concatenated keep their places, and so do those that meet an operator not known here.
        ("dense", []),
    ],
)
def test_permuting_a_group_changes_no_answer(name, units):
    found, _ = groups(captured(name).wiring)
    assert sorted(group.units for group in found) == units
    for group in found:
        check_same(network_of(name), group, NETWORKS[name].inputs(5))


def test_a_group_without_one_of_its_weights_changes_the_answer():
    """The canary: every spot of every group is needed."""
    for name, some in (("plain", 2), ("preact", 1)):
        for group in groups(captured(name).wiring)[0][:some]:
            for left_out in group.spots:
                less = Group(group.units, tuple(spot for spot in group.spots if spot != left_out))
                with pytest.raises(AssertionError, match="another answer"):
                    check_same(network_of(name), less, NETWORKS[name].inputs(5) * 5)


def test_each_value_knows_its_group():
    wiring = captured("preact").wiring
    found, group_of = groups(wiring)
    stream = found[group_of[wiring.at["layer1.0"]]]
    assert group_of[wiring.at["layer1.1"]] == group_of[wiring.at["conv1"]] == group_of[wiring.at["layer1.0"]]
    assert {"conv1.weight", "layer1.1.conv2.weight", "layer2.0.shortcut.weight"} <= {spot.name for spot in stream.spots}
    assert wiring.at["input"] not in group_of
    assert wiring.at["output"] not in group_of


def test_a_flattened_map_is_permuted_in_runs():
    assert Spot("fc.weight", 1, 2).take(torch.arange(6)[None], torch.tensor([2, 0, 1])).tolist() == [[4, 5, 0, 1, 2, 3]]


def test_a_shared_weight_ties_what_it_serves():
    """A weight used twice is one weight: whoever permutes it permutes both places, or neither."""
    network = network_of("tied")
    for group in groups(captured("tied").wiring)[0]:
        check_same(network, group, NETWORKS["tied"].inputs(5))
    twin = capture(build("mlp", seed=0, widths=(3, 3)), torch.zeros(2, 64))
    assert [group.units for group in groups(twin.wiring)[0]] == [3, 3]

"""Captures that tests share: only those of networks that are alike, as they are now."""

import pytest
import torch
from torch import nn

from captures import likeness, share_captures
from modelstitch.networks import Network, build


@pytest.fixture(autouse=True)
def _sharing(monkeypatch):
    share_captures(monkeypatch)


def mlp(seed=11, **options):
    return build("mlp", seed=seed, inputs=6, **options).eval()


X = torch.zeros(2, 6)


def captured(network, example=X):
    return Network("A", network, example=example).captured


def test_networks_that_are_alike_share_a_capture():
    assert captured(mlp()) is captured(mlp())


def test_one_whose_weights_were_changed_is_shared_no_more():
    network = mlp(seed=13)
    first = captured(network)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    # Its memory is that of the first one, which is no longer what it was.
    assert captured(network) is not first
    assert captured(mlp(seed=13)) is not first


class Own(nn.Linear):
    pass


def hooked():
    network = nn.Sequential(nn.Linear(6, 2))
    network.register_forward_hook(lambda module, inputs, output: output)
    return network


@pytest.mark.parametrize("one", [lambda: nn.Sequential(Own(6, 2)), hooked], ids=["another class", "a hook"])
def test_what_is_not_told_by_what_it_holds_is_never_shared(one):
    assert likeness(one(), X) is None


@pytest.mark.parametrize("other", [mlp(widths=(5,)), nn.Sequential(mlp(), nn.ReLU()), mlp(seed=12)])
def test_another_network_is_not_alike(other):
    assert likeness(other, X) != likeness(mlp(), X)


def test_another_example_is_not_alike():
    assert likeness(mlp(), X) != likeness(mlp(), X.double())
    assert likeness(nn.Dropout(0.1), X) != likeness(nn.Dropout(0.2), X)

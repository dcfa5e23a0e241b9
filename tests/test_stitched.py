"""The stitched network: top after stitch after bottom, with nothing to train but the stitch."""

import pytest
import torch

from fixtures import NETWORKS, answer, captured, network_of, vectors
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, Identity


def check_identity(stitched, network, inputs):
    with torch.no_grad():
        assert torch.equal(stitched(inputs), answer(network, inputs)), "not the network itself"


@pytest.mark.parametrize("name", ["plain", "postact", "transformer", "branchy"])
def test_a_network_stitched_to_itself_is_itself(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    for cut in halves.blocks:
        stitched = Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut))
        check_identity(stitched, network_of(name), inputs)


def test_a_stitch_that_is_not_the_identity_is_seen():
    halves = captured("twice")
    cut = halves.find("first")
    stitched = Stitched(halves.bottom(cut), Affine().build(cut, cut), halves.top(cut))
    with pytest.raises(AssertionError, match="not the network itself"):
        check_identity(stitched, network_of("twice"), vectors(3))


def test_only_the_stitch_is_trained():
    halves = captured("twice")
    cut, other = halves.find("first"), halves.find("again.1")
    stitched = Stitched(halves.bottom(cut), Affine().build(cut, other), halves.top(other))
    assert [name for name, _ in stitched.named_parameters()] == ["stitch.layer.weight", "stitch.layer.bias"]
    stitched(vectors(3)).sum().backward()
    assert all(p.grad is not None for p in stitched.parameters())
    assert all(p.grad is None for p in network_of("twice").parameters())


def test_it_is_top_after_stitch_after_bottom():
    halves, x = captured("twice"), vectors(3)
    cut = halves.find("first")
    below, stitch, above = halves.bottom(cut), Affine().build(cut, cut), halves.top("again.1:2")
    assert torch.equal(Stitched(below, stitch, above)(x), above(stitch(below(x))))

"""The stitched network: top after stitch after bottom, with nothing to train but the stitch."""

import pytest
import torch

from fixtures import NETWORKS, answer, captured, network_of, vectors
from modelstitch.cut import capture
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


def check_end_points(a, b, expected_at_input, expected_at_output, inputs):
    """The law: stitched at the input, A -> B is B; stitched at the output, it is A."""
    for name, expected in (("input", expected_at_input), ("output", expected_at_output)):
        below, above = a.find(name), b.find(name)
        stitch = Identity().build(below, above)
        check_identity(Stitched(a.bottom(below), stitch, b.top(above)), expected, inputs)


@pytest.mark.parametrize("name", ["plain", "transformer"])
def test_the_end_points_are_the_two_networks(name):
    tiny, first = NETWORKS[name], network_of(name)
    # Weights that take gradients make torch multiply in another order, and round differently.
    second, inputs = tiny.network(7).requires_grad_(False), tiny.inputs(3)
    other = capture(second, tiny.inputs(2))
    check_end_points(captured(name), other, second, first, inputs)
    # The canary: with the networks in each other's place, the law is broken.
    with pytest.raises(AssertionError, match="not the network itself"):
        check_end_points(captured(name), other, first, second, inputs)


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

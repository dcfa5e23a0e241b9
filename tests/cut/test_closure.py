"""Closure: halves and stitched networks are networks, which are copied, pickled, saved and captured like any other."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensor

from fixtures import NETWORKS, answer, captured, images, main, network_of, sides
from modelstitch.cut import Capture, capture, capture_of
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, BNAffineBN, Identity
from modelstitch.support.tensors import call


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def saved(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": pickled, "torch.save": saved}


def stitched_at(halves, cut, family=None, top=None):
    cut = halves.find(cut)
    return Stitched(halves.bottom(cut), (family or Identity()).build(cut, cut), halves.top(top or cut)).eval()


def frozen(network):
    """As a fit leaves a stitched network: weights that take gradients make torch round otherwise."""
    return network.requires_grad_(False)


# Copies


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_of_a_half_answers_bit_for_bit(name, way):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    for cut in halves.blocks[:2]:
        below, above = halves.bottom(cut), halves.top(cut)
        value = below(main(inputs), **sides(inputs))
        assert torch.equal(COPIES[way](below)(main(inputs), **sides(inputs)), value)
        found, right = (half(value, **sides(inputs)) for half in (COPIES[way](above), above))
        assert torch.utils._pytree.tree_all(lambda same: same, torch.utils._pytree.tree_map(torch.equal, found, right))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("family", [Affine(), BNAffineBN()], ids=str)
def test_a_copy_of_a_stitched_network_answers_bit_for_bit_and_trains(family, way):
    stitched = stitched_at(captured("preact"), "layer2.0", family)
    found = COPIES[way](stitched)
    x = NETWORKS["preact"].inputs(3)
    assert torch.equal(found(x), stitched(x))
    assert {n: p.requires_grad for n, p in found.named_parameters()} == {
        n: p.requires_grad for n, p in stitched.named_parameters()
    }
    before = stitched(x)
    with torch.no_grad():
        next(found.stitch.parameters()).add_(1)
    assert torch.equal(stitched(x), before)
    assert not torch.equal(found(x), before)


def memory_of(module):
    return {t.data_ptr() for t in (*module.parameters(), *module.buffers())}


@pytest.mark.parametrize("name", ["plain", "branchy"])
def test_a_half_shares_memory_with_the_network_and_a_copy_does_not(name):
    half = captured(name).top(captured(name).blocks[0])
    assert memory_of(half) <= memory_of(network_of(name))
    for way in COPIES.values():
        assert not memory_of(way(half)) & memory_of(network_of(name))


def test_a_copy_with_statistics_of_its_own_keeps_them():
    half = captured("plain").top("input").with_batch_statistics().train()
    half(images(5))
    copied = pickled(half)
    assert copied.own_statistics
    assert copied.training
    assert torch.equal(copied.eval()(images(2)), half.eval()(images(2)))
    assert not torch.equal(copied(images(2)), captured("plain").top("input")(images(2)))


# What a half holds


def check_holds_little(half):
    """A half keeps no capture and no tensors but its weights."""
    for module in half.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            assert set(node.meta) <= {"nn_module_stack"}, "an example is held"
    seen, queue = set(), [half]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        assert not isinstance(one, FakeTensor), "an example is held"
        assert type(one).__name__ not in ("Exported", "Replayed", "Trace"), "a capture is held"
        queue += one.__dict__.values() if hasattr(one, "__dict__") else []
        queue += one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple, set)) else []


@pytest.mark.parametrize("name", ["plain", "text", "branchy", "structured"])
def test_a_half_holds_its_weights_and_its_graph_alone(name):
    for cut in captured(name).blocks:
        check_holds_little(captured(name).bottom(cut))
        check_holds_little(captured(name).top(cut))


def test_a_half_that_holds_its_capture_is_seen():
    half = captured("plain").top("features.3")
    half.kept = captured("plain")
    with pytest.raises(AssertionError, match="is held"):
        check_holds_little(half)


def test_the_capture_of_a_half_is_known_while_the_half_lives():
    halves = capture(network_of("twice"), NETWORKS["twice"].inputs(2))
    half = halves.bottom("first")
    assert capture_of(half) is halves
    assert capture_of(half.with_batch_statistics()) is halves
    gone = weakref.ref(half)
    del half
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("way", COPIES)
def test_a_copied_half_has_no_capture_and_says_what_to_do(way):
    with pytest.raises(SettingError) as caught:
        capture_of(COPIES[way](captured("twice").top("first")))
    assert str(caught.value).splitlines() == [
        "asked: the captured network of a top at 'first' of Twice",
        "found: a copied or loaded half, which knows no other cut of its network",
        "do:    take the half anew: modelstitch.top(network, 'first', example)",
    ]


# Captured again


def check_self_stitches(network, inputs):
    """Cut at every place of a network and joined again by the identity, it is the network, bit for bit."""
    halves = capture(network, inputs)
    assert halves.replayed == ""
    expected = answer(network, inputs)
    for cut in halves.cuts:
        # No family joins cuts without channels, as token ids are.
        stitch = Identity()._module(cut, cut)
        stitched = Stitched(halves.bottom(cut), stitch, halves.top(cut))
        assert torch.equal(answer(stitched, inputs), expected), f"not exactly 0 at {cut.name}"
    return halves


def all_names(cut):
    return (cut.name, *cut.aliases)


AGAIN = {"preact": "layer2.0", "vit": "blocks.0", "transformer": "blocks.0", "text": "blocks.0", "dense": "down"}


@pytest.mark.parametrize("name", AGAIN)
def test_a_stitched_network_is_cut_in_both_halves_and_at_the_stitch(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    again = check_self_stitches(frozen(stitched_at(halves, AGAIN[name], Affine())), inputs)
    place = [cut.name for cut in halves.blocks].index(AGAIN[name])
    below, above = halves.blocks[: place + 1], halves.blocks[place + 1 :]
    expected = [("bottom", *names) for names in map(all_names, below)] + [("", "stitch")]
    expected += [("top", *names) for names in map(all_names, above)]
    # By name or alias: where one block of a stage is below the stitch, the stage's own name is as good.
    for (half, *names), found in zip(expected, again.blocks, strict=True):
        assert {f"{half}.{name}".removeprefix(".") for name in names} & set(all_names(found))


def test_a_top_of_another_cut_is_seen(monkeypatch):
    right = Capture.top
    monkeypatch.setattr(Capture, "top", lambda self, cut: right(self, self.cuts[-1]))
    with pytest.raises(AssertionError, match="not exactly 0 at"):
        check_self_stitches(network_of("twice"), NETWORKS["twice"].inputs(3))


def test_stitched_networks_are_stitched_again():
    halves, x = captured("preact"), NETWORKS["preact"].inputs(3)
    once = capture(frozen(stitched_at(halves, "layer1.1", Affine())), x)
    twice = frozen(stitched_at(once, "top.layer3.0", Affine()))
    again = check_self_stitches(twice, x)
    names = [cut.name for cut in again.blocks]
    assert names[:4] == ["bottom.bottom.conv1", "bottom.bottom.layer1.0", "bottom.bottom.layer1.1", "bottom.stitch"]
    assert {"stitch", "bottom.top.layer2.0", "top.top.layer4.1"} <= set(names)


def test_a_stitched_network_with_statistics_of_its_own_is_captured():
    halves = captured("preact")
    cut = halves.find("layer2.0")
    below, above = halves.bottom(cut).with_batch_statistics(), halves.top(cut).with_batch_statistics()
    stitched = Stitched(below, BNAffineBN().build(cut, cut), above).train()
    stitched(NETWORKS["preact"].inputs(5))
    check_self_stitches(frozen(stitched.eval()), NETWORKS["preact"].inputs(2))


def test_a_half_is_captured_as_well():
    half, x = captured("preact").bottom("layer2.0"), NETWORKS["preact"].inputs(2)
    assert [cut.name for cut in check_self_stitches(half, x).blocks] == ["conv1", "layer1.0", "layer1.1"]


# Inputs of every form


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x, mask):
        return self.last(torch.tanh(self.two(torch.relu(self.one(x)) * mask[:, :1])) * mask[:, 1:])


def test_a_network_with_two_inputs_is_called_by_tuple_or_mapping_in_any_order():
    torch.manual_seed(0)
    network, x, mask = Masked().requires_grad_(False), torch.randn(3, 6), torch.rand(3, 2)
    expected = network(x, mask)
    for inputs in ((x, mask), {"x": x, "mask": mask}):
        halves = capture(network, inputs)
        for cut in halves.cuts:
            below, above = halves.bottom(cut), halves.top(cut)
            for form in ((x, mask), {"x": x, "mask": mask}, {"mask": mask, "x": x}):
                value = call(below, form)
                assert torch.equal(above(value, mask), expected)
                assert torch.equal(above(value, mask=mask), expected)
                assert torch.equal(call(stitched_at(halves, cut), form), expected)


def test_the_first_of_a_mapping_is_the_main_input_whatever_the_signature_says():
    torch.manual_seed(0)
    network, x, mask = Masked().requires_grad_(False), torch.randn(3, 6), torch.rand(3, 2)
    halves = capture(network, {"mask": mask, "x": x})
    assert halves.find("input").shape == (2,)
    assert [entry.name for entry in halves.entries] == ["mask", "x"]
    assert torch.equal(halves.top("input")(mask, x=x), network(x, mask))


@pytest.mark.parametrize("given", [{}, {"mask": 1, "other": 2}, {"x": 0, "mask": 1}])
def test_wrong_keywords_are_refused_by_name(given):
    half = capture(Masked(), (torch.zeros(2, 6), torch.zeros(2, 2))).top("one")
    with pytest.raises(ShapeMismatch, match="a network that was captured with x, mask"):
        half(torch.zeros(2, 5), **dict.fromkeys(given, torch.zeros(2, 2)))


class Answer(dict):
    """An output with a class of its own, as libraries have them."""


torch.utils._pytree.register_pytree_node(
    Answer,
    lambda one: (list(one.values()), list(one)),
    lambda values, keys: Answer(zip(keys, values, strict=True)),
    serialized_type_name="test_closure.Answer",
)


class Answering(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return Answer(logits=self.two(self.one(x)))


def test_an_output_of_a_class_of_its_own_comes_back_as_one():
    network, x = Answering().requires_grad_(False), torch.randn(2, 6)
    halves = capture(network, x)
    half = halves.top("one")
    for top in (half, *(way(half) for way in COPIES.values())):
        found = top(halves.bottom("one")(x))
        assert type(found) is Answer
        assert torch.equal(found["logits"], network(x)["logits"])


# The end


def test_the_last_module_is_another_name_of_the_output():
    halves = captured("plain")
    assert halves.find("fc").name == "output"
    assert torch.equal(halves.bottom("fc")(images(2)), answer(network_of("plain"), images(2)))
    network = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
    assert capture(network, torch.zeros(2, 6)).find("1.1").aliases == ("1", "1.1")

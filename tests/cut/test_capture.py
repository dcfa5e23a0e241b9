"""Capturing and halving: the laws of split and end points over every network and cut, and what is refused."""

import copy
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fixtures import NETWORKS, PostActNet, Tiny, answer, captured, images, main, network_of, sides, vectors
from modelstitch.cut import bottom, capture, cuts, top
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.errors import CutNotFound, IllegalCut, NotCuttable, ShapeMismatch

every_network = pytest.mark.parametrize("name", NETWORKS)


def same(one, other):
    (a, form), (b, other_form) = pytree.tree_flatten(one), pytree.tree_flatten(other)
    return form == other_form and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# Split: top(N, c)(bottom(N, c)(x)) == N(x), bit for bit


def check_split(halves, network, batches):
    expected = [answer(network, inputs) for inputs in batches]
    for cut in halves.cuts:
        below, above = halves.bottom(cut.name), halves.top(cut.name)
        for inputs, right in zip(batches, expected, strict=True):
            with torch.no_grad():
                found = above(below(main(inputs), **sides(inputs)), **sides(inputs))
            assert same(found, right), f"split at {cut.name}, {len(main(inputs))} rows"


@every_network
def test_split_at_every_cut_for_every_batch_size(name):
    batches = [NETWORKS[name].inputs(rows) for rows in (1, 2, 5)]
    check_split(captured(name), network_of(name), batches)


def test_split_for_sentences_of_other_lengths():
    batches = [NETWORKS["text"].inputs(rows, length) for rows, length in ((1, 3), (3, 11), (2, 7))]
    check_split(captured("text"), network_of("text"), batches)


class Credulous(Replayed):
    """Wrong on purpose: believes that nothing else crosses."""

    def _crosses_alone(self, value, tensor, answer, order):
        return True


@dataclass
class Shifted:
    """Wrong on purpose: the top begins one cut late."""

    right: object

    @property
    def cuts(self):
        return self.right.cuts[1:4]

    def bottom(self, cut):
        return self.right.bottom(cut)

    def top(self, cut):
        names = [c.name for c in self.right.cuts]
        return self.right.top(names[names.index(cut) + 1])


@pytest.mark.parametrize("wrong", ["a skip crosses", "one cut late"])
def test_split_sees_wrong_halves(wrong):
    network = network_of("postact")
    if wrong == "a skip crosses":
        halves = Credulous(frozen_view(network), (images(2),), {}, "canary")
    else:
        halves = Shifted(captured("postact"))
    with pytest.raises(AssertionError, match="split at"):
        check_split(halves, network, [images(2)])


# The tensor that crosses is what the module of that name gives; split alone would not see a relu applied twice


def check_bottoms_are_module_outputs(halves, network, inputs):
    twin, outputs, runs = copy.deepcopy(network), {}, Counter()

    def take(path):
        def hook(module, args, value):
            runs[path] += 1
            if isinstance(value, torch.Tensor):
                outputs[path] = value.clone()

        return hook

    for path, module in twin.named_modules():
        module.register_forward_hook(take(path))
    answer(twin, inputs)
    checked = 0
    for cut in halves.cuts:
        for path in (cut.name, *cut.aliases):
            if runs[path] == 1 and path in outputs:
                checked += 1
                with torch.no_grad():
                    assert torch.equal(halves.bottom(path)(main(inputs), **sides(inputs)), outputs[path]), (
                        f"output of {path}"
                    )
    assert checked


@every_network
def test_a_bottom_gives_the_output_of_the_module_it_is_named_after(name):
    check_bottoms_are_module_outputs(captured(name), network_of(name), NETWORKS[name].inputs(2))


@dataclass
class Careless:
    """Wrong on purpose: keeps a module's output without a copy, for the next in-place operator to overwrite."""

    right: object
    network: nn.Module

    @property
    def cuts(self):
        return self.right.cuts

    def bottom(self, path):
        def run(x):
            twin, kept = copy.deepcopy(self.network), []
            twin.get_submodule(path).register_forward_hook(lambda module, args, value: kept.append(value))
            twin(x)
            return kept[0]

        return run


def test_an_overwritten_activation_is_seen():
    halves = Careless(captured("plain"), network_of("plain"))
    with pytest.raises(AssertionError, match=r"output of features\.1"):
        check_bottoms_are_module_outputs(halves, network_of("plain"), images(2))


# End points


@every_network
def test_the_top_at_the_input_is_the_network(name):
    inputs = NETWORKS[name].inputs(3)
    halves = captured(name)
    below = halves.bottom("input")(main(inputs), **sides(inputs))
    assert torch.equal(below, main(inputs))
    with torch.no_grad():
        assert same(halves.top("input")(below, **sides(inputs)), answer(network_of(name), inputs))


@every_network
def test_the_bottom_at_the_output_is_the_network(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    if name == "structured":
        # Several tensors come out, so there is no one cut behind them.
        assert halves.cuts[-1].name == "two.relu"
        return
    with torch.no_grad():
        found = halves.bottom("output")(main(inputs), **sides(inputs))
        assert torch.equal(found, answer(network_of(name), inputs))
        assert torch.equal(halves.top("output")(found, **sides(inputs)), found)


# Several cuts in one run


@every_network
def test_one_run_gives_the_tensors_at_several_cuts(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(2)
    names = [cut.name for cut in reversed(halves.cuts)]
    several = halves.bottoms(names)
    assert several.cut == halves.cuts[-1]
    with torch.no_grad():
        for cut, value in zip(names, several(main(inputs), **sides(inputs)), strict=True):
            assert torch.equal(value, halves.bottom(cut)(main(inputs), **sides(inputs))), cut


# Shapes and kinds are those of the tensors


@every_network
def test_the_shape_of_a_cut_is_that_of_the_tensor(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(2)
    for cut in halves.cuts:
        shape = halves.bottom(cut)(main(inputs), **sides(inputs)).shape[1:]
        assert len(cut.shape) == len(shape)
        assert all(told in (None, size) for told, size in zip(cut.shape, shape, strict=True)), cut


# Networks in other states


def test_a_network_in_train_mode_is_cut_as_in_eval_mode():
    training = NETWORKS["plain"].network().train()
    check_split(capture(training, images(1)), network_of("plain"), [images(3)])


def test_a_network_in_double_precision_splits_bit_for_bit():
    network = copy.deepcopy(network_of("postact")).double()
    check_split(capture(network, images(1).double()), network, [images(2).double()])


class Shifting(nn.Module):
    """Adds two inputs: one main, one beside it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x, shift):
        return self.two(torch.relu(self.one(x)) + shift)


def test_side_inputs_in_a_tuple_are_given_to_both_halves():
    network, inputs = Shifting(), (vectors(3), torch.ones(3, 4))
    halves = capture(network, inputs)
    expected = network(*inputs)
    for cut in halves.cuts:
        assert torch.equal(halves.top(cut)(halves.bottom(cut)(*inputs), inputs[1]), expected), cut.name


def test_the_functions_are_short_for_a_capture():
    network, x = network_of("twice"), vectors(2)
    assert torch.equal(top(network, "first", x)(bottom(network, "first", x)(x)), network(x))
    assert [cut.name for cut in cuts(network, x)] == ["first", "again.1", "again.1:2"]
    assert [cut.name for cut in cuts(network, x, every=True)] == [cut.name for cut in captured("twice").cuts]


def test_a_network_is_captured_from_one_example_of_any_values():
    tiny = Tiny(PostActNet, images, {})
    from_zeros = capture(tiny.network(), torch.zeros(1, 2, 8, 8))
    assert from_zeros.cuts == captured("postact").cuts


# What is refused, and how


def test_an_unknown_name_is_answered_with_the_nearest_names():
    with pytest.raises(CutNotFound) as caught:
        captured("preact").find("layer2.9")
    asked, found, do = str(caught.value).splitlines()
    assert asked == "asked: cut 'layer2.9' of ResNet"
    assert found.startswith("found: no such place; by block its cuts are conv1, layer1.0, layer1.1, layer2.0, ")
    assert do.startswith("do:    did you mean 'layer2.")
    assert do.endswith("? Or list them all: `modelstitch cuts NETWORK --all`")


def test_a_name_like_no_other_is_answered_with_where_to_look():
    with pytest.raises(CutNotFound, match=r"do:    list them all: `modelstitch cuts NETWORK --all`"):
        captured("preact").find("xyzzy")


ILLEGAL = {
    ("postact", "layer1.0.conv2"): (
        "stem.2 (3, 6, 6), layer1.0.conv2 (3, 6, 6)",
        "'stem' or 'layer1.0.add'",
    ),
    ("preact", "layer1.1.conv1"): (
        "layer1.0 (2, 8, 8), layer1.1.conv1 (2, 8, 8)",
        "'layer1.0' or 'layer1.1'",
    ),
    ("dense", "block1.one"): ("stem (3, 8, 8), block1.one.2 (2, 8, 8)", "'stem' or 'block1.cat'"),
    ("branching", "mixed1.long.1"): (
        "mixed1.short (2, 6, 6), mixed1.long.1 (2, 6, 6)",
        "'relu' or 'mixed1.cat'",
    ),
    ("windowed", "blocks.0.qkv"): ("norm (4, 4, 4), blocks.0.qkv (4, 12)", "'norm' or 'blocks.0.add'"),
    ("mobile", "blocks.0.1.conv_dw"): (
        "blocks.0.0 (3, 8, 8), blocks.0.1.conv_dw (3, 8, 8)",
        "'blocks.0.0' or 'blocks.0.1'",
    ),
}


@pytest.mark.parametrize(("name", "place"), ILLEGAL)
def test_an_illegal_place_names_the_tensors_that_cross_and_the_nearest_cuts(name, place):
    crossing, nearest = ILLEGAL[name, place]
    with pytest.raises(IllegalCut, match="more than one tensor crosses there") as caught:
        captured(name).bottom(place)
    assert str(caught.value).splitlines() == [
        f"asked: cut {place!r} of {type(network_of(name)).__name__}",
        f"found: more than one tensor crosses there: {crossing}",
        f"do:    take the nearest legal cut: {nearest}",
    ]


def test_wrong_channels_are_refused_in_the_network_s_own_words():
    with pytest.raises(
        ShapeMismatch, match=r"to run Plain on an example of shape \(1, 3, 8, 8\)\nfound: it refuses: .*ch"
    ):
        capture(network_of("plain"), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    "example",
    [(), {}, torch.zeros(0, 2, 8, 8), torch.tensor(1.0)],
    ids=["no tensors", "no keywords", "no rows", "no axes"],
)
def test_an_example_without_tensors_is_refused(example):
    with pytest.raises(NotCuttable, match="an example that is not made of tensors with at least one row"):
        capture(network_of("plain"), example)


def test_lazy_modules_are_refused():
    with pytest.raises(NotCuttable, match=r"a frozen view of Sequential\n.*\ndo:    run lazy modules once"):
        capture(nn.Sequential(nn.LazyLinear(3)), vectors(1))

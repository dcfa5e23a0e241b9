"""What a network takes and gives beside tensors: constants, None, nested tuples, lists of examples, caches."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from fixtures import vectors
from modelstitch.cut import capture
from modelstitch.errors import NotCuttable, ShapeMismatch


class Two(nn.Module):
    """Two layers, with options between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x, mask=None, scale=1.0, flag=True):
        h = torch.relu(self.a(x))
        if mask is not None:
            h = h * mask
        return self.b(h * scale) if flag else h


class Replaying(Two):
    """The same behind a branch that export refuses."""

    def forward(self, x, mask=None, scale=1.0, flag=True):
        y = super().forward(x, mask, scale, flag)
        return y / 2 if y.sum() > 1e9 else y


def captured(network, example):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*replayed")
        return capture(network, example)


def check_whole(halves, network, args=(), kwargs=None, side=()):
    kwargs = kwargs or {}
    for cut in halves.cuts:
        found = halves.top(cut)(halves.bottom(cut)(*args, **kwargs), *side)
        assert torch.equal(found, network(*args, **kwargs)), cut.name


@pytest.mark.parametrize("kind", [Two, Replaying])
def test_none_numbers_and_flags_are_constants_of_the_captured_network(kind):
    network, x = kind(), vectors(4)
    for args in ((x, None), (x, None, 2.0), (x, None, 2.0, True)):
        halves = captured(network, args)
        assert "a" in [cut.name for cut in halves.cuts]
        assert [entry.name for entry in halves.entries] == ["x"]
        check_whole(halves, network, args)
        assert torch.equal(halves.bottom("a")(x), network.a(x))


def test_keywords_may_be_constants():
    network, x, mask = Two(), vectors(4), torch.rand(4, 5)
    halves = captured(network, {"x": x, "mask": None, "scale": 2.0})
    check_whole(halves, network, kwargs={"x": x, "scale": 2.0})
    halves = captured(network, {"x": x, "mask": mask, "scale": 2.0})
    assert [entry.name for entry in halves.entries] == ["x", "mask"]
    below = halves.bottom("a")(x=x, mask=mask, scale=2.0)
    assert torch.equal(halves.top("a")(below, mask=mask), network(x, mask, 2.0))


@pytest.mark.parametrize("kind", [Two, Replaying])
def test_a_constant_is_a_part_of_the_network_and_of_its_identity(kind):
    network, x = kind(), vectors(4)
    halves = [captured(network, (x, None, scale)) for scale in (1.0, 2.0)]
    assert halves[0].graph != halves[1].graph
    with pytest.raises(ShapeMismatch, match=r"Bottom of .* at 'a'\nfound: 3\.0, where it was captured with None, 2\.0"):
        halves[1].bottom("a")(x, None, 3.0)
    # True equals 1.0, and is another constant.
    with pytest.raises(ShapeMismatch, match="found: True"):
        halves[0].bottom("a")(x, None, True)


def test_halves_with_constants_are_copied_and_pickled():
    for kind in (Two, Replaying):
        network, x = kind(), vectors(4)
        halves = captured(network, (x, None, 2.0))
        for again in (copy.deepcopy, lambda half: pickle.loads(pickle.dumps(half))):
            below, above = again(halves.bottom("a")), again(halves.top("a"))
            assert torch.equal(above(below(x, None, 2.0)), network(x, None, 2.0))
        own = halves.bottom("a").with_batch_statistics()
        assert torch.equal(own(x, None, 2.0), network.a(x))


class Nested(Two):
    """Takes one tuple, as networks of molecules do: kinds of atoms and their places."""

    def forward(self, pair):
        shift, x = pair
        return self.b(torch.relu(self.a(x) + shift))


def test_a_nested_tuple_is_as_many_inputs_as_it_holds():
    network, shift, x = Nested(), torch.randn(4, 5), vectors(4)
    halves = captured(network, ((shift, x),))
    assert [entry.name for entry in halves.entries] == ["pair_0", "pair_1"]
    assert not halves.replayed
    check_whole(halves, network, ((shift, x),), side=(x,))


class Listed(Two):
    """Takes a list of examples, as detectors do."""

    def forward(self, images):
        return self.b(torch.relu(self.a(torch.stack([image / 2 for image in images]))))


def test_a_list_in_the_place_of_the_main_input_holds_one_example_each():
    network, x = Listed(), vectors(5)
    halves = captured(network, ([*x],))
    assert [cut.name for cut in halves.cuts] == ["input", "a", "output"]
    for rows in (x, vectors(2)):
        check_whole(halves, network, ([*rows],))
        assert torch.equal(halves.bottom("output")(rows), network([*rows]))


def test_a_list_of_examples_of_several_shapes_is_refused_in_words():
    with pytest.raises(NotCuttable, match=r"several shapes: \(6,\), \(7,\)\ndo:    give examples of one shape"):
        capture(Listed(), ([torch.ones(6), torch.ones(7)],))


def test_an_example_without_a_tensor_is_refused():
    for example in ((None, 2.0), (), {"x": 3}, (torch.tensor(1.0),)):
        with pytest.raises(NotCuttable, match="an example that is not made of tensors"):
            capture(Two(), example)


class DynamicCache:
    """Keys and values of every layer, in an object of its own."""

    def __init__(self):
        self.held = []


class Decoder(nn.Module):
    """Four layers that write into a cache, which is given back."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.h = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))
        self.head = nn.Linear(6, 3)

    def forward(self, x, use_cache=True):
        cache = DynamicCache()
        for layer in self.h:
            x = torch.tanh(layer(x))
            cache.held.append(x)
        return {"logits": self.head(x), "cache": cache if use_cache else None}


def test_a_cache_beside_the_answer_costs_no_cut():
    network, x = Decoder(), vectors(4)
    with_cache, without = capture(network, x), capture(network, (x, False))
    assert [cut.name for cut in with_cache.cuts] == [cut.name for cut in without.cuts]
    assert len(with_cache.blocks) == 4
    for cut in with_cache.cuts:
        found = with_cache.top(cut)(with_cache.bottom(cut)(x))
        assert found["cache"] is None
        assert torch.equal(found["logits"], network(x)["logits"])


def test_a_cache_that_torch_can_look_into_is_left_out_as_well():
    class TupleCache(tuple):
        """A cache of a class that torch's tree functions know."""

    torch.utils._pytree.register_pytree_node(TupleCache, lambda t: (list(t), None), lambda v, _: TupleCache(v))

    class Known(Decoder):
        def forward(self, x):
            answer = super().forward(x)
            return answer["logits"], TupleCache(answer["cache"].held)

    assert len(capture(Known(), vectors(4)).blocks) == 4


def test_an_answer_that_is_nothing_but_an_object_is_still_refused():
    class Hiding(Decoder):
        def forward(self, x):
            return super().forward(x)["cache"]

    with pytest.warns(UserWarning, match="replayed"), pytest.raises(NotCuttable, match="no tensor can be seen"):
        capture(Hiding(), vectors(4))


# Strided memory

LAYOUTS = {
    "contiguous": lambda: torch.randn(5, 3, 4, 4),
    "channels last": lambda: torch.randn(5, 4, 4, 3).permute(0, 3, 1, 2),
    "repeated": lambda: torch.randn(1, 3, 4, 4).expand(5, 3, 4, 4),
    "every second": lambda: torch.randn(10, 3, 8, 4)[::2, :, ::2],
    "batch last": lambda: torch.randn(3, 4, 4, 5).permute(3, 0, 1, 2),
}


class Flattening(nn.Module):
    """Reshapes what it is given, which a view of strided memory cannot be."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(48, 3)

    def forward(self, x):
        return self.last(torch.tanh(x.flatten(1)))


@pytest.mark.parametrize("example", LAYOUTS)
def test_halves_take_data_of_any_strides_whatever_the_example_had(example):
    torch.manual_seed(0)
    network = Flattening()
    halves = capture(network, LAYOUTS[example]())
    assert [cut.name for cut in halves.cuts] == ["input", "view", "tanh", "output"]
    for made in LAYOUTS.values():
        x = made()
        for cut in halves.cuts:
            assert torch.equal(halves.top(cut)(halves.bottom(cut)(x)), network(x)), cut.name

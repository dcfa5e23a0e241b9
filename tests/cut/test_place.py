"""Names, aliases and the choice of one cut a block."""

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, Plain, PostActNet, Tiny, captured, images, network_of
from modelstitch.cut import Cut, capture
from modelstitch.cut.place import Place, names_of, numbered, pick_blocks

every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_the_default_cuts_are_those_a_person_would_name(name):
    assert [cut.name for cut in captured(name).blocks] == list(NETWORKS[name].blocks)


def check_names(halves):
    names = [name for cut in halves.cuts for name in (cut.name, *cut.aliases)]
    assert len(set(names)) == len(names), "a name stands twice"
    for cut in halves.cuts:
        for name in (cut.name, *cut.aliases):
            assert halves.find(name) is cut
        assert halves.find(cut) is cut


@every_network
def test_names_and_aliases_are_unique_and_found(name):
    check_names(captured(name))


def test_a_name_that_stands_twice_is_seen():
    class Doubled:
        cuts = (captured("twice").cuts[0],) * 2

    with pytest.raises(AssertionError, match="a name stands twice"):
        check_names(Doubled)


@pytest.mark.parametrize(("make", "name"), [(Plain, "plain"), (PostActNet, "postact")])
def test_names_depend_on_neither_seed_nor_width(make, name):
    wider = capture(Tiny(lambda: make(width=6), images, {}).network(seed=1), images(3))
    assert [(c.name, c.aliases, c.block, c.kind) for c in wider.cuts] == [
        (c.name, c.aliases, c.block, c.kind) for c in captured(name).cuts
    ]


def test_two_captures_tell_the_same():
    assert capture(network_of("twice"), NETWORKS["twice"].inputs(1)).cuts == captured("twice").cuts


def test_a_module_that_ends_at_a_cut_resolves_to_it():
    halves = captured("postact")
    assert halves.find("layer1") is halves.find("layer1.1") is halves.find("layer1.1.relu")
    assert halves.find("stem.2").name == "stem"


def test_channels_and_positions_follow_the_kind():
    def cut(kind, *shape):
        return Cut("c", (), shape, kind, 0.5, 0.5, True)

    assert (cut("map", 3, 4, 5).channels, cut("map", 3, 4, 5).positions) == (3, (4, 5))
    assert (cut("tokens", None, 7).channels, cut("tokens", None, 7).positions) == (7, (None,))
    assert (cut("vector", 9).channels, cut("vector", 9).positions) == (9, ())
    assert str(cut("tokens", None, 7)) == "c (tokens any × 7)"
    assert str(cut("map", 3, 4, 5)) == "c (map 3 × 4 × 5)"


def place(closed, layers, *, still_open=(), operation="op", pooled=False, raw=False):
    return Place(tuple(closed), tuple(still_open), operation, layers, "map", pooled, raw)


class Block(nn.Module):
    """A class of its own, as blocks are."""

    def __init__(self, *children):
        super().__init__()
        for i, child in enumerate(children):
            self.add_module(str(i), child)


def test_nothing_inside_a_block_is_offered():
    block = [nn.Linear(1, 1), nn.Linear(1, 1)]
    modules = dict(Block(Block(*block), Block(*block), Block(*block)).named_modules(remove_duplicate=False))
    layers = {"": 6, "0": 2, "1": 2, "2": 2} | {f"{b}.{i}": 1 for b in range(3) for i in range(2)}
    places = [
        place([f"{b}.{i}"] if i == 0 else [str(b), f"{b}.{i}"], 2 * b + i + 1, still_open=[str(b)] if i == 0 else [])
        for b in range(3)
        for i in range(2)
    ]
    assert pick_blocks(places, modules, layers) == {1, 3, 5}
    assert names_of(places, {1, 3, 5})[1] == ("0", ("0.1",))


def test_of_several_places_between_two_layers_the_last_before_and_the_last_after_pooling_are_offered():
    modules = dict(nn.Sequential(*(nn.Identity() for _ in range(5))).named_modules(remove_duplicate=False))
    places = [place([str(i)], 1, pooled=i > 2) for i in range(5)]
    assert pick_blocks(places, modules, {"": 2}) == {2, 4}


def test_the_input_in_other_clothes_is_not_offered():
    assert pick_blocks([place(["0"], 0, raw=True)], {"0": nn.Identity()}, {"": 1}) == set()


def test_names_that_come_again_are_numbered():
    assert numbered(["a", "b", "a", "a"]) == ["a", "b", "a:2", "a:3"]
    assert names_of([place(["x"], 1), place(["x"], 2)], set()) == [("x", ()), ("x:2", ())]


def test_shapes_are_those_of_one_example():
    assert captured("text").find("blocks.0").shape == (None, 4)
    assert captured("plain").find("features.3").shape == (3, 4, 4)
    assert torch.Size(captured("preact").find("layer2.0").shape) == torch.Size([4, 4, 4])

"""Names, aliases and the choice of one cut a block."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

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


# Networks as libraries write them


class Chain(nn.Module):
    """Children one after the other, and flat before the last."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x):
        *first, last = self.children()
        for child in first:
            x = child(x)
        return last(torch.flatten(x, 1))


class Padded(nn.Module):
    """A convolution that pads by itself, by a module or by a function, as the ports of other frameworks do."""

    def __init__(self, channels, width, *, by_module):
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if by_module else None
        self.weight = nn.Parameter(torch.randn(width, channels, 2, 2))

    def forward(self, x):
        x = self.pad(x) if self.pad else F.pad(x, (0, 1, 0, 1))
        return F.conv2d(x, self.weight)


class Coloured(nn.Module):
    def forward(self, x):
        return x.repeat(1, 3, 1, 1)


class Residual(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class Attending(nn.Module):
    """Two layers around a sum of their own."""

    def __init__(self, width=4):
        super().__init__()
        self.mix, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.out(torch.tanh(self.mix(x)))


class Thinking(Attending):
    """Another class of the same kind."""


class Both(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.layer = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.layer:
            x = part(x)
        return x


def conv(channels=3):
    return nn.Conv2d(channels, 3, 1)


def blocks_of(network, example):
    return [cut.name for cut in capture(network.eval(), example).blocks]


def mixers(count):
    return [nn.Sequential(Residual(conv(), nn.BatchNorm2d(3)), conv(), nn.ReLU()) for _ in range(count)]


def chain_of(*blocks, width=4):
    return Chain(stem=nn.Linear(width, width), blocks=nn.Sequential(*blocks), fc=nn.Linear(width, 3))


def pooled(**children):
    return Chain(**children, pool=nn.AdaptiveAvgPool2d(2), fc=nn.Linear(12, 2))


IMAGE, ROWS = torch.zeros(2, 2, 6, 6), torch.zeros(2, 4)
AS_A_PERSON_NAMES = {
    "the input padded is the input": (
        pooled(stem=Padded(2, 3, by_module=False), relu=nn.ReLU(), body=conv()),
        IMAGE,
        ["relu", "pool"],
    ),
    "also where it was normalised before": (
        pooled(norm=nn.BatchNorm2d(2), stem=Padded(2, 3, by_module=True), relu=nn.ReLU(), body=conv()),
        IMAGE,
        ["stem", "pool"],
    ),
    "a grey image in three colours is the input": (
        pooled(colours=Coloured(), stem=nn.Conv2d(6, 3, 1), body=conv()),
        IMAGE,
        ["stem", "pool"],
    ),
    "a padding belongs to the layer that reads it": (
        pooled(stem=conv(2), relu=nn.ReLU(), one=Padded(3, 3, by_module=True), two=Padded(3, 3, by_module=False)),
        IMAGE,
        ["relu", "one", "pool"],
    ),
    "a sequence that comes again is a block": (
        pooled(stem=conv(2), blocks=nn.Sequential(*mixers(3))),
        IMAGE,
        ["stem", "blocks.0", "blocks.1", "blocks.2"],
    ),
    "a sequence that stands alone is none": (
        pooled(stem=conv(2), body=nn.Sequential(conv(), nn.ReLU(), conv()), other=conv(), last=conv()),
        IMAGE,
        ["stem", "body.1", "body.2", "other", "pool"],
    ),
    "nor is one that comes again around one layer": (
        pooled(a=nn.Sequential(conv(2), nn.ReLU()), b=nn.Sequential(conv(), nn.ReLU()), c=conv()),
        IMAGE,
        ["a", "b", "pool"],
    ),
    "an attention and a perceptron make a block": (
        chain_of(*(Both(Attending(), Thinking()) for _ in range(3))),
        ROWS,
        ["stem", "blocks.0", "blocks.1", "blocks.2"],
    ),
    "two attentions make a stage": (
        chain_of(*(Both(Attending(), Attending()) for _ in range(2))),
        ROWS,
        ["stem", *(f"blocks.{stage}.layer.{part}" for stage in (0, 1) for part in (0, 1))],
    ),
    "what does not come again is a stage around any two": (
        chain_of(Both(Attending(), Thinking()), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)),
        ROWS,
        ["stem", "blocks.0.layer.0", "blocks.0.layer.1", "blocks.1", "blocks.2", "blocks.3"],
    ),
    "half of the layers are a block where it comes again": (
        nn.Sequential(nn.LayerNorm(4), Both(Attending(), Thinking()), Both(Attending(), Thinking()), nn.Tanh()),
        ROWS,
        ["1", "2"],
    ),
    "a block ends before the norm behind it": (
        Both(nn.Sequential(*(Attending() for _ in range(3)), nn.LayerNorm(4)), nn.Linear(4, 3)),
        ROWS,
        ["layer.0.0", "layer.0.1", "layer.0.2"],
    ),
}


@pytest.mark.parametrize("rule", AS_A_PERSON_NAMES)
def test_what_is_offered_by_default_is_what_a_person_would_list(rule):
    network, example, expected = AS_A_PERSON_NAMES[rule]
    assert blocks_of(network, example) == expected


def test_a_flat_view_of_what_is_offered_is_not_offered_again():
    network = Chain(stem=conv(2), relu=nn.ReLU(), fc=nn.Linear(3 * 36, 2))
    assert blocks_of(network, IMAGE) == ["relu"]
    assert "view" in [cut.name for cut in capture(network, IMAGE).cuts]


class Sums(nn.Module):
    """Three sums outside modules; beside the first two something else crosses."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three, self.last = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        a = self.one(x)
        return self.last(self.three(self.two(a + x) + a) + a)


def test_a_numbered_operation_is_called_after_the_module_before_it():
    halves = capture(Sums(), ROWS)
    assert [cut.name for cut in halves.blocks] == ["three.add"]
    assert halves.find("add:3").name == "three.add"


class Dropping(nn.Module):
    """One dropout module, called at the beginning and at the end of an encoder."""

    def __init__(self):
        super().__init__()
        self.encoder, self.last = _Encoder(), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.encoder(x) ** 2)


class _Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.one, self.two = nn.Dropout(), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.drop(self.two(torch.tanh(self.drop(self.one(x)))))


def test_a_module_called_again_names_nothing_where_one_around_it_ends_too():
    names = [cut.name for cut in capture(Dropping().eval(), ROWS).cuts]
    assert "encoder" in names
    assert "encoder.drop:2" not in names

"""The axis of channels, by evidence: small networks at two widths, and the index maps that axes are followed by."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelstitch.cut import bottom, capture, top
from modelstitch.cut.axes.maps import Maps, length
from modelstitch.errors import CutNotFound, SettingError, ShapeMismatch
from modelstitch.stitches import Affine, Identity
from modelstitch.support.tensors import axis_of, rows
from widths import compared_widths


class ChannelsLastBlock(nn.Module):
    """ConvNeXt's: a convolution with the channels first, all else with the channels last."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 2, 2)
        self.blocks = nn.Sequential(ChannelsLastBlock(width), ChannelsLastBlock(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        x = self.blocks(self.stem(x)).permute(0, 2, 3, 1)
        # Over positions in two steps; either mean alone looks like one over the channels of the other layout.
        return self.head(self.norm(x.mean(1).mean(1)))


class HandNorm(nn.Module):
    """Llama's and T5's: written by hand, and no operator of its own in the graph."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Sentence(nn.Module):
    """Attention by hand with heads, a gate, and norms by hand; the length of a sentence equals the width."""

    def __init__(self, width):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, width), nn.Linear(width, 11, bias=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.one, self.two, self.last = HandNorm(width), HandNorm(width), HandNorm(width)
        self.gate, self.up, self.down = (nn.Linear(*two) for two in ((width, 20), (width, 20), (20, width)))

    def forward(self, ids):
        x = self.embed(ids)
        n, t, width = x.shape
        q, k, v = self.qkv(self.one(x)).view(n, t, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(width)
        x = x + self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, width))
        y = self.two(x)
        return self.head(self.last(x + self.down(F.silu(self.gate(y)) * self.up(y))))


class Mixer(nn.Module):
    """Linear layers over tokens and over channels: both axes are summed over, and the norms name one."""

    def __init__(self, width):
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        self.tokens, self.channels, self.head = nn.Linear(4, 4), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm(x))
        return self.head(x.mean(1))


class MixerByHand(Mixer):
    """The same with the one norm written by hand: a vector of weights is all that names the channels."""

    def __init__(self, width):
        super().__init__(width)
        self.norm = HandNorm(width)


class Windows(nn.Module):
    """Swin's: windows split off the positions and joined, patches merged by a view, positions rolled."""

    def __init__(self, width):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 1), nn.LayerNorm(width)
        self.inner, self.merged = nn.Linear(width, width), nn.LayerNorm(4 * width)
        self.reduce, self.head = nn.Linear(4 * width, 2 * width), nn.Linear(2 * width, 3)

    def forward(self, x):
        x = self.norm(self.stem(x).permute(0, 2, 3, 1)).roll((1, 1), (1, 2))
        n, h, w, c = x.shape
        y = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        y = self.inner(y).view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        y = y.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.head(self.reduce(self.merged(y)).mean((1, 2)))


class Squeezed(nn.Module):
    """Squeeze and excite by means that keep their axes, halves joined, an upsampling by pixel shuffle."""

    def __init__(self, width):
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 4 * width, 3), nn.Conv2d(4 * width, 4 * width, 1)
        self.last, self.head = nn.Conv2d(2 * width, width, 3), nn.Linear(width, 3)

    def forward(self, x):
        x = self.stem(x)
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        x = F.pixel_shuffle(x, 2)
        x = F.interpolate(torch.cat([x, x], 1), size=(5, 5), mode="bilinear")
        return self.head(F.adaptive_avg_pool2d(self.last(F.pad(x, (1, 0, 0, 1))), 1).flatten(1))


class Between(nn.Module):
    """torchcrepe's: a waveform as a map one wide, its channels then between its two axes of positions."""

    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, (5, 1), padding=(2, 0)), nn.BatchNorm2d(width)
        self.head = nn.Linear(8 * width, 3)

    def forward(self, x):
        x = self.norm(self.conv(x[:, None, :, None])).permute(0, 2, 1, 3)
        return self.head((x * 2).flatten(1))


class Summed(nn.Module):
    """Products with weights written as sums over letters, and as matrices from the left."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(width, 3)), nn.Parameter(torch.randn(width, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = torch.relu(self.first @ x)
        x = torch.einsum("nct,cd->ndt", x, self.second)
        return self.head(torch.relu(x).amax(2))


IMAGE, WORDS = torch.randn(2, 3, 8, 8), torch.arange(16).view(2, 8) % 11
# The network, its two widths, what it takes, and the kinds of a few cuts by name.
PROVED = {
    "channels last": (
        ChannelsLast,
        8,
        4,
        IMAGE,
        {"stem": "map", "blocks.0": "map", "permute": "tokens", "mean": "tokens"},
    ),
    "sentence": (Sentence, 8, 12, WORDS, {"embed": "tokens", "last": "tokens", "one": None, "output": "tokens"}),
    "mixer": (Mixer, 4, 6, IMAGE, {"patch": "map", "add": "tokens", "add:2": "tokens"}),
    "mixer by hand": (MixerByHand, 4, 6, IMAGE, {"patch": "map", "transpose": "tokens"}),
    "windows": (Windows, 4, 6, IMAGE, {"stem": "map", "norm": "tokens", "merged": "tokens", "reduce": "tokens"}),
    "squeezed": (Squeezed, 4, 6, IMAGE, {"mul": "map", "pixel_shuffle": "map", "cat": "map", "pad": "map"}),
    "between": (Between, 6, 9, torch.randn(2, 8), {"unsqueeze": "map", "norm": "map", "permute": 1, "mul": 1}),
    "summed": (Summed, 5, 7, torch.randn(2, 3, 4), {"input": "map", "relu": "map", "relu:2": "map"}),
}
every = pytest.mark.parametrize("name", PROVED)


@every
def test_the_claimed_axis_and_no_other_follows_the_width(name):
    make, narrow, wide, example, _ = PROVED[name]
    found = compared_widths(make(narrow), make(wide), example)
    assert not found.wrong, str(found)
    assert found.right
    assert not found.unknown


@every
def test_kinds_are_those_that_a_person_reads_in_the_forward(name):
    make, narrow, _, example, kinds = PROVED[name]
    cuts = capture(make(narrow), example).cuts
    found = {name: cut.kind for cut in cuts for name in (cut.name, *cut.aliases)}
    assert {cut: found.get(cut) for cut in kinds} == kinds


def test_a_wrong_claim_is_seen_at_another_width():
    made = [
        capture(nn.Sequential(nn.Linear(4, w), nn.LayerNorm(w), nn.Linear(w, 2)), torch.ones(2, 3, 4)) for w in (5, 6)
    ]
    claimed = [one.told({"0": "map"}) for one in made]
    assert [one.find("0").axis for one in claimed] == [0, 0]
    assert [a != b for a, b in zip(*(one.find("0").shape for one in claimed), strict=True)] == [False, True]


# -- what is not known is not said --------------------------------------------------------------------------------


class Flat(nn.Module):
    """Nothing says which axis of an image holds the colours."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(60, 3)

    def forward(self, x):
        return self.fc(torch.relu(x).flatten(1))


class TwoClaims(nn.Module):
    """Layers sum over both axes, and no norm names one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(5, 5), nn.Linear(20, 3)

    def forward(self, x):
        x = torch.relu(self.a(x.transpose(1, 2)).transpose(1, 2))
        return self.head(torch.relu(self.b(x)).flatten(1))


class Heads(nn.Module):
    """Channels on two axes at once: heads, and the features of each."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.scale = nn.Linear(6, 8), nn.Linear(8, 3), nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x):
        x = self.up(x).unflatten(-1, (2, 4)).transpose(1, 2)
        return self.down(torch.relu(x * self.scale).transpose(1, 2).flatten(2))


FLAT = torch.randn(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("network", "example", "cut"),
    [(Flat(), FLAT, "relu"), (TwoClaims(), torch.randn(2, 4, 5), "relu"), (Heads(), torch.randn(2, 5, 6), "relu")],
    ids=["no claim", "two claims", "two axes"],
)
def test_without_evidence_or_with_two_claims_the_kind_is_unknown(network, example, cut):
    found = capture(network, example).find(cut)
    assert found.kind == "unknown"
    assert found.channels is None
    told = r"asked: Affine.* from .*relu .*\nfound: nothing in the network that says which axis .*\ndo:    say it where"
    with pytest.raises(ShapeMismatch, match=told):
        Affine().build(found, found)
    assert Identity().obstacle(found, found) is None
    with pytest.raises(ShapeMismatch, match=r"the channels at .*relu"):
        _ = found.positions


def test_an_unknown_cut_makes_the_network_whole_all_the_same():
    network, x = Flat().requires_grad_(False), torch.randn(5, 3, 4, 5)
    assert torch.equal(top(network, "relu", FLAT)(bottom(network, "relu", FLAT)(x)), network(x))


# -- what the user says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said", "channels"), [("map", "map", 3), ("tokens", "tokens", 5), (1, 1, 4), (-1, "tokens", 5)]
)
def test_the_user_says_where_the_channels_are(kind, said, channels):
    cut = bottom(Flat(), "relu", FLAT, kind=kind).cut
    assert (cut.kind, cut.channels) == (said, channels)
    assert top(Flat(), "relu", FLAT, kind=kind).cut == cut
    assert top(Flat(), cut, FLAT).cut == cut
    both = capture(Flat(), FLAT, kinds={"relu": kind, "input": "map"})
    assert (both.find("relu"), both.find("input").kind) == (cut, "map")
    assert both.bottom("relu").cut == cut


@pytest.mark.parametrize("kind", ["vector", 3, -4, "unknown"])
def test_a_kind_that_the_tensor_cannot_have_is_refused(kind):
    with pytest.raises(SettingError, match=r"a tensor of 3 axes for each example\ndo:    say one of 'map', 'tokens'"):
        bottom(Flat(), "relu", FLAT, kind=kind)
    with pytest.raises(CutNotFound):
        capture(Flat(), FLAT, kinds={"relo": kind})


def test_channels_between_other_axes_are_stitched_as_channels_last_would_be():
    halves = capture(Between(6), torch.randn(2, 8))
    cut = halves.find("mul")
    assert (cut.kind, cut.channels, cut.positions, str(cut)) == (1, 6, (8, 1), "mul (axis 1 8 × 6 × 1)")
    stitch = Affine().build(cut, cut)
    weight, bias, x = torch.randn(6, 6), torch.randn(6), torch.randn(3, 8, 6, 1)
    stitch.assign(weight, bias, torch.zeros(6), torch.eye(6))
    expected = torch.einsum("dc,ntci->ntdi", weight, x) + bias[None, None, :, None]
    torch.testing.assert_close(stitch(x), expected)
    torch.testing.assert_close(rows(stitch(x), cut.kind), rows(x, cut.kind) @ weight.T + bias)
    assert rows(x, 1).shape == (24, 6)


def test_the_axis_of_an_unknown_kind_is_not_made_up():
    with pytest.raises(ShapeMismatch, match="say it where the cut is asked for"):
        axis_of("unknown", 3)


# -- index maps ---------------------------------------------------------------------------------------------------


def made(*sizes):
    maps = Maps(1009)
    return maps, tuple(maps.fresh(size) for size in sizes)


def test_an_axis_that_was_split_is_itself_again_once_joined():
    maps, (tokens, channels) = made(5, 12)
    heads = maps.reshaped((tokens, channels), [5, 3, 4])
    assert [length(key) for key in heads] == [5, 3, 4]
    assert maps.reshaped(heads, [5, 12]) != (tokens, heads[1])
    assert maps.normal(maps.reshaped(heads, [5, 12])[1]) == channels
    turned = (heads[0], heads[2], heads[1])
    assert maps.normal(maps.reshaped(turned, [5, 12])[1]) != channels, "the channels in another order"


def test_parts_of_axes_that_are_one_are_one():
    maps, (a, b) = made(12, 12)
    parts = [maps.reshaped((key,), [3, 4]) for key in (a, b)]
    assert parts[0] != parts[1]
    maps.same(a, b)
    assert [maps.normal(key) for key in parts[0]] == [maps.normal(key) for key in parts[1]]


def test_a_view_that_cuts_across_axes_gives_axes_of_which_nothing_is_known():
    maps, (a, b) = made(3, 4)
    found = maps.reshaped((a, b), [2, 6])
    assert [length(key) for key in found] == [2, 6]
    assert not {atom for key in found for atom, _, _ in key} & {atom for key in (a, b) for atom, _, _ in key}


def test_axes_of_length_one_keep_their_place_in_a_view():
    maps, (one, many) = made(1, 6)
    assert maps.reshaped((one, many), [1, 2, 3])[0] == one
    assert maps.reshaped((one, many), [2, 3, 1])[2] != one


def test_testimony_reaches_axes_made_the_same_later_and_those_akin():
    maps, (a, b, c, other) = made(6, 6, 3, 5)
    maps.testify(a, 2)
    maps.same(a, b)
    maps.akin(b, c)
    ranks = maps.ranks()
    assert [ranks.of(key) for key in (a, b, c, other)] == [2, 2, 2, 0]

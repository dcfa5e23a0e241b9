"""Cuts whose channels nothing in a network names: left out, refused, or stitched as the user says."""

import pytest
import torch
from torch import nn

from modelstitch.comparison import calibrate, compare_all
from modelstitch.cut import capture
from modelstitch.errors import NetworkNotFound, ShapeMismatch
from modelstitch.matching import Direct
from modelstitch.networks import Network, doors
from modelstitch.stitching import stitch, stitch_all


class Flat(nn.Module):
    """Its map is read by one layer after a view: nothing says which axis holds channels."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(24, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(torch.relu(x).flatten(1))))


def two_networks():
    torch.manual_seed(0)
    return Flat(), Flat()


def examples(n, seed):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 3, 4, generator=drawn), torch.arange(n) % 3


TRAIN, TEST = examples(60, 0), examples(45, 1)
SETTING = {"by": Direct()}


def test_cuts_of_unknown_kind_are_left_out_and_the_others_are_recorded_with_theirs():
    a, b = two_networks()
    assert capture(a, TRAIN[0]).find("relu").kind == "unknown"
    found = stitch_all(a, b, TRAIN, TEST, every=True, controls=["self", "untrained"], **SETTING)
    assert {(one.bottom_cut, one.bottom_kind, one.top_kind) for one in found} == {
        ("view", "vector", "vector"),
        ("hidden", "vector", "vector"),
        ("tanh", "vector", "vector"),
    }


def test_one_stitching_there_is_refused():
    a, b = two_networks()
    with pytest.raises(ShapeMismatch, match=r"nothing in the network that says .*\ndo:    say it where"):
        stitch("A@relu -> B@relu", {"A": a, "B": b}, TRAIN, TEST, **SETTING)


def test_the_user_says_it_and_the_record_says_it_again():
    a, b = two_networks()
    found = {}
    for kind in ("map", 1, "tokens"):
        said = {"A@relu": kind, "B@relu": kind}
        one = stitch("A@relu -> B@relu", {"A": a, "B": b}, TRAIN, TEST, kinds=said, **SETTING)
        assert one.status == "ok"
        found[one.bottom_kind, one.top_kind] = one.key
    assert list(found) == [("map", "map"), ("axis 1", "axis 1"), ("tokens", "tokens")]
    assert len(set(found.values())) == 3, "other stitches under one key"
    said = {"A@relu": "tokens", "B@relu": "tokens"}
    every = stitch_all(a, b, TRAIN, TEST, every=True, kinds=said, controls=["self", "untrained"], **SETTING)
    at_relu = [one for one in every if one.bottom_cut == "relu"]
    assert [one.control for one in at_relu] == ["", "", "self", "self", "untrained", "untrained"]
    assert {one.bottom_kind for one in at_relu} == {"tokens"}
    assert found["tokens", "tokens"] in {one.key for one in at_relu}


def test_kinds_of_networks_that_were_not_given_are_refused():
    a, b = two_networks()
    with pytest.raises(NetworkNotFound, match=r"no network 'C'\ndo:    write them as {'A@CUT': 'map'}"):
        stitch_all(a, b, TRAIN, TEST, kinds={"C@relu": "map"}, **SETTING)


def test_a_network_that_knows_its_kinds_keeps_them_in_every_call():
    a, b = (Network(name, one, kinds={"relu": "tokens"}) for name, one in zip("AB", two_networks(), strict=True))
    found = stitch_all(a, b, TRAIN, TEST, every=True, controls=(), **SETTING)
    assert [(one.bottom_kind, one.top_kind) for one in found if one.bottom_cut == "relu"] == [("tokens", "tokens")] * 2
    one = stitch("A@relu -> B@relu", {"A": a, "B": b}, TRAIN, TEST, kinds={"A@relu": "map", "B@relu": "map"}, **SETTING)
    assert (one.bottom_kind, one.top_kind) == ("map", "map"), "what the call says comes last"
    assert doors.capture(a, TRAIN[0]).find("relu").kind == "tokens"
    assert doors.bottom(a, "relu", TRAIN[0]).cut.kind == "tokens"
    assert doors.top(a, "relu", TRAIN[0], kind=1).cut.kind == 1


def test_activations_are_compared_at_a_cut_of_unknown_kind_where_the_user_says_it():
    a, b = two_networks()
    at, shared = (["relu"], ["relu"]), {"layout": "pool", "measures": ["procrustes"]}
    with pytest.raises(ShapeMismatch, match="nothing in the network that says which axis"):
        compare_all(a, b, TEST, cuts=at, **shared)
    found = {}
    for kind in ("map", 1, "tokens"):
        said = {"A@relu": kind, "B@relu": "map"}
        found[kind] = compare_all(a, b, TEST, cuts=at, kinds=said, **shared)[0].value
        (null,) = calibrate(a, b, ("relu", "relu"), TEST, kinds=said, permutations=20, **shared)
        assert null.value == pytest.approx(found[kind])
    # Nothing below the cut is learnt: both have the same activations there.
    assert found["map"] == pytest.approx(0, abs=1e-3)
    assert found[1] > 0.1
    assert found["tokens"] > 0.1

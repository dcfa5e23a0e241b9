"""What cannot be stitched is said, and a network without a head lends bottoms alone."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import modelstitch as ms
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.networks import network_of
from modelstitch.records import LeftOut

X = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
TRAIN, TEST = (X[:80], Y[:80]), (X[80:], Y[80:])


def mlp(seed, *widths, head=3):
    torch.manual_seed(seed)
    sizes = [6, *widths]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], head))


class Tokens(nn.Module):
    """Its middle is tokens, its last cut before the head a vector."""

    def __init__(self):
        super().__init__()
        self.embed, self.block, self.head = nn.Linear(2, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = torch.relu(self.embed(x.view(-1, 3, 2)))
        return self.head(torch.tanh(self.block(h)).mean(1))


def stitch(a, b, **told):
    return ms.stitch_all(a, b, TRAIN, TEST, by=ms.Direct(), controls=(), **told)


def test_cuts_without_a_partner_are_said_with_the_reason():
    records = stitch(mlp(0, 4, 4), Tokens())
    every = {(one.top_network, one.top_cut) for one in records}
    every |= {
        (one.stitching.split("-> ")[1].split("@")[0], one.stitching.rpartition("@")[2]) for one in records.left_out
    }
    for name, network in (("A", mlp(0, 4, 4)), ("B", Tokens())):
        for cut in ms.cuts(network, X[:2]):
            assert (name, cut.name) in every
    reasons = {one.reason for one in records.left_out}
    assert "a vector below and tokens above" in reasons
    assert f"left out: {len(records.left_out)}" in repr(records)
    assert records.only(control="").left_out == records[:1].left_out == (records + records).left_out == records.left_out


def test_nothing_left_out_is_not_spoken_of():
    records = stitch(mlp(0, 4), mlp(1, 4))
    assert records.left_out == ()
    assert "left out" not in repr(records)


def test_a_grid_says_every_pair():
    from modelstitch.stitches import Affine
    from modelstitch.stitching.places import obstacles_at, pairs_at

    below, above = (ms.cuts(one, X[:2]) for one in (mlp(0, 4, 4), Tokens()))
    pairs, left = (each("grid", below, above, Affine()) for each in (pairs_at, obstacles_at))
    assert left
    assert len(pairs) + len(left) == len(below) * len(above)


def test_a_store_keeps_what_was_left_out(tmp_path):
    records = stitch(mlp(0, 4, 4), Tokens(), store=ms.Store(tmp_path / "run.sqlite"))
    assert ms.open_records(tmp_path / "run.sqlite").left_out == records.left_out
    again = stitch(mlp(0, 4, 4), Tokens(), store=ms.Store(tmp_path / "run.sqlite"))
    assert again.left_out == ms.Store(tmp_path / "run.sqlite").records().left_out
    whole = ms.Store(tmp_path / "all.sqlite")
    whole.merge(tmp_path / "run.sqlite")
    assert whole.records().left_out == records.left_out


def test_many_reasons_are_summed_up():
    out = [LeftOut(f"A@{place} -> B@{place}", f"reason {place % 5}") for place in range(20)]
    told = repr(ms.Records([], out))
    assert "left out: 20\n  4 × reason 0, such as A@0 -> B@0" in told
    assert "and 8 for 2 other reasons" in told


@pytest.mark.parametrize("first", [True, False])
def test_a_network_without_a_head_is_a_bottom(first):
    backbone, whole = mlp(0, 4, 4, head=7), mlp(1, 4, 4)
    records = ms.stitch_all(*((backbone, whole) if first else (whole, backbone)), TRAIN, TEST, by=ms.Direct())
    bare, top = ("A", "B") if first else ("B", "A")
    assert {record.top_network for record in records} == {top}
    assert {record.control for record in records} == {"", "self", "untrained"}
    plain = records.only(control="")
    assert all(record.scores[0].bottom is None and record.measure("agreement_bottom") is None for record in plain)
    assert any(one.stitching == f"{top} -> {bare}" and "7 scores" in one.reason for one in records.left_out)
    assert "left out" in repr(plain)


def test_all_of_a_network_without_a_head_is_a_bottom_too():
    whole = mlp(1, 4, 5)
    backbone = mlp(0, 4, 5)[:-1]
    records = ms.stitch_all(backbone, whole, TRAIN, TEST, by=ms.Direct(), controls=("untrained",))
    found = {(record.control, record.bottom_cut, record.top_cut) for record in records}
    assert found == {(control, *cuts) for control in ("", "untrained") for cuts in (("1", "1"), ("output", "3"))}
    # One with a head ends below its head.
    assert {record.bottom_cut for record in stitch(mlp(0, 4, 5), whole)} == {"1", "3"}


def test_one_stitching_asks_for_the_head_of_the_top_alone():
    networks = {"A": mlp(0, 4, head=7), "B": mlp(1, 4)}
    record = ms.stitch("A@1 -> B@1", networks, TRAIN, TEST, by=ms.Direct())
    assert record.status == "ok"
    assert record.scores[0].bottom is None
    with pytest.raises(TaskMismatch, match=r"by A\nfound: 7 scores an example for 3 classes"):
        ms.stitch("B@1 -> A@1", networks, TRAIN, TEST)


def test_two_networks_without_a_head_are_refused():
    with pytest.raises(TaskMismatch, match="scores an example for 3 classes"):
        stitch(mlp(0, 4, head=7), mlp(1, 4, head=9))


def test_what_is_no_network_is_refused():
    with pytest.raises(SettingError, match=r"a int\ndo:    give a torch\.nn\.Module, or a reference"):
        network_of(3, "A")
    assert {record.bottom_network for record in stitch(ms.Network("mine", mlp(0, 4)), mlp(1, 4))} == {"mine", "B"}

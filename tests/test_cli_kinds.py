"""Where channels are, said on the command line."""

import json

import pytest

from command_line import typed

MODULE = """
import torch
from torch import nn
class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(24, 5), nn.Linear(5, 3)
    def forward(self, x):
        return self.head(torch.tanh(self.hidden(torch.relu(x).flatten(1))))
def one():
    torch.manual_seed(1)
    return Flat()
def two():
    torch.manual_seed(2)
    return Flat()
def data():
    x = torch.randn(100, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    return (x[:60], torch.arange(60) % 3), (x[60:], torch.arange(40) % 3)
"""
ONE, TWO = "py:flat_networks:one", "py:flat_networks:two"
DATA = ("--data", "py:flat_networks:data", "--json")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "flat_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def kinds_at_relu(*more):
    ended = typed("stitch", ONE, TWO, *DATA, "--by", "direct", "--all", "--no-controls", *more)
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in ended.out.splitlines()]
    return {(row["bottom_kind"], row["top_kind"]) for row in rows if row["bottom_cut"] == "relu"}


def test_kinds_are_said_by_reference_and_stand_in_the_records():
    assert kinds_at_relu() == set()
    assert kinds_at_relu("--kind", f"{ONE}@relu=1", "--kind", f"{TWO}@relu=1") == {("axis 1", "axis 1")}


def test_one_stitching_and_a_comparison_take_them_too():
    said = ("--kind", f"{ONE}@relu=tokens", "--kind", f"{TWO}@relu=tokens")
    refused = typed("stitch", f"{ONE}@relu -> {TWO}@relu", *DATA, "--by", "direct")
    assert (refused.code, "nothing in the network that says" in refused.err) == (2, True)
    one = typed("stitch", f"{ONE}@relu -> {TWO}@relu", *DATA, "--by", "direct", *said)
    assert json.loads(one.out)["top_kind"] == "tokens"
    pooled = (f"{ONE}@relu", f"{TWO}@relu", "--layout", "pool", "--measure", "cka", *DATA)
    assert typed("compare", *pooled).code == 2
    assert typed("compare", *pooled, *said).code == 0


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (["relu=map"], "no NETWORK@CUT=KIND"),
        ([f"{ONE}@relu"], "no NETWORK@CUT=KIND"),
        ([f"{ONE}@relu=channels"], "no kind 'channels'"),
        ([f"{ONE}@relu=7"], "a tensor of 3 axes"),
        (["nobody@relu=map"], "no network 'nobody'"),
        ([f"{ONE}@relu=map", f"{ONE}@relu=1"], "before it"),
    ],
)
def test_what_cannot_be_is_refused(told, found):
    typed_kinds = [word for one in told for word in ("--kind", one)]
    ended = typed("stitch", ONE, TWO, *DATA, "--by", "direct", *typed_kinds)
    assert ended.code == 2
    assert found in ended.err
    assert len(ended.err.strip().splitlines()) == 3

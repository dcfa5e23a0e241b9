"""Replay on noise: what noise a network takes, which way it goes on it, and errors of its own code."""

import warnings

import pytest
import torch
from torch import nn

from fixtures import vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.cut.replayed.noise import Noise, noise_for
from modelstitch.errors import IllegalCut, NotCuttable


def replayed(network, *args):
    return Replayed(frozen_view(network), args, {}, "on purpose")


def check_whole(halves, network, x):
    for cut in halves.cuts:
        assert torch.equal(halves.top(cut)(halves.bottom(cut)(x)), network(x)), cut.name


class Bounded(nn.Module):
    """Takes numbers between 0 and 1 alone."""

    def __init__(self, error=ValueError):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)
        self.error = error

    def forward(self, x):
        if not 0 <= float(x.min()) <= float(x.max()) <= 1:
            raise self.error("outside of [0, 1]")
        return self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("error", [ValueError, KeyError, AssertionError])
def test_a_network_that_refuses_noise_runs_on_its_own_rows(error):
    network, x = Bounded(error), torch.rand(5, 6)
    halves = replayed(network, x)
    assert [cut.name for cut in halves.cuts] == ["input", "a", "output"]
    for rows in (1, 4, 9):
        check_whole(halves, network, torch.rand(rows, 6))


class Packing(nn.Module):
    """Reads sentences without their padding, as classifiers by LSTM do; an empty one is an error."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 6, batch_first=True)
        self.mid, self.fc = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, ids):
        lengths = (ids != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.fc(torch.relu(self.mid(h[-1])))


def sentences(rows):
    ids = torch.randint(1, 20, (rows, 7), generator=torch.Generator().manual_seed(rows))
    ids[0, 4:] = 0
    return ids


def test_a_classifier_that_packs_its_sentences_is_cut_after_them():
    network = Packing()
    with pytest.warns(UserWarning, match="replayed"):
        halves = capture(network, sentences(5))
    assert [cut.name for cut in halves.cuts] == ["input", "mid", "output"]
    with torch.no_grad():
        check_whole(halves, network, sentences(8))
    # The lengths cross beside what the words are embedded in.
    with pytest.raises(IllegalCut, match="cut 'emb'"):
        halves.find("emb")


class Picky(Bounded):
    """Takes nothing but its example."""

    def forward(self, x):
        if not torch.equal(x, EXAMPLE):
            raise ValueError("not what I know")
        return self.b(torch.relu(self.a(x)))


EXAMPLE = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]] * 3)


def test_a_network_that_takes_no_noise_at_all_has_no_cut_but_its_ends():
    halves = replayed(Picky(), EXAMPLE)
    assert [cut.name for cut in halves.cuts] == ["input", "output"]


def test_an_error_on_noise_is_told_in_three_lines():
    network = Bounded()
    halves = replayed(network, torch.rand(5, 6))
    halves._noise = Noise((6,), torch.float32, 0)
    told = r"layers after 'a' alone\nfound: .* noise, and refuses it: outside of \[0, 1\]\ndo:    cut it elsewhere"
    with pytest.raises(NotCuttable, match=told):
        halves.top("a")(torch.ones(2, 5))


def test_noise_is_not_the_example():
    example = torch.arange(12.0).view(3, 4)

    def refusing(main):
        if main.dtype.is_floating_point and float(main.min()) < 0:
            raise ValueError
        return ["a"]

    noise = noise_for(example, ["a"], refusing)
    assert noise.known is not None
    assert not torch.equal(noise.rows(example, follow=False), example)
    # Rows that are all alike are turned around instead.
    alike = torch.arange(4.0).expand(3, 4)
    assert torch.equal(noise_for(alike, ["a"], refusing).rows(alike, follow=False), alike.flip(-1))


def test_noise_that_goes_the_way_of_the_example_is_preferred():
    example = torch.arange(12.0).view(3, 4)
    ways = {True: ["a", "b"], False: ["a"]}
    noise = noise_for(example, ["a", "b"], lambda main: ways[float(main.min()) >= 0])
    assert noise.known is not None
    assert noise_for(example, ["a"], lambda main: ways[float(main.min()) >= 0]).known is None


def test_known_rows_are_as_many_and_as_long_as_they_are_asked_for():
    noise = Noise((4,), torch.long, 0, torch.arange(12).view(3, 4))
    assert noise.rows(torch.zeros(5, 4), follow=False).shape == (5, 4)
    assert noise.rows(torch.zeros(2, 9, 7), follow=True).shape == (2, 9)


class Detour(nn.Module):
    """Goes another way to the same answer, by what its input was."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.same, self.b = nn.Linear(6, 5), nn.Identity(), nn.Linear(5, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        if x.min() >= 0:
            h = self.same(h)
        return self.b(h)


def test_a_way_that_depends_on_what_lies_below_a_cut_makes_it_illegal(monkeypatch):
    x = torch.rand(4, 6)
    monkeypatch.setattr("modelstitch.cut.replayed.replay.noise_for", lambda *_: Noise((6,), torch.float32, 0))
    halves = replayed(Detour(), x)
    assert [cut.name for cut in halves.cuts] == ["input", "output"]
    monkeypatch.undo()
    # Of noise that goes the same way there is nothing to be seen here; the check before an experiment runs all data.
    assert replayed(Detour(), x).find("a")


class Experts(nn.Module):
    """A mixture of experts by boolean masks, each of which runs on its rows; with ``skip`` not on none."""

    def __init__(self, skip):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.gate, self.b = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 3)
        self.e, self.skip = nn.ModuleList(nn.Linear(5, 5) for _ in range(2)), skip

    def forward(self, x):
        h = self.a(x)
        chosen, out = self.gate(h).argmax(-1), torch.zeros_like(h)
        for index, expert in enumerate(self.e):
            mask = chosen == index
            if not self.skip or mask.any():
                out[mask] = expert(h[mask])
        return self.b(torch.relu(out))


@pytest.mark.parametrize("skip", [False, True])
def test_a_mixture_of_experts_is_cut_before_its_gate_or_says_why_not(skip):
    network, x = Experts(skip).eval(), vectors(9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*replayed")
        halves = capture(network, x)
    assert "a" in [cut.name for cut in halves.cuts]
    for rows in (x, vectors(3), vectors(1)):
        with torch.no_grad():
            assert torch.equal(halves.top("a")(halves.bottom("a")(rows)), network(rows))


def test_a_network_that_cannot_be_watched_is_refused_in_words():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            if torch.utils._python_dispatch._get_current_dispatch_mode_stack():
                raise RuntimeError("somebody is watching")
            return self.a(x)

    with pytest.raises(NotCuttable, match=r"cut Watched\nfound: it runs alone, and not while .* somebody is watching"):
        replayed(Watched(), vectors(2))

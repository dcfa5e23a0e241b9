"""Replay by hooks: the same answers as the export where both are possible, and what only it can refuse."""

import dataclasses

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, Branchy, captured, images, main, network_of, sides, vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.errors import IllegalCut, NotCuttable

BOTH = ["plain", "postact", "branching", "transformer", "text"]


def replayed(name):
    inputs = NETWORKS[name].inputs(2)
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
    return Replayed(frozen_view(network_of(name)), args, kwargs, "on purpose")


def check_agrees(replay, export, inputs):
    """Every cut of the replay is one of the export's, with the same tensor there and the same answer above it."""
    for cut in replay.cuts:
        other = export.find(cut.name)
        assert (cut.shape, cut.kind) == (other.shape, other.kind) or None in other.shape, cut.name
        value = replay.bottom(cut)(main(inputs), **sides(inputs))
        assert torch.equal(value, export.bottom(other)(main(inputs), **sides(inputs))), cut.name
        above = replay.top(cut)(value, **sides(inputs))
        assert torch.equal(above, export.top(other)(value, **sides(inputs))), cut.name


@pytest.mark.parametrize("name", BOTH)
def test_replay_and_export_agree(name):
    check_agrees(replayed(name), captured(name), NETWORKS[name].inputs(3))


class Credulous(Replayed):
    """Wrong on purpose: believes that nothing else crosses."""

    def _crosses_alone(self, event):
        return event.path != self._events[-1].path


def test_a_replay_with_too_many_cuts_is_seen():
    wrong = Credulous(frozen_view(network_of("postact")), (images(2),), {}, "on purpose")
    with pytest.raises(IllegalCut, match=r"cut 'layer1\.0\.(bn|conv)"):
        check_agrees(wrong, captured("postact"), images(2))


def test_token_ids_that_are_all_zero_do_not_hide_what_crosses():
    ids = torch.zeros(2, 7, dtype=torch.long)
    halves = Replayed(
        frozen_view(network_of("text")),
        (),
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        "on purpose",
    )
    assert [cut.name for cut in halves.cuts] == [cut.name for cut in replayed("text").cuts]


def test_the_way_and_the_reason_are_told():
    with pytest.warns(
        UserWarning, match=r"Branchy is replayed by hooks, which is slower, because torch\.export refuses"
    ):
        halves = capture(network_of("branchy"), images(1))
    assert halves.replayed.startswith("torch.export refuses it: ")
    assert captured("plain").replayed == ""


def test_export_s_pages_of_complaints_are_not_printed(capfd):
    with pytest.warns(UserWarning, match="replayed"):
        capture(network_of("branchy"), images(1))
    assert capfd.readouterr() == ("", "")


def test_an_illegal_place_is_told_with_a_legal_one():
    with pytest.raises(IllegalCut, match=r"block1\.conv1, and at least one tensor .*\ndo:    .*'stem' or 'block1'"):
        captured("branchy").find("block1.conv1")


class Failing(nn.Module):
    """Works until it is told not to."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.switch = nn.Buffer(torch.tensor(0.0))

    def forward(self, x):
        x = self.two(self.one(x))
        if float(self.switch) > 0:
            raise RuntimeError("out of order")
        return self.last(x)


def hooks_on(view):
    return [hook for m in view.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_hooks_are_gone_after_use_and_after_an_exception():
    network = Failing()
    halves = Replayed(frozen_view(network), (vectors(2),), {}, "on purpose")
    assert hooks_on(halves.view) == []
    halves.top("one")(halves.bottom("one")(vectors(3)))
    assert hooks_on(halves.view) == []
    below, above = halves.bottom("one"), halves.top("one")
    network.switch += 1
    for run, x in ((below, vectors(2)), (above, torch.ones(2, 4))):
        with pytest.raises(RuntimeError, match="out of order"):
            run(x)
        assert hooks_on(halves.view) == []


class Random(nn.Module):
    """Noise in eval mode, behind a branch that export refuses."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(6, 3)

    def forward(self, x):
        x = self.one(x)
        return x + torch.rand_like(x) if float(x.detach().sum()) < 1e6 else x


def test_randomness_in_eval_mode_is_refused():
    with (
        torch.random.fork_rng(),
        pytest.warns(UserWarning, match="replayed"),
        pytest.raises(NotCuttable, match=r"cut Random\nfound: two runs on one input differ in eval mode"),
    ):
        capture(Random(), vectors(2))


@dataclasses.dataclass
class Answer:
    """An output that hides its tensors from tree functions."""

    logits: torch.Tensor


class Hiding(nn.Module):
    """Gives a dataclass nobody registered."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return Answer(self.two(self.one(x)))


def test_an_output_whose_tensors_cannot_be_seen_is_refused():
    with pytest.raises(NotCuttable, match="an output in which no tensor can be seen: Answer"):
        Replayed(frozen_view(Hiding()), (vectors(2),), {}, "on purpose")


def test_dropout_stays_off_while_norms_follow_the_batch():
    class Dropping(Branchy):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 0.5, self.training)

    halves = Replayed(frozen_view(Dropping()), (images(2),), {}, "on purpose")
    run = halves.top("block2").with_batch_statistics().train()
    x = halves.bottom("block2")(images(3))
    assert torch.equal(run(x), run(x))

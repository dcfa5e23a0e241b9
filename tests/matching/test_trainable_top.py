"""Fine-tuning: a copy of the top trains in full, above a bottom and beside a network that stay as they are."""

import copy
import importlib
import json

import pytest
import torch
from test_fit import TEST, TRAIN, conv_net, trained
from torch.nn.functional import cross_entropy

from modelstitch.cut import capture, capture_of
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.data import epoch_order, steps_per_epoch
from modelstitch.errors import SettingError
from modelstitch.matching import TaskLoss, fit, fit_all
from modelstitch.matching.trainable_top import thawed
from modelstitch.networks import untrained, weights_fingerprint
from modelstitch.seeding import generator
from modelstitch.stitches import Affine, Identity, Permutation
from modelstitch.stitching import stitch, stitched_from

stitching_measure = importlib.import_module("modelstitch.stitching.measure")
matching_fit = importlib.import_module("modelstitch.matching.fit")
CUT = "block1"


@pytest.fixture(scope="module")
def network():
    return trained(0)


@pytest.fixture(scope="module", params=["exported", "replayed"])
def captured(request, network):
    if request.param == "exported":
        return capture(network, TRAIN.example)
    return Replayed(frozen_view(network), (TRAIN.example,), {}, "asked for")


@pytest.fixture(scope="module")
def bottom():
    return capture(conv_net(7).eval(), TRAIN.example).bottom(CUT)


def answers(top, below):
    with torch.no_grad():
        return top.eval()(below)


def test_a_thawed_top_answers_as_the_trained_or_as_an_untrained_one(network, captured):
    below = captured.bottom(CUT)(TEST.inputs)
    expected = captured.top(CUT)(below)
    assert torch.equal(answers(thawed(captured.top(CUT), "trained", 0), below), expected)
    fresh = capture(untrained(network, seed=3), TRAIN.example).top(CUT)
    assert torch.allclose(answers(thawed(captured.top(CUT), "fresh", 3), below), fresh(below), atol=1e-6)
    assert not torch.allclose(fresh(below), expected, atol=1e-2)


def test_every_weight_above_the_cut_trains_and_shares_nothing(network, captured):
    own = thawed(captured.top(CUT), "trained", 0)
    above = sum(p.numel() for path, p in network.named_parameters() if not path.startswith(CUT))
    own(captured.bottom(CUT)(TEST.inputs)).sum().backward()
    moved = [one for one in own.parameters() if one.grad is not None]
    assert sum(one.numel() for one in moved) == above
    shared = {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert not any(one.data_ptr() in shared for one in moved)


def assert_untouched(network, before, by):
    """The law: whatever is fine-tuned, the network is bit for bit what it was."""
    halves = capture(network, TRAIN.example)
    fit(Identity(), halves.bottom(CUT), halves.top(CUT), TRAIN, by=by)
    assert weights_fingerprint(network) == before, "the network was changed"
    assert all(one.requires_grad for one in network.parameters())
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("top", ["fresh", "trained"])
def test_fine_tuning_leaves_the_network_as_it_was(network, top):
    assert_untouched(network, weights_fingerprint(network), TaskLoss(epochs=1, batch_size=16, top=top))


def test_canary_a_top_that_shares_its_weights_is_caught(network, monkeypatch):
    network, shared = copy.deepcopy(network), thawed

    def leaky(top, start, seed):
        own = shared(top, start, seed)
        with torch.no_grad():
            next(network.parameters()).add_(1)
        return own

    monkeypatch.setattr(matching_fit, "thawed", leaky)
    with pytest.raises(AssertionError, match="the network was changed"):
        assert_untouched(network, weights_fingerprint(network), TaskLoss(top="fresh", epochs=1, batch_size=16))


def test_it_is_training_of_the_layers_above_written_out(network):
    how = TaskLoss(epochs=2, batch_size=16, learning_rate=0.01, top="trained")
    halves = capture(network, TRAIN.example)
    found = fit(Identity(), halves.bottom(CUT), halves.top(CUT), TRAIN, by=how, seed=5)
    below, above = copy.deepcopy(network)[:1].eval(), copy.deepcopy(network)[1:].train()
    optimiser = torch.optim.Adam(above.parameters(), lr=0.01)
    steps = steps_per_epoch(len(TRAIN), 16)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 2 * steps)
    for epoch in range(2):
        for index in torch.split(epoch_order(len(TRAIN), 16, generator("stitch order", 5, epoch)), 16):
            loss = cross_entropy(above(below(TRAIN.inputs[index]).detach()), TRAIN.labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cosine.step()
    expected = above.eval()(below(TEST.inputs))
    assert torch.allclose(found.stitched(TEST.inputs), expected, atol=1e-4)
    assert not torch.allclose(network(TEST.inputs), expected, atol=1e-2)


def test_it_learns_more_than_a_stitch_can(network, bottom):
    top = capture(network, TRAIN.example).top(CUT)
    settings = {"epochs": 12, "batch_size": 16, "learning_rate": 0.03}
    stitch = fit(Affine(), bottom, top, TRAIN, by=TaskLoss(**settings))
    tuned = fit(Affine(), bottom, top, TRAIN, by=TaskLoss(top="fresh", **settings))
    assert tuned.curve[-1] < stitch.curve[-1]
    assert tuned.curve[-1] < tuned.curve[0] / 1.5


def test_many_at_once_are_each_alone_and_stop_early(network, bottom):
    halves = capture(network, TRAIN.example)
    pairs = [(capture_of(bottom).bottom(cut), halves.top(cut)) for cut in (CUT, "block2")]
    how = TaskLoss(top="fresh", epochs=4, batch_size=16, learning_rate=0.3, patience=1)
    together = fit_all(Affine(), pairs, TRAIN, by=how)
    for found, (below, above) in zip(together, pairs, strict=True):
        alone = fit(Affine(), below, above, TRAIN, by=how)
        assert alone.curve == found.curve
        assert torch.equal(alone.stitched(TEST.inputs), found.stitched(TEST.inputs))
    assert any(len(found.curve) < 4 for found in together)


def test_its_record_says_what_it_is_and_keeps_no_stitch(network, monkeypatch):
    kept = []
    monkeypatch.setattr(stitching_measure, "stitch_bytes", lambda *_: kept.append(1))
    networks = {"A": conv_net(7).eval(), "B": network}
    by = TaskLoss(epochs=1, batch_size=16, top="fresh")
    record = stitch(f"A@{CUT} -> B@{CUT}", networks, TRAIN, TEST, family=Identity(), by=by)
    assert json.loads(record.matching) == {
        "name": "task",
        "epochs": 1,
        "learning_rate": "by_width",
        "batch_size": 16,
        "start": "least_squares",
        "top": "fresh",
    }
    assert not kept
    error = record.score("error")
    assert record.penalty == pytest.approx(error.stitched - error.top)
    assert record.top_weights == weights_fingerprint(network)
    with pytest.raises(SettingError, match="a top that trained along, which no store keeps"):
        stitched_from(record, None, {}, TEST.example)


def test_a_map_that_no_gradient_moves_is_refused(network):
    halves = capture(network, TRAIN.example)
    with pytest.raises(SettingError, match="gradient descent cannot fit"):
        fit(Permutation(), halves.bottom(CUT), halves.top(CUT), TRAIN, by=TaskLoss(top="fresh"))


def test_a_top_begins_in_one_of_three_ways():
    unchecked = object.__new__(TaskLoss)  # The type checks of the tests would refuse it first.
    for name, value in {**vars(TaskLoss()), "top": "new"}.items():
        object.__setattr__(unchecked, name, value)
    with pytest.raises(
        SettingError, match="top='new'\nfound: no such top\ndo:    choose one of frozen, fresh, trained"
    ):
        unchecked.__post_init__()

"""Connectivity of two networks: the ends are the networks, the middle is measured, and failures are no numbers."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

import modelstitch as ms
from modelstitch.connectivity import Barrier, Connectivity, Point, call, connectivity
from modelstitch.connectivity.curve import Bend, bent, shares_on_curve
from modelstitch.connectivity.weights import estimate_statistics, mixed
from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch
from modelstitch.networks import build, weights_fingerprint
from modelstitch.penalty import evaluate
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.stitches import Identity

WAYS = ("stitching", "linear", "permuted", "curve")
ASKED = {"points": 3, "by": ms.Direct(), "curve": Schedule(1), "names": ("one", "other")}


@pytest.fixture(scope="module")
def split():
    whole = ms.load("digits")
    return ms.Split(whole.train.first(400), whole.test)


@pytest.fixture(scope="module")
def networks(split):
    found = []
    for seed in (0, 1):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
        network.load_state_dict(seeded_weights(network, seed))
        train_supervised(network, split.train, schedule=Schedule(4), seed=seed)
        found.append(network.train())
    return found


def seeded_weights(network, seed):
    stream = torch.Generator().manual_seed(seed)
    shapes = network.state_dict().items()
    return {k: torch.randn(v.shape, generator=stream) * 0.3 if k[0] in "14" else v for k, v in shapes}


@pytest.fixture(scope="module")
def found(networks, split):
    before = [weights_fingerprint(network) for network in networks]
    made = connectivity(*networks, split.train, split.test, **ASKED)
    assert [weights_fingerprint(network) for network in networks] == before
    assert all(module.training for network in networks for module in network.modules())
    return made


def test_the_ends_of_every_way_are_the_two_networks(found, networks, split):
    one, other = (evaluate(network, split.test) for network in networks)
    for way in WAYS:
        first, *_, last = found.way(way)
        assert (first.x, last.x) == (0, 1)
        assert (first.error, first.loss) == pytest.approx((other.error, other.mean_loss))
        assert (last.error, last.loss) == pytest.approx((one.error, one.mean_loss))
    worse = max(one.error, other.error)
    assert all(point.penalty == pytest.approx(point.error - worse) for point in found.points)
    assert all(point.penalty_low <= point.penalty <= point.penalty_high for point in found.points)
    assert [point.cut for point in found.way("stitching")] == ["input", "3", "output"]
    assert {point.fold for point in found.way("stitching")} == {"same architecture"}


def test_the_chain_is_what_stitching_says(found, networks, split):
    a, b = networks
    record = ms.stitch("a@3 -> b@3", {"a": a, "b": b}, split.train, split.test, by=ms.Direct())
    assert found.way("stitching")[1].error == pytest.approx(record.error)


def test_a_network_and_itself_are_connected_by_every_straight_way(networks, split):
    a, _ = networks
    asked = {**ASKED, "family": Identity()}
    found = connectivity(a, a, split.train, split.test, **asked)
    assert found.connected is True
    assert found.barrier("stitching") == Barrier(0.0, 0.0)
    # Between the ends the statistics are estimated afresh, so that the error may differ by a few examples.
    assert found.barrier("linear").error < 3
    assert found.barrier("linear") == found.barrier("permuted")


def test_statistics_between_the_ends_are_estimated_afresh(found, networks, split):
    a, b = networks
    halfway = mixed(b, [(0.5, b.state_dict()), (0.5, a.state_dict())])
    stale = evaluate(halfway, split.test)
    estimate_statistics(halfway, split.train)
    assert found.way("linear")[1].loss == pytest.approx(evaluate(halfway, split.test).mean_loss)
    # The canary: with the mixed statistics of both networks it is another.
    assert found.way("linear")[1].loss != pytest.approx(stale.mean_loss, rel=1e-3)


def test_the_table_and_the_dictionary_tell_all(found):
    frame = found.to_pandas()
    assert list(frame["way"].unique()) == list(WAYS)
    assert len(frame) == 3 * 4
    told = json.loads(json.dumps(found.to_dict()))
    assert told["networks"] == {"A": "one", "B": "other"}
    assert told["barriers"]["linear"] == dataclasses.asdict(found.barrier("linear"))
    assert told["asked"]["n_fit"] == 400
    assert told["versions"]["torch"] == torch.__version__


def test_a_failure_is_recorded_and_is_no_number(networks, split, monkeypatch):
    def fails(*_):
        raise NumericalFailure("train a network", "a loss of nan", "lower the learning rate")

    def broken(network, parts):
        twin = mixed(network, parts)
        twin[4].weight.data.fill_(math.inf)
        return twin

    monkeypatch.setattr(call, "bent", fails)
    monkeypatch.setattr(call, "mixed", broken)
    found = connectivity(*networks, split.train, split.test, **ASKED)
    for way, reason in (("curve", "a loss of nan"), ("linear", "not finite")):
        middle = found.way(way)[1]
        assert (middle.status, middle.error, middle.penalty) == ("failed", None, None)
        assert reason in middle.reason
        assert found.barrier(way) is None
    assert found.barrier("stitching") is not None
    assert "3 of 12 points failed" in found.plot().to_json().replace("\N{NO-BREAK SPACE}", " ")


# The verdict


def told(*spans, failed=0, threshold=2.0):
    """A chain whose inner penalties have these intervals."""
    inner = [
        Point("stitching", 0.5, "cut", 5.0, 0.5, (low + high) / 2, float(low), float(high), 0.0, 0.0, 0.0)
        for low, high in spans
    ]
    inner += [Point("stitching", 0.5, status="failed", reason="no")] * failed
    ends = [Point("stitching", x, "", 5.0, 0.5, 0.0, -1.0, 9.0, 0.0, 0.0, 0.0) for x in (0.0, 1.0)]
    return Connectivity(("A", "B"), (ends[0], *inner, ends[1]), threshold, {}, {})


@pytest.mark.parametrize(
    ("chain", "connected"),
    [
        (told((-1, 1), (0, 2)), True),
        (told((-1, 1), (2.1, 4)), False),
        (told((-1, 1), (1, 2.1)), None),
        (told((2, 4)), None),
        (told((1, 3), (3, 4)), False),
        (told((-1, 1), failed=1), None),
        (told((3, 4), failed=1), False),
        (told((-1, 0), threshold=0.0), True),
    ],
)
def test_the_verdict_follows_the_intervals(chain, connected):
    assert chain.connected is connected


def test_the_verdict_in_words():
    assert told((-1, 1)).verdict == "stitching-connected at 2 points"
    assert told((3, 4)).verdict == "not stitching-connected at 2 points"
    assert told((1, 3)).verdict == "cannot tell at 2 points"


def test_a_barrier_rises_above_the_line_between_the_ends():
    errors, losses = (2.0, 9.0, 4.0), (0.2, 0.1, 0.4)
    points = tuple(
        Point("linear", x, "", error, loss) for x, error, loss in zip((0.0, 0.5, 1.0), errors, losses, strict=True)
    )
    found = Connectivity(("A", "B"), points, 1.0, {}, {}).barrier("linear")
    assert (found.error, found.loss) == pytest.approx((6.0, 0.0))


# The curve


def test_a_curve_ends_at_the_networks_and_its_loss_falls(networks, split):
    a, b = (network.eval() for network in networks)
    at_0, at_1 = b.state_dict(), a.state_dict()
    middles = [bent(b, at_0, at_1, split.train, Schedule(epochs), 0) for epochs in (1, 6)]
    losses = []
    for middle in middles:
        assert middle.keys() == at_0.keys()
        network = mixed(b, shares_on_curve(0.5, at_0, middle, at_1))
        estimate_statistics(network, split.train)
        losses.append(evaluate(network, split.train).mean_loss)
        for x, end in ((0.0, at_0), (1.0, at_1)):
            found = mixed(b, shares_on_curve(x, at_0, middle, at_1)).state_dict()
            assert all(torch.equal(found[name], end[name]) for name in found if end[name].is_floating_point())
    assert losses[1] < losses[0] - 0.01


def test_a_curve_trains_its_middle_alone(networks):
    a, b = (network.eval() for network in networks)
    bend = Bend(b, b.state_dict(), a.state_dict(), 0)
    assert sorted(p.shape for p in bend.parameters()) == sorted(p.shape for p in a.parameters())
    for name, tensor in bend.control().items():
        assert torch.allclose(tensor, (a.state_dict()[name] + b.state_dict()[name]) / 2)


# What is refused


def test_what_cannot_be_connected_is_refused(networks, split):
    a, b = networks
    with pytest.raises(SettingError, match=r"threshold=-1\.0"):
        connectivity(a, b, split.train, split.test, threshold=-1.0)
    with pytest.raises(SettingError, match="no place between the ends"):
        connectivity(a, b, split.train, split.test, points=2)
    with pytest.raises(ShapeMismatch, match="two networks of one architecture"):
        connectivity(a, build("mlp", seed=0), split.train, split.test)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ShapeMismatch, match="found: no cut"):
        connectivity(flat, flat, split.train, split.test)

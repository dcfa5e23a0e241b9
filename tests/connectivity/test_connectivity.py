"""Connectivity of two networks: the ends are the networks, the middle is measured, and failures are no numbers."""

import importlib
import json
import math

import pytest
import torch
from found import CLASSIFICATION, Held, penalty
from torch import nn

import modelstitch as ms
from modelstitch.connectivity import Connectivity, Point, connectivity
from modelstitch.connectivity.curve import Bend, bent, shares_on_curve
from modelstitch.connectivity.weights import estimate_statistics, mixed
from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch, TaskMismatch
from modelstitch.networks import build, weights_fingerprint
from modelstitch.penalty import evaluate
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.stitches import Identity
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification, NextToken, Regression

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


def judged(network, examples):
    """Test error in percent and loss in nats."""
    sums = evaluate(network, examples, task=Classification()).sums
    return tuple(score.value(sums[score.name]) for score in Classification().scores)


def seen(point):
    return tuple(one.stitched for one in point.scores)


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
    one, other = (judged(network, split.test) for network in networks)
    for way in WAYS:
        first, *_, last = found.way(way)
        assert (first.x, last.x) == (0, 1)
        assert seen(first) == pytest.approx(other)
        assert seen(last) == pytest.approx(one)
    worse = max(one, other)
    for point in found.points:
        assert tuple(each.value for each in point.scores) == pytest.approx(
            tuple(a - b for a, b in zip(seen(point), worse, strict=True)), abs=1e-9
        )
    assert all(point.penalty_low <= point.penalty <= point.penalty_high for point in found.points)
    assert [point.cut for point in found.way("stitching")] == ["input", "3", "output"]
    assert {point.fold for point in found.way("stitching")} == {"same architecture"}


def test_the_chain_is_what_stitching_says(found, networks, split):
    a, b = networks
    record = ms.stitch("a@3 -> b@3", {"a": a, "b": b}, split.train, split.test, by=ms.Direct())
    assert found.way("stitching")[1].value == pytest.approx(record.score("error").stitched)


def test_a_network_and_itself_are_connected_by_every_straight_way(networks, split):
    a, _ = networks
    asked = {**ASKED, "family": Identity()}
    found = connectivity(a, a, split.train, split.test, **asked)
    assert found.connected is True
    assert found.barrier("stitching") == {"error": 0.0, "loss": 0.0}
    # Between the ends the statistics are estimated afresh, so that the error may differ by a few examples.
    assert found.barrier("linear")["error"] < 3
    assert found.barrier("linear") == found.barrier("permuted")


def test_statistics_between_the_ends_are_estimated_afresh(found, networks, split):
    a, b = networks
    halfway = mixed(b, [(0.5, b.state_dict()), (0.5, a.state_dict())])
    _, stale = judged(halfway, split.test)
    estimate_statistics(halfway, split.train)
    _, fresh = judged(halfway, split.test)
    loss = found.way("linear")[1].score("loss").stitched
    assert loss == pytest.approx(fresh)
    # The canary: with the mixed statistics of both networks it is another.
    assert loss != pytest.approx(stale, rel=1e-3)


COLUMNS = ["way", "x", "cut", "error", "loss", "penalty", "penalty_low", "penalty_high"]
COLUMNS += ["loss_penalty", "loss_penalty_low", "loss_penalty_high", "fold", "status", "reason"]


def test_the_table_and_the_dictionary_tell_all(found):
    frame = found.to_pandas()
    assert list(frame["way"].unique()) == list(WAYS)
    assert len(frame) == 3 * 4
    told = json.loads(json.dumps(found.to_dict()))
    assert told["networks"] == {"A": "one", "B": "other"}
    assert list(frame.columns) == COLUMNS
    assert [list(point) for point in told["points"]] == [COLUMNS] * 12
    assert told["scores"][0] == {"name": "error", "title": "test error", "unit": "points", "better": "lower"}
    assert told["barriers"]["linear"] == found.barrier("linear")
    assert told["asked"]["n_fit"] == 400
    assert told["versions"]["torch"] == torch.__version__


def test_a_failure_is_recorded_and_is_no_number(networks, split, monkeypatch):
    def fails(*_):
        raise NumericalFailure("train a network", "a loss of nan", "lower the learning rate")

    def broken(network, parts):
        twin = mixed(network, parts)
        twin[4].weight.data.fill_(math.inf)
        return twin

    room = importlib.import_module("modelstitch.connectivity.connectivity")
    monkeypatch.setattr(room, "bent", fails)
    monkeypatch.setattr(room, "mixed", broken)
    found = connectivity(*networks, split.train, split.test, **ASKED)
    for way, reason in (("curve", "a loss of nan"), ("linear", "not finite")):
        middle = found.way(way)[1]
        assert (middle.status, middle.value, middle.penalty, middle.scores) == ("failed", None, None, ())
        assert reason in middle.reason
        assert found.barrier(way) is None
    assert found.barrier("stitching") is not None
    assert "3 of 12 points failed" in found.plot().to_json().replace("\N{NO-BREAK SPACE}", " ")


# The verdict


def told(*spans, failed=0, threshold=2.0):
    """A chain whose inner penalties have these intervals."""
    inner = [Point("stitching", 0.5, "cut", (penalty(5.0, (low + high) / 2, low, high),)) for low, high in spans]
    inner += [Point("stitching", 0.5, status="failed", reason="no")] * failed
    ends = [Point("stitching", x, "", (penalty(5.0, 0.0, -1.0, 9.0),)) for x in (0.0, 1.0)]
    return Connectivity(("A", "B"), (ends[0], *inner, ends[1]), CLASSIFICATION, threshold, {}, {})


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


@pytest.mark.parametrize(
    ("score", "values", "height"),
    [
        (CLASSIFICATION[0], (2.0, 9.0, 4.0), 6.0),
        (CLASSIFICATION[1], (0.2, 0.1, 0.4), 0.0),
        # Of a score of which more is better, a barrier is a valley.
        (Regression().scores[0], (0.8, 0.1, 0.6), 0.6),
        (Regression().scores[0], (0.5, 0.9, 0.6), 0.0),
    ],
)
def test_a_barrier_is_beyond_the_line_between_the_ends(score, values, height):
    points = tuple(
        Point("linear", x, "", (penalty(value, 0.0, 0.0, 0.0, score=score),))
        for x, value in zip((0.0, 0.5, 1.0), values, strict=True)
    )
    found = Connectivity(("A", "B"), points, (score,), 1.0, {}, {}).barrier("linear")
    assert found == pytest.approx({score.name: height})


# Other tasks


class Numbers(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 2)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.fixture(scope="module")
def numbers():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], 1)
    parts = [Held(x[:200], y[:200]), Held(x[200:], y[200:])]
    pair = [Numbers(0), Numbers(1)]
    for seed, network in enumerate(pair):
        train_supervised(network, parts[0], schedule=Schedule(20 + 20 * seed, 32), seed=seed)
    return pair, parts


@pytest.mark.usefixtures("_few_resamples")
def test_a_score_of_which_more_is_better_is_held_against_the_lower(numbers):
    networks, (train, test) = numbers
    found = connectivity(*networks, train, test, **ASKED, threshold=0.2)
    r2 = Regression().scores[0]
    one, other = (r2.value(evaluate(network, test, task=Regression()).sums["r2"]) for network in networks)
    assert one < other
    for point in found.points:
        assert point.penalty == pytest.approx(one - point.value, abs=1e-9)
    assert found.verdict.endswith("at 0.2 R²")
    assert list(found.to_pandas().columns[3:7]) == ["r2", "mse", "penalty", "penalty_low"]
    assert all(height >= 0 for way in WAYS for height in found.barrier(way).values())
    assert "below the worse network" in found.plot().to_json()


def test_a_threshold_is_asked_for_where_none_goes_without_saying(numbers):
    networks, parts = numbers
    with pytest.raises(SettingError, match=r"by test R²\nfound: a score in R², and no threshold\ndo:    .*threshold=…"):
        connectivity(*networks, *parts, **ASKED)


def test_without_targets_all_is_held_against_the_answers_of_b(networks, split):
    train, test = (Held(one.batch(slice(0, len(one))).inputs, None) for one in (split.train, split.test))
    found = connectivity(*networks, train, test, **ASKED)
    first, _, last = found.way("stitching")
    assert seen(first) == (0.0, 0.0)
    assert last.value > 0
    assert last.penalty == 0.0
    assert all(one.scores for one in found.points)


def test_language_models_are_connected_too():
    texts = (torch.arange(6) + torch.arange(7)[:, None]) % 7
    texts = torch.cat([texts, texts.flip(1)])
    train, test = Held(texts[:11], texts[:11]), Held(texts[11:], texts[11:])
    pair = [build("gpt", seed=seed, vocabulary=7, width=8, depth=2, heads=2, longest=6) for seed in (0, 1)]
    for seed, network in enumerate(pair):
        train_supervised(network, train, schedule=Schedule(5, 8), seed=seed)
    found = connectivity(*pair, train, test, **ASKED, threshold=0.5)
    assert [score.name for score in found.scores] == [score.name for score in NextToken().scores]
    assert [point.cut for point in found.way("stitching")] == ["input", "embedding", "blocks.0", "blocks.1", "output"]
    assert all(point.value > 0 for point in found.way("curve"))
    assert found.verdict.endswith("nats a token")


def test_another_task_than_the_data_have_is_refused(networks, split):
    with pytest.raises(TaskMismatch):
        connectivity(*networks, split.train, split.test, task=Regression())


# The curve


def test_a_curve_ends_at_the_networks_and_its_loss_falls(networks, split):
    a, b = (network.eval() for network in networks)
    at_0, at_1 = b.state_dict(), a.state_dict()
    middles = [bent(b, at_0, at_1, split.train, Classification(), Schedule(epochs), 0) for epochs in (1, 6)]
    losses = []
    for middle in middles:
        assert middle.keys() == at_0.keys()
        network = mixed(b, shares_on_curve(0.5, at_0, middle, at_1))
        estimate_statistics(network, split.train)
        losses.append(judged(network, split.train)[1])
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


def test_a_curve_answers_as_the_network_at_the_place_that_it_drew(networks, split):
    a, b = (network.eval() for network in networks)
    ends = b.state_dict(), a.state_dict()
    bend = Bend(b, *ends, 0).eval()
    with torch.no_grad():
        for weight in bend.middle:
            weight.mul_(1.5)
        place = float(torch.rand((), generator=generator("places on a curve", 0)))
        middle = {**ends[0], **bend.control()}
        one = mixed(b, shares_on_curve(place, ends[0], middle, ends[1]))
        # The curve's batch norms keep the statistics of B: only weights are mixed while it is trained.
        one[2].load_state_dict({**one[2].state_dict(), **dict(b[2].named_buffers())})
        inputs = split.test.example
        assert torch.allclose(bend(inputs), one(inputs), atol=1e-5)
        assert torch.allclose(bend(input=inputs), bend(inputs)) is False  # drawn anew at each call


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

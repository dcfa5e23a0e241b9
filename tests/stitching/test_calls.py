"""The main job: which cuts meet, and that order, company, interruption and the form of the data change nothing."""

import copy
import dataclasses
import importlib
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelstitch.activations import Activations
from modelstitch.comparison import compare_all
from modelstitch.compute import Compute
from modelstitch.cut.place import Cut
from modelstitch.data import Samples
from modelstitch.errors import (
    DataError,
    SettingError,
    ShapeMismatch,
)
from modelstitch.matching import Direct, TaskLoss
from modelstitch.networks import Network, build, weights_fingerprint
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.records import Store, open_records
from modelstitch.stitches import Affine, Identity, Orthogonal
from modelstitch.stitching import Setting, pairings, run, stitch, stitch_all
from modelstitch.stitching.places import matching_cuts
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification, Regression

controls_module, pairing_module = (
    importlib.import_module(f"modelstitch.stitching.{name}") for name in ("controls", "pairing")
)
matching_fit = importlib.import_module("modelstitch.matching.fit")
BY = TaskLoss(epochs=1, batch_size=16)


def points(n, seed):
    inputs = torch.randn(n, 6, generator=generator("sweep test", seed))
    return Samples("points", inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long(), classes=3)


TRAIN, TEST = points(50, 0), points(30, 1)


def mlp(seed, widths=(5, 4), classes=3):
    network = build("mlp", seed=seed, widths=widths, inputs=6, classes=classes)
    if classes == 3:
        train_supervised(network, TRAIN, schedule=Schedule(epochs=3, batch_size=16, learning_rate=0.1), seed=seed)
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    return {"A": mlp(0), "B": mlp(1)}


@pytest.fixture(scope="module")
def records(networks):
    return stitch_all(*networks.values(), TRAIN, TEST, by=BY)


def told(record):
    """All of a record but when it was made and how long it took."""
    return dataclasses.replace(record, seconds=0.0, created="")


def assert_same_records(found, expected):
    assert [told(record) for record in found] == [told(record) for record in expected]


# What is measured


def test_every_matching_cut_in_both_directions_then_the_controls(records):
    places = [(r.control, r.stitching) for r in records]
    cuts = ("layer1", "layer2")
    ways = [f"{one}@{cut} -> {other}@{cut}" for one, other in ("AB", "BA") for cut in cuts]
    selves = [f"{one}@{cut} -> {one}@{cut}" for one in "AB" for cut in cuts]
    assert places == [("", s) for s in ways] + [("self", s) for s in selves] + [("untrained", s) for s in ways]
    assert all(record.status == "ok" and len(record.curve) == 1 for record in records.only(control=""))
    assert len({record.key for record in records}) == len(records)


def test_self_stitching_costs_exactly_nothing(records):
    for record in records.only(control="self"):
        assert [(each.penalty, each.low, each.high) for each in record.scores] == [(0, 0, 0)] * 2
        assert record.measure("agreement_top") == 1
        assert record.measure("cka") == pytest.approx(1, abs=1e-12)


@pytest.mark.usefixtures("_few_resamples")
@pytest.mark.parametrize("seed", range(3))
def test_self_stitching_costs_exactly_nothing_with_one_output_and_a_short_batch(seed):
    # A layer with one output rounds by the size of the batch: 110 examples as they are, or filled up to 512.
    a, b = (build("mlp", seed=seed + i, widths=(32, 32), inputs=10, classes=1).eval() for i in (0, 50))
    drawn = generator("one output", seed)
    x, y = (torch.randn(300, size, generator=drawn) for size in (10, 1))
    how = {"task": Regression(), "by": Direct(), "controls": ("self",)}
    found = stitch_all(a, b, (x[:190], y[:190]), (x[190:], y[190:]), **how).only(control="self")
    assert [(one.penalty, one.penalty_low, one.penalty_high) for one in found] == [(0.0, 0.0, 0.0)] * len(found)


def test_untrained_bottoms_are_other_networks(records, networks):
    trained = {weights_fingerprint(network) for network in networks.values()}
    controls = records.only(control="untrained")
    assert not {record.bottom_weights for record in controls} & trained
    assert {record.top_weights for record in controls} == trained


def easy(n, seed):
    """Three classes that a network learns to tell well, so that guessing is far from it."""
    inputs = torch.randn(n, 6, generator=generator("easy points", seed))
    labels = torch.arange(n) % 3
    return Samples("easy", inputs + 4 * torch.eye(6)[labels], labels, classes=3)


@pytest.fixture(scope="module")
def controlled():
    train, test = easy(300, 0), easy(150, 1)
    networks = [build("mlp", seed=seed, widths=(8,), inputs=6, classes=3) for seed in (0, 1)]
    for seed, network in enumerate(networks):
        train_supervised(network, train, schedule=Schedule(epochs=4, batch_size=16, learning_rate=0.1), seed=seed)
    given = (*networks, train, test)
    task = TaskLoss(epochs=4, batch_size=16, learning_rate=0.05, start="random")
    direct = stitch_all(*given, by=Direct(), controls=("stem_reset", "noise", "shuffled"))
    return [direct, stitch_all(*given, by=task, controls=("noise", "shuffled"))], given


def assert_guessing(records):
    """The law of noise and of shuffled pairs: no better than chance, which errs two times in three, give or take."""
    for record in records:
        assert record.score("error").stitched > 45, record.stitching


def test_nothing_is_learnt_from_noise_or_from_shuffled_pairs(controlled):
    for records in controlled[0]:
        assert max(record.score("error").stitched for record in records.only(control="")) < 10
        for control in ("noise", "shuffled"):
            assert len(records.only(control=control)) == len(records.only(control="")) == 2
            assert_guessing(records.only(control=control))
        assert max(record.measure("cka") for record in records.only(control="noise")) < 0.1
        assert min(record.measure("cka") for record in records.only(control="shuffled")) > 0.3


@pytest.mark.parametrize("control", ["noise", "shuffled"])
def test_canary_the_law_of_guessing_sees_what_leaks(controlled, monkeypatch, control):
    leaks = {
        "noise": lambda bottom, cuts, train, **_: bottom,
        "shuffled": lambda train, seed: (train, train),
    }
    monkeypatch.setattr(controls_module, control, leaks[control])
    records = stitch_all(*controlled[1], by=Direct(), controls=(control,))
    with pytest.raises(AssertionError, match="@layer"):
        assert_guessing(records.only(control=control))


def test_controls_say_whose_bottoms_they_have(controlled):
    records = controlled[0][0]
    weights = {record.top_network: record.top_weights for record in records}
    for record in records.only(control="stem_reset"):
        assert record.bottom_network == record.top_network
        assert record.bottom_weights not in weights.values()
    plain, shuffled = records.only(control=""), records.only(control="shuffled")
    for control in ("noise", "shuffled"):
        names = [(r.bottom_network, r.bottom_weights, r.bottom_cut) for r in records.only(control=control)]
        assert names == [(r.bottom_network, r.bottom_weights, r.bottom_cut) for r in plain]
    assert {r.fit_data for r in shuffled}.isdisjoint({r.fit_data for r in plain})
    assert {r.test_data for r in shuffled} == {r.test_data for r in plain}
    assert len({record.key for record in records}) == len(records) == 2 * 4


def test_a_control_that_is_none_is_refused(networks):
    with pytest.raises(SettingError, match="did you mean 'noise'"):
        stitch_all(*networks.values(), TRAIN, TEST, controls=("nois",))


def test_without_controls_and_at_every_cut(networks):
    found = stitch_all(*networks.values(), TRAIN, TEST, by=Direct(), every=True, controls=())
    cuts = ["layer1.0", "layer1", "layer2.0", "layer2"]
    assert [record.bottom_cut for record in found if record.bottom_network == "A"] == cuts
    assert {record.control for record in found} == {""}


# Same answer, whatever the company


def test_a_stitching_alone_is_the_one_in_the_sweep(networks, records):
    for record in records.only(control=""):
        assert_same_records([stitch(record.stitching, networks, TRAIN, TEST, by=BY)], [record])


def test_the_default_and_the_same_by_hand_are_one_record(networks):
    asked = ("A@layer1 -> B@layer1", networks, TRAIN, TEST)
    found = stitch(*asked, by=TaskLoss(batch_size=32, learning_rate=0.01))
    assert '"epochs": null' not in found.matching
    by = TaskLoss(epochs=len(found.curve), batch_size=32, learning_rate=0.01)
    assert_same_records([stitch(*asked, by=by)], [found])


def test_the_same_call_gives_the_same_records_and_touches_nothing(networks, records):
    torch.manual_seed(17)
    stream = torch.get_rng_state()
    copies = [copy.deepcopy(network).train() for network in networks.values()]
    weights = [weights_fingerprint(network) for network in copies]
    # Train mode is the caller's affair: networks are stitched as they behave in eval mode, and get their mode back.
    assert_same_records(stitch_all(*copies, TRAIN, TEST, by=BY), records)
    compare_all(*copies, TEST)
    assert torch.equal(torch.get_rng_state(), stream)
    assert weights == [weights_fingerprint(network) for network in copies]
    assert all(module.training for network in copies for module in network.modules())
    assert not any(p.grad is not None or not p.requires_grad for network in copies for p in network.parameters())


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_neither_room_for_activations_nor_a_cache_changes_a_record(networks, memory, tmp_path):
    by = TaskLoss(epochs=2, batch_size=16)
    expected = stitch_all(*networks.values(), TRAIN, TEST, by=by)
    budgets = [Compute(memory=memory), *[Compute(memory=memory, folder=tmp_path)] * 2]
    for compute in budgets:
        assert_same_records(stitch_all(*networks.values(), TRAIN, TEST, by=by, compute=compute), expected)
    assert list(tmp_path.glob("*.npy"))


def test_another_order_of_the_networks_gives_the_same_stitchings(networks, records):
    found = stitch_all(networks["B"], networks["A"], TRAIN, TEST, names=("B", "A"), by=BY, controls=())
    expected = records.only(control="")
    assert_same_records(found, [*expected[2:], *expected[:2]])


def test_canary_same_answer_catches_a_seed_that_depends_on_the_order(networks, records, monkeypatch):
    right, calls = pairing_module.Job, []

    def ordered(family, by, task, sources, batch_norm, seed):
        calls.append(None)
        return right(family, by, task, sources, batch_norm, len(calls))

    monkeypatch.setattr(pairing_module, "Job", ordered)
    with pytest.raises(AssertionError):
        assert_same_records(stitch_all(*networks.values(), TRAIN, TEST, by=BY, controls=()), records[:4])


class Interrupted(Store):
    """A store that remembers what was added, and whose process is killed after a few records."""

    def __init__(self, path, after):
        super().__init__(path)
        self.left, self.added = after, []

    def append(self, record, stitch=None):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.added.append(record.key)
        super().append(record, stitch)


def test_killed_and_resumed_is_uninterrupted(networks, records, tmp_path):
    path = tmp_path / "records.sqlite"
    with pytest.raises(KeyboardInterrupt):
        stitch_all(*networks.values(), TRAIN, TEST, by=BY, store=Interrupted(path, 5))
    assert len(open_records(path)) == 5
    half = open_records(path)
    assert_same_records(stitch_all(*networks.values(), TRAIN, TEST, by=BY, store=Store(path)), records)
    # Nothing was measured twice, and nothing is measured again.
    assert open_records(path)[:5] == half
    assert [record.key for record in open_records(path)] == [record.key for record in records]
    assert_same_records(stitch_all(*networks.values(), TRAIN, TEST, by=BY, store=Interrupted(path, 0)), records)


def rows_run(monkeypatch):
    """How many rows each bottom network has run, by its weights; a batch that checks the bits is no pass."""
    seen = Counter()
    right = Activations._run

    def counted(self, cuts, index, full):
        seen[weights_fingerprint(self.captured.view), len(self.examples)] += len(index)
        return right(self, cuts, index, full)

    monkeypatch.setattr(Activations, "_run", counted)
    monkeypatch.setattr(Activations, "_steady", lambda self, there: list(there))
    return seen


def assert_each_bottom_runs_once(seen, networks):
    for network in networks:
        for data in (TRAIN, TEST):
            assert seen[weights_fingerprint(network), len(data)] == len(data)


@pytest.mark.parametrize("by", [Direct(), TaskLoss(epochs=3, batch_size=16)], ids=["direct", "task"])
@pytest.mark.parametrize("widths", [(5,), (5, 4, 4)])
def test_each_bottom_runs_once_an_example_whatever_the_number_of_cuts_and_passes(monkeypatch, widths, by):
    networks = mlp(0, widths), mlp(1, widths)
    seen = rows_run(monkeypatch)
    found = stitch_all(*networks, TRAIN, TEST, by=by)
    assert len(found) == 6 * len(widths)
    assert_each_bottom_runs_once(seen, networks)
    # So does each untrained twin; the two have the same weights.
    twin = {n: count for (weights, n), count in seen.items() if weights not in map(weights_fingerprint, networks)}
    assert twin == {50: 2 * 50, 30: 2 * 30}


def test_canary_the_law_of_once_catches_a_pass_that_keeps_nothing(monkeypatch):
    networks = mlp(0), mlp(1)
    seen = rows_run(monkeypatch)
    stitch_all(*networks, TRAIN, TEST, by=BY, compute=Compute(memory=0.0))
    with pytest.raises(AssertionError):
        assert_each_bottom_runs_once(seen, networks)


# Splits


def assert_never_sees_the_test(run):
    """The law: another test set gives the same stitch, whose train-set numbers say so."""
    one, other = run(TEST), run(points(30, 2))
    assert one.test_data != other.test_data
    assert (one.measure("residual"), one.curve) == (other.measure("residual"), other.curve)


def test_the_test_set_does_not_reach_the_stitch(networks):
    assert_never_sees_the_test(lambda test: stitch("A@layer1 -> B@layer1", networks, TRAIN, test, by=BY))


def test_canary_the_split_law_catches_statistics_of_the_test_set(networks, monkeypatch):
    monkeypatch.setattr(pairing_module.Pairing, "fit_moments", pairing_module.Pairing.test_moments)
    with pytest.raises(AssertionError):
        assert_never_sees_the_test(lambda test: stitch("A@layer1 -> B@layer1", networks, TRAIN, test, by=BY))


@pytest.mark.parametrize("call", [stitch_all, lambda a, b, *data: stitch("A@fc -> B@fc", {"A": a, "B": b}, *data)])
def test_overlapping_splits_are_refused(networks, call):
    shared = TRAIN.take(torch.arange(40, 50))
    with pytest.raises(DataError, match="10 of the 10 test examples are also among the 50 fitted on"):
        call(*networks.values(), TRAIN, shared)


@pytest.mark.parametrize(
    "form",
    [
        lambda samples: (samples.inputs.numpy(), samples.labels.numpy()),
        lambda samples: TensorDataset(samples.inputs, samples.labels),
        lambda samples: DataLoader(TensorDataset(samples.inputs, samples.labels), batch_size=7),
    ],
    ids=["arrays", "dataset", "loader"],
)
def test_data_in_any_form_gives_the_same_records(networks, records, form):
    found = stitch_all(*networks.values(), form(TRAIN), form(TEST), by=BY, controls=())
    assert_same_records([dataclasses.replace(record, data="points") for record in found], records[:4])


# Failures


def dead(network):
    """The network with a layer that always answers 0."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.layer1[0].bias.fill_(-1000)
    return network


def test_a_failure_is_a_record_without_a_value_and_the_rest_goes_on(networks, tmp_path):
    store = Interrupted(tmp_path / "records.sqlite", 100)
    given = (networks["A"], dead(networks["B"]), TRAIN, TEST)
    found = stitch_all(*given, by=BY, controls=(), store=store)
    status = {record.stitching: record.status for record in found}
    assert status["A@layer1 -> B@layer1"] == "failed"
    assert status["A@layer2 -> B@layer2"] == "failed"  # Nothing varies behind a dead layer.
    failed = found.only(status="failed")[0]
    assert "constant target: the same activations for all 50 rows" in failed.reason
    assert (failed.penalty, failed.scores, failed.curve) == (None, (), ())
    # Asked again, failures are measured again and successes are not.
    again = stitch_all(*given, by=BY, controls=(), store=store)
    assert_same_records(again, found)
    successes = {record.key for record in found.only(status="ok")}
    assert store.added[len(found) :] == [r.key for r in found if r.key not in successes]
    assert len(store.records()) == len(found)


class Infinite(nn.Module):
    """Finite answers through activations that are not: the exponential of minus infinity is 0."""

    def __init__(self, network):
        super().__init__()
        self.layer1 = network.layer1
        self.log = nn.Sequential(nn.Linear(5, 5), nn.ReLU())
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        x = self.layer1(x.flatten(1))
        return self.fc(torch.exp(torch.log(self.log(x))))


def test_activations_that_are_not_finite_fail_their_own_stitchings_alone(networks):
    torch.manual_seed(0)
    network = Infinite(networks["A"]).eval()
    found = stitch_all(network, copy.deepcopy(network), TRAIN, TEST, by=BY, every=True, controls=())
    status = {record.bottom_cut: record.status for record in found}
    assert (status["log:2"], status["layer1"], status["exp"]) == ("failed", "ok", "ok")


# Which cuts meet


def cut(name, depth, channels=4, positions=(8, 8), kind="map"):
    return Cut(name, (), (channels, *positions), kind, depth, cost=depth, block=True)


def names(pairs):
    return [(bottom.name, top.name) for bottom, top in pairs]


def test_networks_with_the_same_cuts_meet_by_name():
    bottoms = [cut("stem", 0.1), cut("body", 0.5), cut("head", 0.9)]
    # By depth, both tops would take the stem.
    tops = [cut("stem", 0.0), cut("body", 0.1), cut("head", 0.2)]
    assert names(matching_cuts(bottoms, tops, Affine())) == [(n, n) for n in ("stem", "body", "head")]


def test_other_networks_meet_by_depth_where_the_family_can_map():
    bottoms = [cut("a", 0.1), cut("b", 0.4), cut("c", 0.6, channels=8), cut("d", 0.6, positions=(4, 4))]
    tops = [cut("x", 0.55), cut("y", 0.2), cut("z", 0.5, positions=(2, 2)), cut("v", 0.6, positions=(), kind="vector")]
    assert names(matching_cuts(bottoms, tops, Affine())) == [("c", "x"), ("a", "y")]
    assert names(matching_cuts(bottoms, tops, Orthogonal())) == [("b", "x"), ("a", "y")]


@pytest.fixture(scope="module")
def real(fmnist_small):
    """Networks of the catalogue, captured on real images."""
    options = {"resnet18": {"width": 4}, "myrtle": {"width": 2}}
    nets = {name: build(name, seed=0, channels=1, **o).eval() for name, o in options.items()}
    nets["mlp"] = build("mlp", seed=0, widths=(8, 6), inputs=784).eval()
    example = fmnist_small.test.example
    return {name: Network(name, net).ready(example, Compute()) for name, net in nets.items()}


def test_a_resnet_and_a_myrtle_meet_where_their_maps_are_as_wide(real):
    resnet, myrtle = real["resnet18"].captured, real["myrtle"].captured
    pairs = matching_cuts(resnet.blocks, myrtle.blocks, Affine())
    assert [top.name for _, top in pairs] == ["block1", "block2", "block3", "flatten"]
    assert all(bottom.positions == top.positions for bottom, top in pairs)
    nearest = {bottom.name: bottom.depth for bottom in resnet.blocks if bottom.positions == (14, 14)}
    bottom, top = pairs[1]
    assert abs(nearest[bottom.name] - top.depth) == min(abs(depth - top.depth) for depth in nearest.values())


@pytest.mark.parametrize("name", ["resnet18", "myrtle", "mlp"])
def test_self_stitching_is_exact_at_every_cut_of_real_networks(real, fmnist_small, name):
    one, test = real[name], fmnist_small.test.first(200)
    made = pairings(fmnist_small.train.first(20), test, Classification(10), Setting(Identity()), Compute())
    # Measures need rows: nothing in a multilayer perceptron says which axis of an image holds its colours.
    places = [cut for cut in one.captured.cuts if cut.kind != "unknown"]
    assert len(places) >= len(one.captured.cuts) - (name == "mlp")
    records = run([made.pairing(one, one, [(cut, cut) for cut in places], "self")], None)
    for place, record in zip(places, records, strict=True):
        assert [(each.penalty, each.low, each.high) for each in record.scores] == [(0, 0, 0)] * 2, place
        assert record.measure("agreement_top") == 1


def test_networks_that_never_meet_are_refused(networks):
    other = mlp(2, widths=(7,))
    with pytest.raises(ShapeMismatch, match="to stitch A and B\nfound: no two cuts"):
        stitch_all(networks["A"], other, TRAIN, TEST, family=Identity())


def test_networks_of_different_widths_meet_by_an_affine_map(networks):
    found = stitch_all(networks["A"], mlp(2, widths=(7, 3)), TRAIN, TEST, by=BY, controls=())
    assert [record.status for record in found] == ["ok"] * 4

"""The notation, the preparation of networks, and what one record is made of."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelstitch.compute import Compute
from modelstitch.data import Arrays, Samples
from modelstitch.errors import NotationError, NotCuttable, NumericalFailure, ShapeMismatch, TaskMismatch
from modelstitch.matching import Direct
from modelstitch.networks import Network, build, weights_fingerprint
from modelstitch.records import Store
from modelstitch.stitches import Affine, Identity, Orthogonal
from modelstitch.stitching import (
    Setting,
    Stitching,
    check_identity,
    key_of,
    measure,
    pairings,
    run,
    settled_task,
    stitch,
)
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification, Imitation, Regression


def points(n, seed):
    inputs = torch.randn(n, 6, generator=generator("stitching test", seed))
    return Samples("points", inputs, torch.arange(n) % 3, classes=3)


TRAIN, TEST = points(40, 0), points(30, 1)
SETTING = Setting(Affine(), Direct())


def mlp(seed, classes=3):
    return build("mlp", seed=seed, widths=(5, 4), inputs=6, classes=classes)


def ready(network, name, test=TEST):
    return Network(name, network).ready(test.example, Compute())


@pytest.fixture(scope="module")
def prepared():
    return [ready(mlp(seed), name) for seed, name in enumerate("AB")]


def pairing(prepared, text="A@layer1 -> B@layer1", train=TRAIN, test=TEST, setting=SETTING, control=""):
    """The pairing of one stitching, and its cuts."""
    one = Stitching.parse(text)
    known = {each.name: each for each in prepared}
    bottom, top = known[one.bottom], known[one.top]
    pair = (bottom.captured.find(one.bottom_cut), top.captured.find(one.top_cut))
    made = pairings(train, test, Classification(3), setting, Compute())
    return made.pairing(bottom, top, [pair], control), pair


# The notation

cut_names = st.text("abc012._:", min_size=1)
network_names = st.text("abc/@.:_ -", min_size=1).filter(lambda name: name == name.strip() and "->" not in name)


@given(network_names, cut_names, network_names, cut_names)
def test_what_is_written_is_read_back(bottom, bottom_cut, top, top_cut):
    stitching = Stitching(bottom, bottom_cut, top, top_cut)
    # A name that ends in '-' before '>' or begins with it would make an arrow of its own.
    assert Stitching.parse(str(stitching)) == stitching


@pytest.mark.parametrize("text", ["a@x->b@y", "  a@x  ->  b@y ", "a@x -> b@y"])
def test_spaces_do_not_matter(text):
    assert Stitching.parse(text) == Stitching("a", "x", "b", "y")


def test_a_network_may_have_an_at_in_its_name():
    assert Stitching.parse("runs@1/a@x -> b@y") == Stitching("runs@1/a", "x", "b", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 arrows and 0 cuts, where there must be 1 and 2"),
        ("a@x", "0 arrows and 1 cuts"),
        ("a -> b", "1 arrows and 0 cuts"),
        ("a@x -> b@y -> c@z", "2 arrows and 3 cuts"),
        ("@x -> b@y", "do:    write 'A@layer2.1 -> B@layer2.1'"),
        ("a@ -> b@y", "asked: the stitching 'a@ -> b@y'"),
    ],
)
def test_what_is_no_stitching_is_refused(text, message):
    with pytest.raises(NotationError, match=message):
        Stitching.parse(text)


# Preparing networks


def test_a_network_is_left_in_its_mode():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    network[1].eval()
    before = weights_fingerprint(network)
    one = ready(network, "A")
    found = pairing([one, ready(mlp(1), "B")], "A@0 -> B@layer1")[0].outcome(one)
    assert [module.training for module in network.modules()] == [True, True, False, True, True]
    assert weights_fingerprint(network) == before == one.weights
    with torch.no_grad():
        expected = network.eval()(TEST.inputs)
    assert found.answers.tolist() == expected.argmax(1).tolist()
    assert one.device == "cpu"


def test_the_task_is_guessed_and_can_be_told():
    networks = [("A", mlp(0)), ("B", mlp(1))]
    assert settled_task(None, networks, TEST) == Classification(3)
    assert settled_task(Classification(), networks, TEST) == Classification()
    assert settled_task(None, networks, Arrays("bare", TEST.inputs)) == Imitation()


@pytest.mark.parametrize(
    ("task", "networks", "message"),
    [
        (None, {"A": mlp(0), "B": mlp(1, 4)}, "4 scores an example for 3 classes"),
        (None, {"A": mlp(0, 4)}, "use networks and data of one set of classes"),
        (Classification(), {"A": nn.Sequential(nn.Linear(6, 3), nn.Unflatten(1, (3, 1)))}, "by A\nfound: outputs"),
        (Regression(), {"A": mlp(0)}, "by A\nfound: "),
    ],
)
def test_answers_that_are_none_of_the_task_are_refused(task, networks, message):
    with pytest.raises(TaskMismatch, match=message):
        settled_task(task, list(networks.items()), TEST)


def test_a_network_that_refuses_the_data_is_refused():
    wide = dataclasses.replace(TEST, inputs=torch.cat([TEST.inputs, TEST.inputs], 1))
    with pytest.raises(ShapeMismatch, match=r"to run Sequential on an example of shape \(\d+, 12\)"):
        settled_task(Classification(), [("A", mlp(0))], wide)
    with pytest.raises(ShapeMismatch, match=r"to run Sequential on an example of shape \(2, 12\)"):
        _ = ready(mlp(0), "A", wide).captured


def test_a_network_that_answers_infinity_is_refused():
    broken = mlp(0)
    nn.init.constant_(broken.fc.bias, float("inf"))
    with pytest.raises(NumericalFailure, match="to run A on 'points'\nfound: scores that are not finite"):
        settled_task(None, [("A", broken)], TEST)


def test_every_cut_gives_its_network_back(prepared):
    for one in prepared:
        check_identity(one, one.captured.cuts, TEST)


def test_canary_a_cut_whose_halves_do_not_make_the_whole_stops_the_run(prepared, monkeypatch):
    one = prepared[0]
    right = one.captured.bottom
    monkeypatch.setattr(one.captured, "bottom", lambda cut: lambda x: right(cut)(x) * (1 + 1e-3))
    with pytest.raises(
        NotCuttable, match=r"cut 'layer1' of A as a self-stitch\nfound: outputs that differ by up to \d"
    ):
        check_identity(one, [one.captured.find("layer1")], TEST)


# Records


def columns(prepared, **asked):
    one, pair = pairing(prepared, **asked)
    return one.asked(pair)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "A@layer2 -> B@layer1"},
        {"text": "A@layer1 -> B@layer2"},
        {"train": points(41, 0)},
        {"test": points(31, 1)},
        {"setting": dataclasses.replace(SETTING, family=Orthogonal())},
        {"setting": dataclasses.replace(SETTING, family=Affine(3))},
        {"setting": dataclasses.replace(SETTING, by=Direct(ridge=0.1))},
        {"setting": dataclasses.replace(SETTING, batch_norm="batch")},
        {"setting": dataclasses.replace(SETTING, seed=1)},
        {"control": "untrained"},
    ],
)
def test_the_key_changes_with_what_is_asked(prepared, change):
    assert key_of(columns(prepared, **change)) != key_of(columns(prepared))


def test_the_key_is_of_weights_and_not_of_names(prepared):
    a, b = prepared
    renamed = [dataclasses.replace(a, name="x"), dataclasses.replace(b, name="y")]
    data = dataclasses.replace(TRAIN, name="other")
    assert key_of(columns(renamed, text="x@layer1 -> y@layer1", train=data)) == key_of(columns(prepared))
    assert key_of(columns(prepared, text="B@layer1 -> A@layer1")) != key_of(columns(prepared))


def with_activation(kind):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), kind(), nn.Linear(5, 3))


def assert_two_networks_have_two_keys(key):
    """The law of identity: whatever changes an output changes the key of a record."""
    relu, tanh = (ready(with_activation(kind), "A") for kind in (nn.ReLU, nn.Tanh))
    assert relu.weights == tanh.weights
    assert key(relu) != key(tanh)
    # The same network again, and on another batch, is the same network.
    assert key(relu) == key(Network("A", with_activation(nn.ReLU)).ready(TEST.batch(slice(0, 7)).inputs, Compute()))


def test_equal_weights_in_another_graph_are_another_network():
    assert_two_networks_have_two_keys(lambda one: key_of(columns([one], text="A@0 -> A@0")))


def test_canary_the_law_of_identity_catches_a_key_of_weights_alone():
    with pytest.raises(AssertionError):
        assert_two_networks_have_two_keys(lambda one: one.weights)


def test_the_store_answers_for_no_other_network(tmp_path):
    store, found = Store(tmp_path / "run.sqlite"), []
    for kind in (nn.ReLU, nn.Tanh, nn.ReLU):
        networks = {"A": with_activation(kind), "B": mlp(1)}
        found.append(stitch("A@1 -> B@layer1", networks, TRAIN, TEST, by=Direct(), store=store))
    assert found[0] == found[2] != found[1]
    assert found[0].score("loss").stitched != found[1].score("loss").stitched
    assert len(store.keys()) == 2


def measured(stitching, *networks, train=TRAIN, test=TEST, setting=SETTING):
    """The record of one stitching alone."""
    one, pair = pairing(networks, stitching, train, test, setting)
    (found,) = measure(one, [pair])
    return found.record


def test_a_record_says_what_was_asked_and_found(prepared):
    record = measured("A@layer1 -> B@layer2", *prepared)
    assert (record.n_fit, record.n_test, record.status) == (40, 30, "ok")
    assert (record.bottom_cut, record.top_cut) == ("layer1", "layer2")
    assert 0 < record.bottom_depth < record.top_depth < 1
    error = record.score("error")
    assert record.penalty == pytest.approx(error.stitched - error.top)
    whole = pairing(prepared)[0].outcome(prepared[0])
    assert error.bottom == pytest.approx(100 * float(whole.sums["error"][:, 0].mean()))
    assert set(record.versions) == {"modelstitch", "torch", "python"}
    assert 0 <= record.measure("residual") <= 1
    assert record.penalty_low <= record.penalty <= record.penalty_high
    assert (record.task, record.family, record.matching) == (
        '{"name": "classification", "classes": 3}',
        '{"name": "affine", "kernel": 1}',
        '{"name": "direct"}',
    )


def test_worse_stitched_is_positive_and_back_is_negative():
    # B answers right, A's bottom tells it nothing: the stitched network must be worse than B.
    inputs = torch.nn.functional.one_hot(torch.arange(30) % 3, 6).float() + 0.01 * TEST.inputs
    test = dataclasses.replace(TEST, inputs=inputs)
    good = nn.Sequential(nn.Linear(6, 3, bias=False), nn.Linear(3, 3, bias=False))
    blind = nn.Sequential(nn.Linear(6, 3, bias=False), nn.Linear(3, 3, bias=False))
    for network, first in ((good, torch.eye(3, 6)), (blind, torch.eye(3, 6).roll(1, 0))):
        network[0].weight.data.copy_(first)
        network[1].weight.data.copy_(9 * torch.eye(3))
    both = ready(blind, "A", test), ready(good, "B", test)
    worse, better = (
        measured(text, *both, test=test, setting=Setting(Identity())) for text in ("A@0 -> B@0", "B@0 -> A@0")
    )
    assert (worse.score("error").top, worse.penalty, better.penalty) == (0, 100, -100)
    assert worse.score("loss").penalty > 0 > better.score("loss").penalty


def test_a_numerical_failure_is_a_record_without_a_value(prepared):
    constant = dataclasses.replace(TRAIN, inputs=torch.ones_like(TRAIN.inputs))
    record = measured("A@layer1 -> B@layer1", *prepared, train=constant)
    assert (record.status, record.penalty, record.measure("residual")) == ("failed", None, None)
    assert "constant target" in record.reason


def test_any_other_error_is_the_caller_s(prepared):
    with pytest.raises(ShapeMismatch, match="5 channels below and 4 above"):
        measured("A@layer1 -> B@layer2", *prepared, setting=Setting(Orthogonal(), Direct()))


def test_a_network_is_itself_at_one_cut_at_a_time(prepared):
    """Where all bottoms meet all tops, as in a grid, layers are left out or repeated: that is no control."""
    narrow = ready(build("mlp", seed=0, widths=(4, 4, 4), inputs=6, classes=3), "N")
    made = pairings(TRAIN, TEST, Classification(3), SETTING, Compute(), "grid")
    assert len(made.pairs(narrow, narrow)) == 9
    itself = made.self_stitches(narrow)
    assert [(below.name, above.name) for below, above in itself.pairs] == [(f"layer{i}",) * 2 for i in (1, 2, 3)]
    assert {one.penalty for one in run([itself], None)} == {0}

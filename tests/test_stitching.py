"""The notation, the preparation of networks, and what one record is made of."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelstitch.data import Samples
from modelstitch.errors import ClassMismatch, NotationError, NotCuttable, NumericalFailure, ShapeMismatch
from modelstitch.matching import Direct
from modelstitch.networks import build, weights_fingerprint
from modelstitch.seeding import generator
from modelstitch.stitches import Affine, Identity, Orthogonal
from modelstitch.stitching import (
    Place,
    Setting,
    Stitching,
    asked,
    check_classes,
    check_identity,
    key_of,
    measure,
    prepare,
)


def points(n, seed):
    inputs = torch.randn(n, 6, generator=generator("stitching test", seed))
    return Samples("points", inputs, torch.arange(n) % 3, classes=3)


TRAIN, TEST = points(40, 0), points(30, 1)
SETTING = Setting(Affine(), Direct())


def mlp(seed, classes=3):
    return build("mlp", seed=seed, widths=(5, 4), inputs=6, classes=classes)


@pytest.fixture(scope="module")
def prepared():
    return [prepare(mlp(seed), name, TEST) for seed, name in enumerate("AB")]


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


def test_preparing_leaves_a_network_in_its_mode():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    network[1].eval()
    before = weights_fingerprint(network)
    one = prepare(network, "A", TEST)
    assert [module.training for module in network.modules()] == [True, True, False, True, True]
    assert weights_fingerprint(network) == before == one.weights
    with torch.no_grad():
        expected = network.eval()(TEST.inputs)
    assert one.outcome.predicted.tolist() == expected.argmax(1).tolist()
    assert one.device == "cpu"


def test_classes_that_agree_pass():
    check_classes([("A", mlp(0)), ("B", mlp(1))], TEST)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (
            {"A": mlp(0), "B": mlp(1, 4)},
            "to stitch A and B on 'points', which has 3 classes\nfound: they answer A with 3",
        ),
        (
            {"A": mlp(0, 4)},
            "A with 4 scores an example\ndo:    stitch networks that were trained on one set of classes",
        ),
        ({"A": nn.Sequential(nn.Linear(6, 3), nn.Unflatten(1, (3, 1)))}, "they answer A with no matrix an example"),
    ],
)
def test_classes_that_differ_are_refused(networks, message):
    with pytest.raises(ClassMismatch, match=message):
        check_classes(list(networks.items()), TEST)


def test_a_network_that_refuses_the_data_is_refused():
    wide = dataclasses.replace(TEST, inputs=torch.cat([TEST.inputs, TEST.inputs], 1))
    check_classes([("A", mlp(0))], wide)  # It is `prepare` that says what does not fit.
    with pytest.raises(ShapeMismatch, match=r"to run Sequential on an example of shape \(2, 12\)"):
        prepare(mlp(0), "A", wide)


def test_a_network_that_answers_infinity_is_refused():
    broken = mlp(0)
    nn.init.constant_(broken.fc.bias, float("inf"))
    with pytest.raises(NumericalFailure, match="90 of 90 logits not finite"):
        prepare(broken, "A", TEST)


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


def columns(prepared, text="A@layer1 -> B@layer1", train=TRAIN, test=TEST, setting=SETTING, control=""):
    return asked(Stitching.parse(text), *prepared, train, test, setting, control)


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
    assert key_of(columns(renamed, train=data)) == key_of(columns(prepared))
    assert key_of(columns([b, a])) != key_of(columns(prepared))


def measured(stitching, *given):
    """The record of one stitching alone."""
    (found,) = measure([Place(Stitching.parse(stitching))], *given)
    return found.record


def test_a_record_says_what_was_asked_and_found(prepared):
    record = measured("A@layer1 -> B@layer2", *prepared, TRAIN, TEST, Setting(Affine(), Direct()))
    assert (record.n_fit, record.n_test, record.status) == (40, 30, "ok")
    assert (record.bottom_cut, record.top_cut) == ("layer1", "layer2")
    assert 0 < record.bottom_depth < record.top_depth < 1
    assert record.penalty == pytest.approx(record.scores[0].stitched - record.scores[0].top)
    assert record.scores[0].bottom == prepared[0].outcome.error
    assert set(record.versions) == {"modelstitch", "torch", "python"}
    assert 0 <= record.measure("residual") <= 1
    assert record.penalty_low <= record.penalty <= record.penalty_high


def test_worse_stitched_is_positive_and_back_is_negative():
    # B answers right, A's bottom tells it nothing: the stitched network must be worse than B.
    inputs = torch.nn.functional.one_hot(torch.arange(30) % 3, 6).float() + 0.01 * TEST.inputs
    test = dataclasses.replace(TEST, inputs=inputs)
    good = nn.Sequential(nn.Linear(6, 3, bias=False), nn.Linear(3, 3, bias=False))
    blind = nn.Sequential(nn.Linear(6, 3, bias=False), nn.Linear(3, 3, bias=False))
    for network, first in ((good, torch.eye(3, 6)), (blind, torch.eye(3, 6).roll(1, 0))):
        network[0].weight.data.copy_(first)
        network[1].weight.data.copy_(9 * torch.eye(3))
    a, b = prepare(blind, "A", test), prepare(good, "B", test)
    worse, better = (
        measured(f"{one.name}@0 -> {two.name}@{place}", one, two, TRAIN, test, Setting(Identity()))
        for one, two, place in ((a, b, "0"), (b, a, "0"))
    )
    assert (worse.scores[0].top, worse.penalty, better.penalty) == (0, 100, -100)
    assert worse.score("loss").penalty > 0 > better.score("loss").penalty


def test_a_numerical_failure_is_a_record_without_a_value(prepared):
    constant = dataclasses.replace(TRAIN, inputs=torch.ones_like(TRAIN.inputs))
    record = measured("A@layer1 -> B@layer1", *prepared, constant, TEST, SETTING)
    assert (record.status, record.penalty, record.measure("residual")) == ("failed", None, None)
    assert "constant target" in record.reason


def test_any_other_error_is_the_caller_s(prepared):
    with pytest.raises(ShapeMismatch, match="5 channels below and 4 above"):
        measured("A@layer1 -> B@layer2", *prepared, TRAIN, TEST, Setting(Orthogonal(), Direct()))

"""Noise that tells the class: it has the moments of each class, costs little, and nothing but the label is in it."""

import dataclasses

import pytest
import torch
from torch import nn

from modelstitch.activations import Sources
from modelstitch.compute import Compute
from modelstitch.cut import Cut
from modelstitch.data import Samples
from modelstitch.errors import DataError, SettingError
from modelstitch.matching import Direct
from modelstitch.networks import Network, build
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.stitching import stitch_all
from modelstitch.stitching.clustered_noise import (
    Clusters,
    _GaussianByClass,
    classes_by_input,
    clustered_noise,
    clusters,
)
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import fingerprint, rows
from modelstitch.tasks import TASKS, Classification


def images(n, seed, *, place=False):
    """Images of three classes: dark, grey and bright, or a brighter third where ``place`` tells them apart."""
    inputs = torch.randn(n, 1, 6, 6, generator=generator("clustered noise images", n, seed))
    labels = torch.arange(n) % 3
    for k in range(3):
        inputs[labels == k, :, 2 * k : 2 * k + 2] += 2 * place
        inputs[labels == k] += 2 * (k - 1) * (not place)
    return Samples("images", inputs, labels, classes=3)


def convolution(seed):
    with seeded("clustered noise test", seed):
        parts = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 3)]
        return nn.Sequential(*parts)


TRAIN, TEST = images(300, 0), images(150, 1)
CUTS = ("0", "3")


@pytest.fixture(scope="module")
def networks():
    found = convolution(0), convolution(1)
    for seed, network in enumerate(found):
        train_supervised(network, TRAIN, schedule=Schedule(epochs=4, batch_size=16, learning_rate=0.05), seed=seed)
    return [network.eval() for network in found]


@pytest.fixture(scope="module")
def one(networks):
    return Network("A", networks[0]).ready(TRAIN.example, Compute())


@pytest.fixture(scope="module")
def noisy(one):
    cuts = [one.captured.find(name) for name in CUTS]
    return cuts, clustered_noise(one, cuts, Sources(TRAIN), TEST, Classification(3), seed=3)


def test_each_class_has_the_mean_and_spread_of_its_activations(one, noisy):
    cuts, found = noisy
    drawn = found.captured.bottoms(cuts)(TRAIN.inputs)
    for cut, values in zip(cuts, drawn, strict=True):
        real = one.captured.bottom(cut)(TRAIN.inputs)
        assert values.shape == real.shape
        for k in range(3):
            of_class = TRAIN.labels == k
            there, here = (rows(each[of_class], cut.kind) for each in (real, values))
            spread = there.std(0).clamp_min(1e-3)
            assert (((here.mean(0) - there.mean(0)) / spread).abs() < 0.4).all()
            assert ((here.std(0) - there.std(0)) / spread).abs().max() < 0.3


def test_within_a_class_nothing_of_the_input_is_left(noisy):
    (_, cut), found = noisy
    values, of_class = found.captured.bottom(cut)(TRAIN.inputs), TRAIN.labels == 0
    together = torch.corrcoef(torch.cat([TRAIN.inputs[of_class].flatten(1), values[of_class]], 1).T)[:36, 36:]
    # 100 examples: chance is 0.1.
    assert together.nan_to_num().abs().max() < 0.45


def test_an_example_has_the_same_noise_in_any_batch_and_order(noisy):
    cuts, found = noisy
    for data in (TRAIN, TEST):
        drawn = found.captured.bottoms(cuts)(data.inputs)
        some = torch.tensor([7, 3, 120])
        for cut, values in zip(cuts, drawn, strict=True):
            assert torch.equal(found.captured.bottom(cut)(data.inputs[some]), values[some])
            assert torch.equal(found.captured.bottom(cut)(data.inputs[:1]), values[:1])
            assert not torch.equal(values[0], values[3]), "two examples of one class share their noise"


def test_the_seed_is_another_noise_and_tops_are_the_networks_own(one, noisy):
    cuts, found = noisy
    other = clustered_noise(one, cuts, Sources(TRAIN), TEST, Classification(3), seed=4)
    values = found.captured.bottom(cuts[0])(TEST.inputs)
    assert not torch.equal(other.captured.bottom(cuts[0])(TEST.inputs), values)
    assert torch.equal(found.captured.top(cuts[0].name)(values), one.captured.top(cuts[0].name)(values))


def test_of_tokens_every_position_has_noise_about_the_mean_of_the_class():
    cut = Cut("t", (), (500, 2), "tokens", 0.5, 0.5, True)
    found = Clusters(torch.tensor([[0.0, 10.0], [-5.0, 3.0]]).double(), torch.tensor([[1.0, 0.0], [2.0, 1.0]]).double())
    x = torch.tensor([[1.0], [2.0]])
    known = {fingerprint({"": one}): label for one, label in zip(x, (1, 0), strict=True)}
    (values,) = _GaussianByClass([cut], [found], known, 0)(x)
    assert values.shape == (2, 500, 2)
    torch.testing.assert_close(values.mean(1), found.mean.flip(0).float(), atol=0.3, rtol=0)
    torch.testing.assert_close(values.std(1), found.spread.flip(0).float(), atol=0.2, rtol=0)
    assert torch.equal(values[1, :, 1], torch.full((500,), 10.0))


@pytest.fixture(scope="module")
def records(networks):
    return stitch_all(*networks, TRAIN, TEST, by=Direct(), controls=("noise", "clustered_noise"))


def assert_cheaper_than_noise(records):
    """The law: who knows the label costs far less than who knows nothing."""
    errors = {
        control: {record.stitching: record.score("error").stitched for record in records.only(control=control)}
        for control in ("noise", "clustered_noise")
    }
    assert errors["noise"].keys() == errors["clustered_noise"].keys()
    for place, error in errors["clustered_noise"].items():
        assert error < errors["noise"][place] - 25, place


def test_it_costs_far_less_than_noise_that_knows_nothing(records):
    assert all(record.status == "ok" for record in records)
    assert_cheaper_than_noise(records)


def test_classes_that_differ_by_place_alone_have_nearly_one_mean_in_early_maps_and_others_behind_them():
    data = images(300, 0, place=True)
    network = Network("A", convolution(0).eval()).ready(data.example, Compute())
    cuts = [network.captured.find(name) for name in CUTS]
    early, late = clusters(Sources(data).of(network.captured), cuts, 3)
    apart = [(one.mean.amax(0) - one.mean.amin(0)).div(one.spread.mean(0)).max().item() for one in (early, late)]
    assert apart[0] < 0.5
    assert apart[1] > 1


def test_canary_noise_of_other_labels_is_seen(networks, monkeypatch):
    def shifted(sets):
        known = classes_by_input(sets)
        return {key: (label + i) % 3 for i, (key, label) in enumerate(known.items())}

    monkeypatch.setattr("modelstitch.stitching.clustered_noise.classes_by_input", shifted)
    records = stitch_all(*networks, TRAIN, TEST, by=Direct(), controls=("noise", "clustered_noise"))
    with pytest.raises(AssertionError, match="@"):
        assert_cheaper_than_noise(records)


def test_nobody_gets_it_who_does_not_ask(networks):
    assert {record.control for record in stitch_all(*networks, TRAIN, TEST, by=Direct())} == {"", "self", "untrained"}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "classification"])
def test_without_classes_it_is_refused(one, name):
    with pytest.raises(SettingError, match=r"found: the task .*in which an example has no class\ndo:    leave this"):
        clustered_noise(one, [], Sources(TRAIN), TEST, TASKS[name]())


def test_of_a_regression_it_is_refused():
    inputs = torch.randn(40, 6, generator=generator("clustered regression"))
    networks = [build("mlp", seed=seed, widths=(4,), inputs=6, classes=1) for seed in (0, 1)]
    train, test = ((part, part.sum(1, keepdim=True)) for part in inputs.split(20))
    with pytest.raises(SettingError, match="asked: noise clustered by class\nfound: the task Regression"):
        stitch_all(*networks, train, test, by=Direct(), controls=("clustered_noise",))


def test_an_input_of_no_known_class_is_refused(noisy):
    (cut, _), found = noisy
    with pytest.raises(DataError, match="found: an input of neither the train nor the test examples\ndo:"):
        found.captured.bottom(cut)(torch.zeros(1, 1, 6, 6))


def test_one_input_with_two_classes_is_refused():
    twice = dataclasses.replace(TRAIN, labels=(TRAIN.labels + 1) % 3)
    with pytest.raises(DataError, match="found: one input in 'images' with two classes, 1 and another\ndo:    remove"):
        classes_by_input([TRAIN, twice])
    assert classes_by_input([TRAIN, TRAIN]) == classes_by_input([TRAIN])

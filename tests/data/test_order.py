"""Orders: nested subsets, disjoint halves, however the examples are stored; epochs without a last batch of one."""

import dataclasses

import pytest
import torch

from modelstitch.data import Samples, digits, epoch_order, half, steps_per_epoch, subset
from modelstitch.errors import DataError, SettingError
from modelstitch.support.seeding import generator

TRAIN = digits().train


def same(a, b):
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("n", [50, 400, len(TRAIN)])
def test_subsets_are_nested_and_hold_examples_once(n):
    most = subset(TRAIN, n)
    assert len(set(most.ids)) == n
    assert set(most.ids) <= set(TRAIN.ids)
    assert same(most.first(30), subset(TRAIN, 30))
    assert same(subset(most, 30), subset(TRAIN, 30))


def test_labels_stay_with_their_inputs():
    labels = dict(zip(TRAIN.ids, TRAIN.labels.tolist(), strict=True))
    for part in (subset(TRAIN, 100), half(TRAIN, 1)):
        assert [labels[one] for one in part.ids] == part.labels.tolist()


def test_halves_are_disjoint_and_make_the_whole():
    first, second = half(TRAIN, 0), half(TRAIN, 1)
    assert not set(first.ids) & set(second.ids)
    assert set(first.ids) | set(second.ids) == set(TRAIN.ids)
    assert [len(half(TRAIN.first(201), index)) for index in (0, 1)] == [100, 101]


def test_halves_and_subsets_are_of_one_order():
    assert same(half(TRAIN, 0), subset(TRAIN, len(TRAIN) // 2))


def test_the_order_is_a_shuffle_that_does_not_follow_the_storage():
    assert not same(subset(TRAIN, 100), TRAIN.first(100))
    moved = TRAIN.take(torch.randperm(len(TRAIN), generator=generator("moved")))
    assert same(subset(TRAIN, 100), subset(moved, 100))


def test_classes_are_balanced_as_in_a_draw():
    counts = torch.bincount(subset(TRAIN, 500).labels, minlength=10)
    assert counts.sum() == 500
    assert counts.min() > 30
    assert counts.max() < 70


def test_what_belongs_to_the_data_stays():
    part = subset(TRAIN, 100)
    assert (part.mean, part.std, part.crop, part.classes) == (TRAIN.mean, TRAIN.std, TRAIN.crop, 10)
    names = [one.name for one in (part, half(TRAIN, 0), half(TRAIN, 1), subset(half(TRAIN, 1), 5))]
    assert names == ["digits-100", "digits-half0", "digits-half1", "digits-half1-5"]


@pytest.mark.parametrize("n", [0, -1, len(TRAIN) + 1])
def test_a_number_that_cannot_be_taken_is_refused(n):
    with pytest.raises(SettingError, match=f"take {n} examples of 'digits'\nfound: 1498 examples"):
        subset(TRAIN, n)


def test_a_third_half_is_refused():
    with pytest.raises(SettingError, match="half 2 of 'digits'\nfound: two halves"):
        half(TRAIN, 2)


def test_a_part_of_one_class_is_refused():
    with pytest.raises(DataError, match="only class"):
        subset(TRAIN, 1)


def test_equal_examples_are_all_kept():
    double = dataclasses.replace(TRAIN, inputs=TRAIN.inputs[:2].repeat(5, 1, 1, 1), labels=TRAIN.labels[:2].repeat(5))
    assert sorted(subset(double, 10).labels.tolist()) == sorted(double.labels.tolist())
    assert isinstance(double, Samples)


@pytest.mark.parametrize("n", [255, 256, 257, 258])
def test_an_epoch_is_every_example_once_but_a_last_one_alone(n):
    order = epoch_order(n, 128, generator("order"))
    batches = order.split(128)
    assert len(batches) == steps_per_epoch(n, 128) == {255: 2, 256: 2, 257: 2, 258: 3}[n]
    assert len(batches[-1]) > 1
    assert len(set(order.tolist())) == len(order) == (256 if n == 257 else n)
    assert not torch.equal(order, order.sort().values)
    assert torch.equal(order, epoch_order(n, 128, generator("order")))

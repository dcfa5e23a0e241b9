"""Label maps: groups of classes, and noise that follows the example and not its place."""

import pytest
import torch

from modelstitch.data import SUPERCLASSES, LabelNoise, Samples, Split, Superclasses, digits, subset
from modelstitch.errors import DataError, SettingError
from modelstitch.support.seeding import generator

SPLIT = digits()
PARITY = Superclasses({"even": (0, 2, 4, 6, 8), "odd": (1, 3, 5, 7, 9)})


def test_superclasses_map_train_and_test():
    halved = PARITY(SPLIT)
    for new, old in ((halved.train, SPLIT.train), (halved.test, SPLIT.test)):
        assert torch.equal(new.labels, old.labels % 2)
        assert torch.equal(new.inputs, old.inputs)
        assert (new.name, new.classes, new.mean) == ("digits-even+odd", 2, old.mean)


def test_groups_are_numbered_in_their_order():
    turned = Superclasses({"odd": (1, 3, 5, 7, 9), "even": (0, 2, 4, 6, 8)})(SPLIT)
    assert torch.equal(turned.train.labels, 1 - PARITY(SPLIT).train.labels)


def test_the_known_superclasses_say_what_the_classes_are():
    names = {
        "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
        "fashion_mnist": "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle-boot",
    }
    assert SUPERCLASSES.keys() == names.keys()
    told = {
        data: {group: {names[data].split()[one] for one in classes} for group, classes in known.groups.items()}
        for data, known in SUPERCLASSES.items()
    }
    assert told["cifar10"]["animals"] == {"bird", "cat", "deer", "dog", "frog", "horse"}
    assert told["fashion_mnist"]["footwear_bags"] == {"sandal", "sneaker", "bag", "ankle-boot"}
    for known in SUPERCLASSES.values():
        assert sorted(one for group in known.groups.values() for one in group) == list(range(10))


WRONG_GROUPS = {
    "one": ({"all": (0, 1)}, "fewer than two groups"),
    "empty": ({"all": (0, 1), "none": ()}, "an empty one"),
    "twice": ({"a": (0, 1), "b": (1, 2)}, "class 1 more than once"),
    "twice in one": ({"a": (0, 0), "b": (1, 2)}, "class 0 more than once"),
}


@pytest.mark.parametrize(("groups", "message"), WRONG_GROUPS.values(), ids=WRONG_GROUPS)
def test_groups_that_are_none_are_refused(groups, message):
    with pytest.raises(SettingError, match=message):
        Superclasses(groups)


MISFITS = {
    "missing": ({"a": (0, 1, 2, 3, 4), "b": (5, 6, 7, 8)}, "class 9 in no group"),
    "foreign": ({"a": (0, 1, 2, 3, 4), "b": (5, 6, 7, 8, 9, 10)}, "no class 10"),
    "negative": ({"a": (0, 1, 2, 3, 4), "b": (5, 6, 7, 8, -1)}, "no class -1"),
}


@pytest.mark.parametrize(("groups", "message"), MISFITS.values(), ids=MISFITS)
def test_groups_that_do_not_fit_the_data_are_refused(groups, message):
    with pytest.raises(SettingError, match=f"superclasses a and b of 'digits'\nfound: {message}"):
        Superclasses(groups)(SPLIT)


def changed(share, seed=0):
    return LabelNoise(share, seed)(SPLIT).train.labels != SPLIT.train.labels


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_so_many_labels_change(share):
    # Nine tenths of the labels drawn differ from the true one; four standard deviations either way.
    spread = 4 * (0.9 * share * (1 - 0.9 * share) / len(SPLIT.train)) ** 0.5
    assert abs(float(changed(share).float().mean()) - 0.9 * share) < spread


def test_all_noise_is_uniform_and_knows_nothing_of_the_true_label():
    table = torch.zeros(10, 10)
    for true, drawn in zip(SPLIT.train.labels, LabelNoise(1.0)(SPLIT).train.labels, strict=True):
        table[true, drawn] += 1
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
    # Of 81 degrees of freedom: 130 is passed by one chi-square in two thousand.
    assert float(((table - expected) ** 2 / expected).sum()) < 130
    assert float(((table.sum(0) - 149.8) ** 2 / 149.8).sum()) < 30


def test_a_larger_share_changes_the_same_labels_and_more():
    some, many = LabelNoise(0.2)(SPLIT).train.labels, LabelNoise(0.6)(SPLIT).train.labels
    hit = changed(0.2)
    assert torch.equal(some[hit], many[hit])
    assert not LabelNoise(0.0)(SPLIT).train.labels.ne(SPLIT.train.labels).any()


def test_noise_follows_the_example_and_not_its_place():
    noisy = LabelNoise(0.5)
    first = noisy(Split(subset(SPLIT.train, 200), SPLIT.test)).train
    second = subset(noisy(SPLIT).train, 200)
    assert torch.equal(first.labels, second.labels)
    order = torch.randperm(len(SPLIT.train), generator=generator("moved"))
    moved = noisy(Split(SPLIT.train.take(order), SPLIT.test)).train
    assert torch.equal(moved.labels, noisy(SPLIT).train.labels[order])


def test_noise_is_decided_by_its_seed():
    assert torch.equal(changed(0.5), changed(0.5))
    # Two independent draws of 45 % agree in about half of the examples.
    assert 0.4 < float((changed(0.5, 0) == changed(0.5, 1)).float().mean()) < 0.6


def test_noise_leaves_the_inputs_the_test_set_and_what_it_was_given_alone():
    before = SPLIT.train.labels.clone()
    noisy = LabelNoise(1.0, seed=3)(SPLIT)
    assert noisy.test is SPLIT.test
    assert torch.equal(noisy.train.inputs, SPLIT.train.inputs)
    assert torch.equal(SPLIT.train.labels, before)
    assert noisy.train.name == "digits-noise1.0-seed3"
    assert noisy.train.fingerprint != SPLIT.train.fingerprint


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_no_such_share(share):
    with pytest.raises(SettingError, match=f"share={share}"):
        LabelNoise(share)


def test_noise_that_leaves_one_class_is_refused():
    two = Split(*[Samples("two", torch.eye(2), torch.tensor([0, 1]), classes=2)] * 2)
    # Two labels agree in half of all draws.
    with pytest.raises(DataError, match="only class"):
        [LabelNoise(1.0, seed)(two) for seed in range(10)]

"""The digits that come with the package."""

from importlib import resources

import torch
from sklearn.datasets import load_digits

from modelstitch.data import check_disjoint, check_samples, digits


def test_they_are_the_published_digits():
    split, published = digits(), load_digits()
    ours = torch.cat([split.train.inputs, split.test.inputs]).squeeze(1)
    labels = torch.cat([split.train.labels, split.test.labels])
    images = torch.from_numpy(published.images).to(torch.uint8)
    found = sorted((image.numpy().tobytes(), int(label)) for image, label in zip(ours, labels, strict=True))
    wanted = [(image.numpy().tobytes(), int(label)) for image, label in zip(images, published.target, strict=True)]
    assert found == sorted(wanted)


def test_a_sixth_of_each_class_is_for_testing_and_no_image_is_in_both():
    split = digits()
    shares = split.test.labels.bincount() / (split.train.labels.bincount() + split.test.labels.bincount())
    assert (shares - 1 / 6).abs().max() < 0.004
    check_disjoint(split.train, split.test)
    assert len(set(split.train.ids)) == len(split.train)


def test_they_are_normalised_by_the_training_half():
    split = digits()
    check_samples(split.test)
    inputs = torch.cat([batch for batch, _ in split.train.batches()]).double()
    assert abs(float(inputs.mean())) < 1e-5
    assert abs(float(inputs.std()) - 1) < 1e-4
    assert (split.test.mean, split.test.std) == (split.train.mean, split.train.std)


def test_they_are_small_enough_to_ship_and_say_whose_they_are():
    folder = resources.files("modelstitch.data")
    assert len((folder / "digits.npz").read_bytes()) < 100_000
    assert "Alpaydin and C. Kaynak" in (folder / "digits.LICENSE").read_text(encoding="utf-8")


def test_raw_they_go_from_black_to_white():
    # Pixels go to 16, not to 255: taken for common bytes, they would be nearly black to a network that normalises them.
    split = digits()
    for half in (split.train, split.test):
        raw = torch.cat([batch for batch, _ in half.raw().batches()])
        assert (float(raw.min()), float(raw.max())) == (0.0, 1.0)
        assert torch.allclose(raw, half.inputs / 16)

"""Labelled examples: order, identity, and the refusals."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from modelstitch.data import Samples, as_samples, check_disjoint, check_samples
from modelstitch.data.samples import channel_moments
from modelstitch.errors import DataError
from modelstitch.support.seeding import generator


def images(n: int = 7, **changes) -> Samples:
    pixels = torch.randint(0, 256, (n, 3, 4, 4), generator=generator("pixels"), dtype=torch.uint8)
    scales = {"mean": (0.2, 0.4, 0.6), "std": (0.5, 0.25, 0.125)}
    return Samples("images", pixels, torch.arange(n) % 3, **{"classes": 3, **scales, **changes})


def vectors(values, labels=None) -> Samples:
    inputs = torch.tensor(values, dtype=torch.float32)
    return Samples("vectors", inputs, torch.arange(len(values)) % 2 if labels is None else labels, classes=2)


def test_batches_are_normalised_per_channel():
    samples = images()
    found = torch.cat([inputs for inputs, _ in samples.batches(3)]).double().numpy()
    scale = [np.asarray(values).reshape(1, 3, 1, 1) for values in (samples.mean, samples.std)]
    np.testing.assert_allclose(found, (samples.inputs.numpy() / 255.0 - scale[0]) / scale[1], rtol=0, atol=1e-5)


def test_batches_without_a_mean_are_the_stored_inputs():
    tokens = Samples("tokens", torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1]), classes=2)
    inputs, labels = next(tokens.batches())
    assert torch.equal(inputs, tokens.inputs)
    assert inputs.dtype == torch.int64
    assert torch.equal(labels, tokens.labels)


def test_batches_keep_the_order_and_the_last_may_be_one():
    samples, order = images(), torch.tensor([6, 0, 0, 3])
    assert [len(labels) for _, labels in samples.batches(3)] == [3, 3, 1]
    assert torch.equal(torch.cat([labels for _, labels in samples.batches(3)]), samples.labels)
    inputs = next(samples.batches()).inputs
    assert torch.equal(torch.cat([part for part, _ in samples.batches(3, order)]), inputs[order])
    assert torch.equal(torch.cat([labels for _, labels in samples.batches(3, order)]), samples.labels[order])


def test_augmentation_needs_a_generator_and_pads_with_black():
    white = Samples("white", torch.full((64, 1, 4, 4), 255, dtype=torch.uint8), torch.arange(64) % 2, 2, (0.5,), (0.5,))
    cropped = dataclasses.replace(white, crop=2)
    still, moved = (next(cropped.batches(64, generator=source)).inputs for source in (None, generator("crop")))
    assert still.unique().tolist() == [1.0]
    assert moved.unique().tolist() == [-1.0, 1.0]
    assert next(white.batches(64, generator=generator("crop"))).inputs.unique().tolist() == [1.0]


def test_example_is_the_first_two_as_a_network_sees_them():
    assert torch.equal(images().example, next(images().batches(2)).inputs)


def test_take_and_first_keep_inputs_and_labels_together():
    samples = images()
    taken, first = samples.take(torch.tensor([4, 1])), samples.first(2)
    assert torch.equal(taken.inputs, samples.inputs[[4, 1]])
    assert taken.labels.tolist() == [1, 1]
    assert torch.equal(first.inputs, samples.inputs[:2])
    assert first.labels.tolist() == [0, 1]
    assert (first.classes, first.mean, len(samples.first(99))) == (3, samples.mean, 7)


CHANGES = {
    "inputs": lambda s: dataclasses.replace(s, inputs=s.inputs ^ torch.eye(4, dtype=torch.uint8)),
    "labels": lambda s: dataclasses.replace(s, labels=s.labels.flip(0)),
    "mean": lambda s: dataclasses.replace(s, mean=(0.2, 0.4, 0.7)),
    "std": lambda s: dataclasses.replace(s, std=(0.5, 0.25, 0.25)),
    "order": lambda s: s.take(torch.arange(7).flip(0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_changes_with_anything_that_matters(change):
    assert images().fingerprint == dataclasses.replace(images(), name="other").fingerprint
    assert change(images()).fingerprint != images().fingerprint


def test_ids_are_equal_exactly_where_inputs_are():
    samples = vectors([[0, 1], [1, 0], [0, 1], [0, 2]], torch.tensor([0, 1, 1, 0]))
    ids = samples.ids
    assert all(len(one) == 16 for one in ids)
    same = torch.cdist(samples.inputs, samples.inputs) == 0
    assert [[a == b for b in ids] for a in ids] == same.tolist()


def test_ids_are_of_what_a_network_sees_and_not_of_how_it_is_stored():
    stored = images()
    seen = Samples("seen", next(stored.batches()).inputs, stored.labels, 3)
    assert stored.ids == seen.ids
    assert stored.ids != dataclasses.replace(stored, mean=(0.0, 0.0, 0.0)).ids


def test_channel_moments_agree_with_numpy():
    pixels = images(50).inputs
    mean, std = channel_moments(pixels)
    values = pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=1e-12)


REFUSED = {
    "empty": (vectors([]), "no examples"),
    "one class": (vectors([0, 1], torch.tensor([1, 1])), "only class 1"),
    "too high": (vectors([0, 1], torch.tensor([0, 2])), "labels from 0 to 2 for 2 classes"),
    "negative": (vectors([0, 1], torch.tensor([-1, 1])), "labels from -1 to 1 for 2 classes"),
    "lengths": (vectors([0, 1, 2], torch.tensor([0, 1])), "2 labels for 3 inputs"),
    "nan": (vectors([0, 1, float("nan"), float("inf")]), "2 inputs with a value .* the first at index 2"),
    "float labels": (vectors([0, 1], torch.tensor([0.0, 1.0])), "labels of type torch.float32"),
    "bool labels": (vectors([0, 1], torch.tensor([False, True])), "labels of type torch.bool"),
    "one-hot labels": (vectors([0, 1], torch.eye(2).long()), r"labels of .* shape \(2, 2\)"),
}


@pytest.mark.parametrize(("samples", "message"), REFUSED.values(), ids=REFUSED)
def test_check_refuses(samples, message):
    with pytest.raises(DataError, match=message):
        check_samples(samples)


def test_check_returns_sound_samples():
    samples = images()
    assert check_samples(samples) is samples


INPUTS, LABELS = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(INPUTS, LABELS, strict=True))


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return INPUTS[index].numpy(), int(LABELS[index])


SOURCES = {
    "tensors": (INPUTS, LABELS),
    "arrays": (INPUTS.double().numpy(), LABELS.numpy().astype(np.uint8)),
    "lists": [INPUTS.tolist(), LABELS.tolist()],
    "tensor dataset": TensorDataset(INPUTS, LABELS),
    "dataset of arrays": Pairs(),
    "stream": Stream(),
    "loader": DataLoader(TensorDataset(INPUTS, LABELS), batch_size=4),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_as_samples_reads(source):
    samples = as_samples(source, name="mine")
    assert torch.equal(samples.inputs, INPUTS)
    assert samples.inputs.dtype == torch.float32
    assert torch.equal(samples.labels, LABELS)
    assert (samples.name, samples.classes, samples.labels.dtype) == ("mine", 3, torch.int64)


def test_as_samples_returns_samples_as_they_are():
    samples = images()
    assert as_samples(samples) is samples


def test_as_samples_takes_the_number_of_classes():
    assert as_samples((INPUTS, LABELS), classes=5).classes == 5


def test_a_shuffling_loader_is_gone_through_once():
    loader = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=2, shuffle=True, generator=generator("shuffle"))
    samples = as_samples(loader)
    passes = [torch.cat([inputs for inputs, _ in samples.batches(4)]) for _ in range(2)]
    assert torch.equal(passes[0], passes[1])
    again = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=2, shuffle=True, generator=generator("shuffle"))
    assert torch.equal(samples.inputs, torch.cat([inputs for inputs, _ in again]))


UNREADABLE = {
    "word": ("digits", "a name, 'digits'\ndo: .*load"),
    "triple": ((INPUTS, LABELS, LABELS), "3 parts where inputs and targets are two"),
    "text labels": ((INPUTS, ["a"] * 6), "found: text\n"),
    "no batches": (DataLoader(TensorDataset(INPUTS, LABELS), batch_size=9, drop_last=True), "no batches"),
    "inputs only": (TensorDataset(INPUTS), "no labels"),
    "float labels": ((INPUTS, LABELS.float()), "labels of type torch.float32"),
    "no labels": ((INPUTS[:0], LABELS[:0]), "no examples"),
}


@pytest.mark.parametrize(("source", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_as_samples_refuses(source, message):
    with pytest.raises(DataError, match=message):
        as_samples(source)


def test_as_samples_checks_samples_too():
    with pytest.raises(DataError, match="only class 1"):
        as_samples(REFUSED["one class"][0])


def test_overlap_is_found_by_content_and_not_by_position():
    samples = images(9)
    check_disjoint(samples.first(5), samples.take(torch.tensor([8, 7])))
    test = samples.take(torch.tensor([8, 3, 5, 0]))
    with pytest.raises(DataError, match="2 of the 4 test examples are also among the 5 fitted on"):
        check_disjoint(samples.first(5), test)


def test_overlap_is_found_under_another_label():
    fit, test = vectors([1, 2]), vectors([3, 1])
    with pytest.raises(DataError, match="1 of the 2"):
        check_disjoint(fit, test)

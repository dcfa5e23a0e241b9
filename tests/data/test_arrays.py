"""Examples held as tensors: the form does not matter, the data are never written to, and the refusals."""

from collections import UserDict

import pytest
import torch

from modelstitch.data import Arrays, Samples, check_arrays
from modelstitch.errors import DataError
from modelstitch.support.tensors import leaves

N = 7
X, IDS = torch.arange(N * 6.0).reshape(N, 2, 3), torch.arange(N * 4).reshape(N, 4)
LABELS, SCORES = torch.arange(N) % 3, torch.linspace(0, 1, N)

FORMS = {
    "tuple": (X, IDS),
    "mapping": {"pixels": X, "ids": IDS},
    "other names": {"a": X, "b": IDS},
    "other mapping": UserDict(pixels=X, ids=IDS),
}
ONE = {"tensor": X, "one-tuple": (X,), "mapping": {"x": X}}
TARGETS = {
    "none": None,
    "labels": LABELS,
    "numbers": SCORES,
    "pixels": torch.zeros(N, 4, 4, dtype=torch.long),
    "tuple": (LABELS, SCORES),
    "mapping": {"class": LABELS, "score": SCORES},
}


def same(a, b):
    return all(torch.equal(one, other) for one, other in zip(leaves(a), leaves(b), strict=True))


@pytest.mark.parametrize("forms", [FORMS, ONE], ids=["two", "one"])
def test_the_same_tensors_in_any_form_are_the_same_examples(forms):
    made = [Arrays("data", form, LABELS) for form in forms.values()]
    assert len({one.fingerprint for one in made}) == 1
    assert len({tuple(one.ids) for one in made}) == 1
    for one in made:
        assert len(one) == N
        for found, wanted in zip(one.batches(3), made[0].batches(3), strict=True):
            assert same(found.inputs, wanted.inputs)
            assert torch.equal(found.targets, wanted.targets)


def test_the_form_is_kept():
    assert isinstance(Arrays("data", ONE["tensor"]).batch(slice(0, 2)).inputs, torch.Tensor)
    assert isinstance(Arrays("data", ONE["one-tuple"]).example, tuple)
    # A mapping that torch does not know (a tokenizer's) becomes one that it does, or its tensors would not be moved.
    for form in ("mapping", "other mapping"):
        example = Arrays("data", FORMS[form]).example
        assert type(example) is dict
        assert list(example) == ["pixels", "ids"]
        assert len(example["ids"]) == 2


def test_one_tensor_with_labels_is_what_samples_are():
    arrays, samples = Arrays("data", X, LABELS), Samples("data", X, LABELS, 3)
    assert arrays.fingerprint == samples.fingerprint
    assert arrays.ids == samples.ids


CHANGES = {
    "input": lambda: Arrays("data", (X + 1, IDS), LABELS),
    "second input": lambda: Arrays("data", (X, IDS + 1), LABELS),
    "order of inputs": lambda: Arrays("data", (IDS, X), LABELS),
    "one input less": lambda: Arrays("data", (X,), LABELS),
    "type": lambda: Arrays("data", (X.double(), IDS), LABELS),
    "target": lambda: Arrays("data", (X, IDS), LABELS.flip(0)),
    "no target": lambda: Arrays("data", (X, IDS)),
    "two targets": lambda: Arrays("data", (X, IDS), (LABELS, SCORES)),
    "mask": lambda: Arrays("data", (X, IDS), LABELS, torch.ones(N, 4, dtype=torch.bool)),
    "order": lambda: Arrays("data", (X, IDS), LABELS).take(torch.arange(N).flip(0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_changes_with_anything_that_matters(change):
    assert change().fingerprint != Arrays("data", (X, IDS), LABELS).fingerprint
    assert Arrays("other", (X, IDS), LABELS).fingerprint == Arrays("data", (X, IDS), LABELS).fingerprint


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_targets_of_any_form_stay_with_their_inputs(targets):
    data = Arrays("data", (X, IDS), targets)
    picked = data.take(torch.tensor([4, 1])).batch(slice(0, 2))
    assert torch.equal(picked.inputs[1], IDS[[4, 1]])
    for found, whole in zip(leaves_of(picked.targets), leaves_of(targets), strict=True):
        assert torch.equal(found, whole[[4, 1]])
    assert len(list(data.batches(3))) == 3
    assert len(data.first(2)) == 2


def leaves_of(targets):
    return [] if targets is None else leaves(targets)


def test_a_slice_is_a_view_and_a_batch_is_not():
    data = Arrays("data", (X, IDS), LABELS)
    part = data.first(3)
    assert part.inputs[0].data_ptr() == X.data_ptr()
    assert part.targets.data_ptr() == LABELS.data_ptr()
    batch = data.batch(slice(0, 3))
    assert batch.inputs[0].data_ptr() != X.data_ptr()
    assert batch.targets.data_ptr() != LABELS.data_ptr()


@pytest.mark.parametrize("index", [slice(0, 3), torch.tensor([0, 1])])
@pytest.mark.parametrize("made", [lambda x, y: Arrays("data", (x,), y), lambda x, y: Samples("data", x, y, 3)])
def test_what_is_written_into_a_batch_does_not_change_the_data(made, index):
    inputs, labels = X.clone(), LABELS.clone()
    batch = made(inputs, labels).batch(index)
    leaves(batch.inputs)[0].fill_(-1)
    batch.targets.fill_(-1)
    assert torch.equal(inputs, X)
    assert torch.equal(labels, LABELS)


def test_sizes_and_bytes():
    data = Arrays("data", (X, IDS))
    assert data.sizes.tolist() == [10] * N
    assert data.nbytes == X.nbytes + IDS.nbytes
    assert (data.longest, data.ragged, data.order().tolist()) == (4, False, list(range(N)))


def test_what_examples_hold_can_be_stored_elsewhere():
    data = Arrays("data", {"x": X, "ids": IDS}, (IDS, X), IDS > 0)
    there = data.on("meta")
    held = [*there.inputs.values(), *there.targets, there.mask]
    assert {str(one.device) for one in held} == {"meta"}
    assert (len(there), there.name, str(data.mask.device)) == (N, "data", "cpu")
    assert data.on("cpu").fingerprint == data.fingerprint


def padded(width):
    """Three documents padded to a width, as a tokenizer gives them."""
    ids, real = torch.full((3, width), 9), torch.zeros(3, width, dtype=torch.long)
    for row, length in enumerate((3, 1, 2)):
        ids[row, :length], real[row, :length] = torch.arange(length), 1
    return Arrays("text", {"input_ids": ids, "attention_mask": real}, mask=real.bool())


def test_ids_leave_padding_out():
    narrow, wide = padded(3), padded(8)
    assert narrow.ids == wide.ids
    assert len(set(narrow.ids)) == 3
    assert wide.batch(slice(0, 2)).mask.sum().item() == 4
    assert wide.take(slice(1, 3)).ids == wide.ids[1:]


NAN = X.clone()
NAN[2, 0, 0] = float("nan")
REFUSED = {
    "no examples": (Arrays("data", X[:0]), "use the 0 examples of 'data'\nfound: no examples"),
    "no inputs": (Arrays("data", ()), "found: no inputs\ndo: .*a mapping of tensors"),
    "rows of inputs": (Arrays("data", {"x": X, "y": IDS[:5]}), "5 rows of inputs 'y' for 7 of inputs 'x'"),
    "rows of a tuple": (Arrays("data", (X, IDS[:5])), "5 rows of inputs 1 for 7 of inputs 0"),
    "rows of targets": (Arrays("data", X, LABELS[:5]), "5 rows of targets for 7 of inputs"),
    "rows of the mask": (Arrays("data", IDS, None, IDS[:5] > 0), "5 rows of mask for 7 of inputs"),
    "a number": (Arrays("data", X, torch.tensor(1.0)), "a single number as targets\n"),
    "not finite": (Arrays("data", (IDS, NAN)), "1 inputs with a value that is not finite, the first at index 2"),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_check_refuses(arrays, message):
    with pytest.raises(DataError, match=message):
        check_arrays(arrays)


def test_check_returns_sound_arrays():
    data = Arrays("data", FORMS["mapping"], TARGETS["mapping"])
    assert check_arrays(data) is data

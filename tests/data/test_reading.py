"""Whatever a user calls data: every form, read once, in order, and left as it was."""

import copy
from collections import UserDict

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, StackDataset, TensorDataset

from modelstitch.data import Arrays, Samples, Tokens, as_examples, digits
from modelstitch.errors import DataError
from modelstitch.tensors import leaves

N = 300
X = torch.arange(N * 6.0).reshape(N, 2, 3)
Z = torch.arange(N * 4.0).reshape(N, 4)
LABELS, SCORES = torch.arange(N) % 3, torch.linspace(-1, 1, N)


class Map(Dataset):
    def __init__(self, get, n=N):
        self.get, self.n = get, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.get(index)


class Stream(IterableDataset):
    def __init__(self, get, n=N):
        self.get, self.n = get, n

    def __iter__(self):
        return map(self.get, range(self.n))


def loader(get, n=N, size=7, **options):
    return DataLoader(Map(get, n), batch_size=size, **options)


SAMPLES = {
    "tensors": (X, LABELS),
    "list pair": [X, LABELS],
    "arrays": (X.double().numpy(), LABELS.numpy().astype(np.uint8)),
    "lists": (X.tolist(), LABELS.tolist()),
    "lists in a list": [X.tolist(), LABELS.tolist()],
    "list of tensors": (list(X), list(LABELS)),
    "gradient": (X.clone().requires_grad_(), LABELS),
    "tensor dataset": TensorDataset(X, LABELS),
    "dataset of arrays": Map(lambda i: (X[i].double().numpy(), int(LABELS[i]))),
    "dataset of lists": Map(lambda i: (X[i].tolist(), int(LABELS[i]))),
    "stream": Stream(lambda i: (X[i], LABELS[i])),
    "loader": DataLoader(TensorDataset(X, LABELS), batch_size=4),
    "loader of numbers": loader(lambda i: (X[i], int(LABELS[i]))),
    "iterator's loader": DataLoader(Stream(lambda i: (X[i], int(LABELS[i]))), batch_size=7),
}


@pytest.mark.parametrize("source", SAMPLES.values(), ids=SAMPLES)
def test_one_tensor_with_labels_is_samples(source):
    data = as_examples(source, name="mine")
    assert type(data) is Samples
    assert torch.equal(data.inputs, X)
    assert data.inputs.dtype == torch.float32
    assert not data.inputs.requires_grad
    assert torch.equal(data.labels, LABELS)
    assert (data.name, data.classes, data.labels.dtype) == ("mine", 3, torch.int64)


def test_frames():
    table = pd.DataFrame(Z.double().numpy(), columns=list("abcd"))
    data = as_examples((table, pd.Series(LABELS.numpy(), name="kind")))
    assert type(data) is Samples
    assert torch.equal(data.inputs, Z)
    assert torch.equal(as_examples(table).inputs, Z)
    both = as_examples((table, pd.DataFrame({"u": SCORES.numpy(), "v": SCORES.numpy()})))
    assert both.targets.shape == (N, 2)


def test_classes_may_be_more_than_there_are_labels():
    assert as_examples((X, LABELS), classes=9).classes == 9


INPUTS = {
    "tensor": (X, X),
    "array": (X.numpy(), X),
    "list of rows": (X.tolist(), X),
    "one-tuple": ((X,), (X,)),
    "mapping": ({"x": X, "z": Z}, {"x": X, "z": Z}),
    "tokenizer's mapping": (UserDict(x=X, z=Z), {"x": X, "z": Z}),
    "dataset": (TensorDataset(X), X),
    "dataset of tensors": (Map(lambda i: X[i]), X),
    "dataset of mappings": (StackDataset(x=X, z=Z), {"x": X, "z": Z}),
    "loader": (DataLoader(Map(lambda i: X[i]), batch_size=7), X),
    "none": ((X, None), X),
    "tuple and none": (((X, Z), None), (X, Z)),
}


def check(data, inputs, targets):
    for found, wanted in ((data.inputs, inputs), (data.targets, targets)):
        assert type(found) is type(wanted)
        if wanted is not None:
            for a, b in zip(leaves(found), leaves(wanted), strict=True):
                assert a.dtype == b.dtype
                assert torch.equal(a, b)
        if isinstance(wanted, dict):
            assert list(found) == list(wanted)


@pytest.mark.parametrize(("source", "inputs"), INPUTS.values(), ids=INPUTS)
def test_inputs_alone(source, inputs):
    data = as_examples(source, name="mine")
    assert (type(data), data.name) == (Arrays, "mine")
    check(data, inputs, None)


TARGETS = {
    "numbers": ((X, SCORES), X, SCORES),
    "array of float64": ((X, SCORES.double().numpy()), X, SCORES),
    "python numbers": (loader(lambda i: (X[i], float(SCORES[i]))), X, SCORES.double()),
    "several labels": ((X, Z > 2), X, Z > 2),
    "pixels": ((X, X[:, 0].to(torch.uint8)), X, X[:, 0].to(torch.uint8).long()),
    "below zero": ((X, LABELS - 1), X, LABELS - 1),
    "two targets": ((X, (LABELS, SCORES)), X, (LABELS, SCORES)),
    "named targets": ((X, {"a": LABELS, "b": SCORES}), X, {"a": LABELS, "b": SCORES}),
    "two inputs": (((X, Z), LABELS), (X, Z), LABELS),
    "one-tuple": (((X,), LABELS), (X,), LABELS),
    "named inputs": (({"x": X, "z": Z}, LABELS), {"x": X, "z": Z}, LABELS),
    "labels in the mapping": ({"x": X, "labels": LABELS, "z": Z}, {"x": X, "z": Z}, LABELS),
    "loader of two inputs": (loader(lambda i: ((X[i], Z[i]), LABELS[i])), (X, Z), LABELS),
    "dataset of two inputs": (Map(lambda i: ((X[i], Z[i]), LABELS[i])), (X, Z), LABELS),
    "loader of mappings": (loader(lambda i: {"x": X[i], "label": LABELS[i], "z": Z[i]}), {"x": X, "z": Z}, LABELS),
    "dataset of mappings": (Map(lambda i: {"x": X[i], "label_ids": int(LABELS[i])}), {"x": X}, LABELS),
    "text left out": (loader(lambda i: {"x": X[i], "text": "a", "label": LABELS[i]}), {"x": X}, LABELS),
    "mapping in a pair": (loader(lambda i: ({"x": X[i], "z": Z[i]}, SCORES[i])), {"x": X, "z": Z}, SCORES),
    "named targets of a loader": (loader(lambda i: (X[i], {"a": SCORES[i]})), X, {"a": SCORES}),
}


@pytest.mark.parametrize(("source", "inputs", "targets"), TARGETS.values(), ids=TARGETS)
def test_all_else_is_arrays(source, inputs, targets):
    data = as_examples(source)
    assert type(data) is Arrays
    check(data, inputs, targets)
    assert all(leaf.dtype != torch.int32 for leaf in leaves(data.inputs))


def test_the_form_of_the_inputs_changes_nothing_else():
    forms = [(X, SCORES), ((X,), SCORES), ({"pixel_values": X}, SCORES), {"x": X, "labels": SCORES}]
    sources = [*forms, *(loader(lambda i, f=f: (each_row(f[0], i), SCORES[i])) for f in forms[:3])]
    made = [as_examples(source) for source in sources]
    assert len({one.fingerprint for one in made}) == 1
    assert len({tuple(one.ids) for one in made}) == 1
    assert as_examples((X, LABELS)).fingerprint == as_examples(((X,), LABELS)).fingerprint


def each_row(inputs, at):
    if isinstance(inputs, dict):
        return {key: value[at] for key, value in inputs.items()}
    return tuple(one[at] for one in inputs) if isinstance(inputs, tuple) else inputs[at]


DOCUMENTS = [list(range(1, 2 + (3 * at) % 7)) for at in range(20)]
KINDS = torch.arange(20) % 2


def tokenised(at, **more):
    return {"input_ids": torch.tensor(DOCUMENTS[at]), "attention_mask": torch.ones(len(DOCUMENTS[at])).long(), **more}


def padding(pad=0, side="right", labels=None):
    """A collator as of Hugging Face: pads a batch to its longest."""

    def collate(items):
        ids = [item["input_ids"] for item in items]
        names = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0}
        batch = {
            name: pad_sequence([item[name] for item in items], True, value, padding_side=side)
            for name, value in names.items()
            if name in items[0]
        }
        if labels == "tokens":
            batch["labels"] = pad_sequence(ids, True, -100, padding_side=side)
        elif "label" in items[0]:
            batch["labels"] = torch.stack([item["label"] for item in items])
        return batch

    return collate


def texts(get=tokenised, size=6, **options):
    return DataLoader(Map(get, 20), batch_size=size, collate_fn=padding(**options))


def documents_of(data):
    return [one.tolist() for one in data.documents]


RAGGED = {
    "lists": DOCUMENTS,
    "tensors": [torch.tensor(one) for one in DOCUMENTS],
    "arrays": [np.array(one, dtype=np.int32) for one in DOCUMENTS],
    "pair": (DOCUMENTS, KINDS),
    "mapping": {"input_ids": DOCUMENTS, "label": KINDS.tolist()},
    "masked mapping": {"input_ids": DOCUMENTS, "attention_mask": [[1] * len(one) for one in DOCUMENTS]},
    "dataset of lists": Map(lambda i: (DOCUMENTS[i], int(KINDS[i])), 20),
    "dataset of tensors": Map(lambda i: torch.tensor(DOCUMENTS[i]), 20),
    "dataset of mappings": Map(lambda i: {"input_ids": DOCUMENTS[i], "label": int(KINDS[i])}, 20),
    "loader": texts(),
    "loader padding left": texts(side="left"),
    "one at a time": DataLoader(Map(lambda i: (torch.tensor(DOCUMENTS[i]), KINDS[i]), 20), batch_size=1),
    "list of tensors": DataLoader(
        Map(lambda i: (torch.tensor(DOCUMENTS[i]), KINDS[i]), 20),
        batch_size=6,
        collate_fn=lambda items: ([ids for ids, _ in items], torch.stack([kind for _, kind in items])),
    ),
}


@pytest.mark.parametrize("source", RAGGED.values(), ids=RAGGED)
def test_documents_of_different_lengths_are_tokens(source):
    data = as_examples(source, name="text")
    assert (type(data), data.name, data.ragged) == (Tokens, "text", True)
    assert documents_of(data) == DOCUMENTS
    assert data.targets is None or torch.equal(data.targets, KINDS)


def test_documents_in_lists_where_those_of_a_batch_are_of_one_length():
    batches = [([torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])], KINDS[:2]), ([torch.tensor([7])], KINDS[2:3])]
    assert documents_of(as_examples(loader(lambda i: batches[i], 2, None))) == [[1, 2, 3], [4, 5, 6], [7]]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_two_numbers_an_example_are_two_inputs_whatever_the_batch(size):
    data = as_examples(loader(lambda i: ((KINDS[i], LABELS[i]), SCORES[i]), 20, size))
    check(data, (KINDS, LABELS[:20]), SCORES[:20])
    named = as_examples(loader(lambda i: ((KINDS[i], LABELS[i]), {"a": SCORES[i], "b": SCORES[i]}), 20, size))
    check(named, (KINDS, LABELS[:20]), {"a": SCORES[:20], "b": SCORES[:20]})


def test_how_a_loader_pads_does_not_matter():
    made = [as_examples(texts(size=size, pad=pad, side=side)) for size, pad, side in ((6, 0, "right"), (3, 9, "left"))]
    assert made[0].ids == made[1].ids
    assert made[0].fingerprint == made[1].fingerprint
    # What padded is kept: some networks find the positions of tokens by it.
    assert [one.pad for one in made] == [0, 9]
    assert [one.masked for one in made] == [True, True]


def test_further_integers_a_token_stay_with_it():
    def get(at):
        return tokenised(at, token_type_ids=torch.tensor(DOCUMENTS[at]) % 2, label=KINDS[at])

    data = as_examples(texts(get))
    assert [one.tolist() for one in data.beside["token_type_ids"]] == [[i % 2 for i in one] for one in DOCUMENTS]
    assert torch.equal(data.targets, KINDS)


def test_labels_that_are_the_tokens_are_the_next_token():
    data = as_examples(texts(labels="tokens"))
    assert (data.next_token, data.targets) == (True, None)
    other = {"input_ids": DOCUMENTS, "labels": [[-100, *one[1:]] for one in DOCUMENTS]}
    assert as_examples(other).targets[3].tolist() == [-100, *DOCUMENTS[3][1:]]


def test_tokens_of_one_length_are_arrays_with_a_mask():
    ids = torch.tensor([[1, 2, 0], [3, 0, 0]])
    data = as_examples({"input_ids": ids, "attention_mask": (ids > 0).long()})
    assert type(data) is Arrays
    assert torch.equal(data.mask, ids > 0)
    assert as_examples({"input_ids": ids, "attention_mask": torch.ones(2, 3)}).mask is None


class HuggingFace:
    """What the library `datasets` gives: columns, ragged ones as lists of tensors."""

    features = ("text", "input_ids", "attention_mask", "label")

    def with_format(self, kind):
        assert kind == "torch"
        return self

    def __len__(self):
        return 20

    def __getitem__(self, index):
        ids = [torch.tensor(one) for one in DOCUMENTS[index]]
        mask = [torch.ones_like(one) for one in ids]
        return {"text": ["a"] * len(ids), "input_ids": ids, "attention_mask": mask, "label": KINDS[index]}


class HuggingFaceStream:
    features = None

    def with_format(self, kind):
        return self

    def __iter__(self):
        return (tokenised(at, label=KINDS[at], text="a") for at in range(20))


@pytest.mark.parametrize("source", [HuggingFace(), HuggingFaceStream()])
def test_data_sets_of_hugging_face(source):
    data = as_examples(source)
    assert type(data) is Tokens
    assert documents_of(data) == DOCUMENTS
    assert torch.equal(data.targets, KINDS)


def test_a_shuffling_loader_is_gone_through_once():
    data = as_examples(loader(lambda i: ({"x": X[i]}, SCORES[i]), shuffle=True))
    assert torch.equal(next(data.batches(N)).inputs["x"], next(data.batches(N)).inputs["x"])
    assert not torch.equal(data.inputs["x"], X)


EXAMPLES = [digits().test, Arrays("data", (X, Z)), Tokens("text", DOCUMENTS)]


@pytest.mark.parametrize("targets", [True, False])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_examples_are_returned_as_they_are(examples, targets):
    assert as_examples(examples, targets=targets) is examples


UNLABELLED = {
    "one class": (X, torch.zeros(N, dtype=torch.long)),
    "below zero": (X, LABELS - 2),
    "numbers": (X, SCORES),
    "text": (X, ["a"] * N),
    "fewer": (X, LABELS[:3]),
    "none": X,
    "mapping": {"x": X, "label": ["a"] * N},
    "loader": DataLoader(TensorDataset(X, LABELS * 0), batch_size=7),
}


@pytest.mark.parametrize("source", UNLABELLED.values(), ids=UNLABELLED)
def test_where_no_targets_are_read_any_are_welcome(source):
    data = as_examples(source, targets=False)
    assert type(data) is Arrays
    assert data.targets is None
    assert torch.equal(leaves(data.inputs)[0], X)


def test_samples_of_one_class_will_do_where_no_targets_are_read():
    one = Samples("one", X, LABELS * 0, 1)
    assert as_examples(one, targets=False) is one
    with pytest.raises(DataError, match="only class 0"):
        as_examples(one)


OF_THE_USER = {
    "tensors": (X, SCORES),
    "mapping": {"x": X, "labels": LABELS},
    "arrays": (X.numpy(), SCORES.numpy()),
    "documents": ([torch.tensor(one) for one in DOCUMENTS], KINDS),
    "lists": [list(one) for one in DOCUMENTS],
}


@pytest.mark.parametrize("source", OF_THE_USER.values(), ids=OF_THE_USER)
def test_the_users_data_are_left_as_they_were(source):
    before = copy.deepcopy(source)
    data = as_examples(source)
    for batch in data.batches(8):
        for leaf in (*leaves(batch.inputs), *([] if batch.targets is None else leaves(batch.targets))):
            leaf.fill_(0)
    assert as_examples(source).fingerprint == as_examples(before).fingerprint
    assert data.fingerprint == as_examples(before).fingerprint
    assert not isinstance(source, dict) or list(source) == list(before)


def test_tensors_made_in_inference_mode_become_plain_ones():
    with torch.inference_mode():
        made = (X + 1, SCORES + 1)
        within = as_examples(made)
    for data in (within, as_examples(made)):
        assert not data.inputs.is_inference()
        assert not data.targets.is_inference()
    assert not as_examples((made[0], LABELS)).inputs.is_inference()


PADDED = [torch.tensor([[1, 2, 0], [3, 0, 0]]), torch.tensor([[1, 2], [3, 0]])]
HOLES = [torch.tensor([[1, 1, 0], [1, 0, 1]]), torch.tensor([[1, 1], [1, 1]])]
REFUSED = {
    "name": ("digits", r"a name, 'digits'\ndo: .*load\('digits'\)"),
    "number": (3, "a int, which holds no examples"),
    "split": (digits(), r"a train set and a test set\ndo: .*split\.train"),
    "splits": (
        {"train": TensorDataset(X), "test": TensorDataset(X)},
        r"sets: 'train', 'test'\ndo: .*data\['train'",
    ),
    "triple": ((X, Z, LABELS), r"3 parts where inputs and targets are two\ndo: .*\(\(x, y\), targets\)"),
    "triples": (TensorDataset(X, Z, LABELS), "3 parts where"),
    "texts": ((["a"] * N, LABELS), r"found: text\ndo: .*tokenizer"),
    "text labels": ((X, ["a"] * N), "found: text"),
    "objects": ((X, [object()] * N), "objects of type object"),
    "no batches": (DataLoader(TensorDataset(X, LABELS), batch_size=999, drop_last=True), "no batches"),
    "nothing": ((X[:0], LABELS[:0]), "no examples"),
    "no documents": ([], "no examples"),
    "rows": ((X, SCORES[:5]), "5 rows of targets for 300 of inputs"),
    "labels": ((X, LABELS[:5]), "5 labels for 300 inputs"),
    "shapes": (
        Map(lambda i: (torch.zeros(3, 4 + i % 2, 4), 0)),
        r"shapes, such as \(3, 4, 4\) and \(3, 5, 4\)",
    ),
    "shapes of batches": (loader(lambda i: (torch.zeros(3, 4 + i), 0), 3, 1), r"such as \(3, 4\) and \(3, 6\)"),
    "lengths of sounds": (loader(lambda i: (torch.zeros(4 + i), 0), 3, 1), r"such as \(4,\) and \(6,\)"),
    "no mask": (loader(lambda i: PADDED[i], 2, None), "padded to different lengths.*and no attention_mask"),
    "holes": (
        loader(lambda i: {"input_ids": PADDED[i], "attention_mask": HOLES[i]}, 2, None),
        "attention_mask with 2 runs of ones",
    ),
    "tokens beside others": (Map(lambda i: ((DOCUMENTS[i], X[i]), 0), 20), "tokens of different lengths beside other"),
    "tokens beside others by name": (
        Map(lambda i: {"input_ids": DOCUMENTS[i], "pixel_values": X[i]}, 20),
        "tokens of different lengths beside 'pixel_values'\ndo: +pad",
    ),
    "other names": ({"tokens": DOCUMENTS}, "no 'input_ids' of different lengths"),
    "mask of zeros": (
        {"input_ids": [[1, 2], [3]], "attention_mask": [[1, 0], [1]]},
        "an attention_mask with zeros among documents",
    ),
    "targets of different lengths": ((X[:2], [[1], [1, 2]]), "targets of different lengths"),
    "nested": ({"x": {"y": X}, "labels": LABELS}, r"inputs within inputs\ndo: +give a tensor, a tuple"),
}


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        as_examples(source)


def test_batches_of_different_forms_are_refused():
    batches = [{"x": X[:2]}, {"z": X[:2]}]
    with pytest.raises(DataError, match="batches of different forms"):
        as_examples(loader(lambda i: batches[i], 2, None))

"""Documents of tokens: padding is no part of them, whatever the batch."""

import pytest
import torch

from modelstitch.data import Arrays, Tokens, check_disjoint
from modelstitch.errors import DataError, SettingError

DOCUMENTS = [[5, 6, 7, 8], [9], [3, 4], [2, 1, 2], [7, 7]]
LABELS = torch.tensor([0, 1, 1, 0, 1])


def text(**changes):
    return Tokens(**{"name": "text", "documents": DOCUMENTS, "targets": LABELS, **changes})


def unpadded(batch):
    ids = batch.inputs["input_ids"] if isinstance(batch.inputs, dict) else batch.inputs
    real = batch.mask if batch.mask is not None else torch.ones_like(ids, dtype=torch.bool)
    return [row[kept].tolist() for row, kept in zip(ids, real, strict=True)]


def test_a_batch_is_padded_to_the_longest_in_it():
    batch = text(pad=99).batch(torch.tensor([3, 1]))
    assert batch.inputs.tolist() == [[2, 1, 2], [9, 99, 99]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.targets.tolist() == [0, 1]
    assert batch.inputs.dtype == torch.int64


def test_a_batch_of_one_length_has_no_mask():
    assert text().batch(torch.tensor([2, 4])).mask is None


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_hold_every_document_and_nothing_else(size, masked):
    data = text(masked=masked)
    assert [one for batch in data.batches(size) for one in unpadded(batch)] == DOCUMENTS
    order = data.order()
    assert [one for batch in data.batches(size, order) for one in unpadded(batch)] == [DOCUMENTS[at] for at in order]


def test_the_order_is_by_length_and_stable():
    assert text().order().tolist() == [1, 2, 4, 3, 0]
    widths = [batch.inputs.shape[1] for batch in text().batches(2, text().order())]
    assert widths == [2, 3, 4]


def test_masked_inputs_are_those_of_hugging_face():
    batch = text(masked=True, beside={"token_type_ids": [[1] * len(one) for one in DOCUMENTS]}).batch(slice(0, 2))
    assert list(batch.inputs) == ["input_ids", "token_type_ids", "attention_mask"]
    assert batch.inputs["token_type_ids"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch.inputs["attention_mask"].dtype == torch.int64


def test_the_next_token_is_the_token_itself_and_padding_is_none():
    batch = text(targets=None, next_token=True).batch(slice(0, 2))
    assert batch.targets.tolist() == [[5, 6, 7, 8], [9, -100, -100, -100]]


def test_targets_may_be_one_a_token():
    targets = [[1] * len(one) for one in DOCUMENTS]
    data = text(targets=targets)
    assert data.batch(torch.tensor([1, 2])).targets.tolist() == [[1, -100], [1, 1]]
    assert data.take(torch.tensor([1])).batch(slice(0, 1)).targets.tolist() == [[1]]


def test_plain_lists_of_labels_and_other_forms():
    assert torch.equal(text(targets=LABELS.tolist()).targets, LABELS)
    both = text(targets={"class": LABELS, "score": LABELS.float()}).batch(torch.tensor([1]))
    assert both.targets["score"].tolist() == [1.0]


def test_longest_ragged_and_sizes():
    data = text()
    assert (data.longest, data.ragged, len(data)) == (4, True, 5)
    assert data.sizes.tolist() == [4, 1, 2, 3, 2]
    assert data.nbytes == 12 * 8
    assert not data.take(torch.tensor([2, 4])).ragged


def test_the_first_tokens_alone():
    data = text(most=2, targets=[[1] * len(one) for one in DOCUMENTS])
    assert [one.tolist() for one in data.documents] == [[5, 6], [9], [3, 4], [2, 1], [7, 7]]
    assert data.longest == 2
    assert [len(one) for one in data.targets] == [2, 1, 2, 2, 2]


def test_the_example_shows_padding_where_there_is_some():
    assert text(pad=99).example.tolist() == [[5, 6, 7, 8], [9, 99, 99, 99]]
    later = Tokens("text", [[1, 2], [3, 4], [5, 6, 7]])
    assert later.example.tolist() == [[1, 2, 0], [5, 6, 7]]
    assert Tokens("text", [[1, 2], [3, 4]]).example.tolist() == [[1, 2], [3, 4]]


def test_ids_are_of_the_tokens_alone():
    plain = text().ids
    assert len(set(plain)) == 5
    assert plain == text(pad=9, masked=True, targets=None, next_token=True).ids
    assert plain[1:3] == text().take(slice(1, 3)).ids
    # The same documents padded by the user's own code are the same examples.
    real = torch.arange(4) < torch.tensor([len(one) for one in DOCUMENTS])[:, None]
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in DOCUMENTS], batch_first=True)
    assert plain == Arrays("text", {"input_ids": padded, "attention_mask": real.long()}, mask=real).ids
    assert text(documents=[[1, 2]], targets=None).ids == Arrays("text", torch.tensor([[1, 2]])).ids
    with pytest.raises(DataError, match="1 of the 1 test examples are also among the 5"):
        check_disjoint(text(), Tokens("test", [[9]]))


CHANGES = {
    "token": {"documents": [[5, 6, 7, 9], *DOCUMENTS[1:]]},
    "where one ends": {"documents": [[5, 6, 7], [8, 9], *DOCUMENTS[2:]]},
    "order": {"documents": DOCUMENTS[::-1]},
    "target": {"targets": LABELS.flip(0)},
    "no target": {"targets": None},
    "next token": {"targets": None, "next_token": True},
    "pad": {"pad": 1},
    "mask": {"masked": True},
    "cut": {"most": 3},
    "beside": {"masked": True, "beside": {"token_type_ids": DOCUMENTS}},
}


def test_fingerprint_changes_with_anything_that_matters():
    found = [text(**change).fingerprint for change in CHANGES.values()]
    assert len({text().fingerprint, *found}) == 1 + len(CHANGES)
    assert text(name="other").fingerprint == text().fingerprint


def test_fingerprint_knows_no_padding_that_no_network_sees():
    assert text(masked=True, pad=3).fingerprint == text(masked=True).fingerprint
    even = {"documents": [[1, 2], [3, 4]], "targets": None}
    assert text(**even, pad=3).fingerprint == text(**even).fingerprint


def test_the_users_lists_and_tensors_stay_as_they_are():
    lists, tensors = [list(one) for one in DOCUMENTS], [torch.tensor(one) for one in DOCUMENTS]
    for given in (lists, tensors):
        data = Tokens("text", given, next_token=True)
        for index in (slice(0, 1), slice(0, 5), torch.tensor([1])):
            batch = data.batch(index)
            batch.inputs.fill_(-7)
            batch.targets.fill_(-7)
        assert [list(map(int, one)) for one in given] == DOCUMENTS


REFUSED = {
    "none": ({"documents": [], "targets": None}, "found: no documents"),
    "empty": ({"documents": [[1], []], "targets": None}, r"tokens of document 1 of shape \(0,\)"),
    "numbers": ({"documents": [[1.5]], "targets": None}, "tokens of document 0 of type torch.float32"),
    "truths": ({"documents": [[True]], "targets": None}, "tokens of document 0 of type torch.bool"),
    "text": ({"documents": [["a"]], "targets": None}, "tokens of document 0: .*\ndo: .*a list of integers"),
    "deep": ({"documents": [[[1]]], "targets": None}, r"tokens of document 0 of shape \(1, 1\)"),
    "labels": ({"targets": LABELS[:3]}, r"targets of shape \(3,\) for 5 documents"),
    "no tensor": ({"targets": {"a": "b"}}, "targets a str for 5 documents"),
    "targets of a token": ({"targets": [[1], [1], [1], [1], [1]]}, "1 targets for the 4 tokens of document 0"),
    "targets of fewer": ({"targets": [[1] * 4]}, "targets of 1 documents for 5"),
    "beside": ({"masked": True, "beside": {"x": [[1]]}}, "x of 1 documents for 5"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        text(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"next_token": True}, "targets, and next_token=True"),
        ({"most": 0}, "most=0 tokens"),
        ({"beside": {"x": DOCUMENTS}}, "x beside the tokens, and inputs of one tensor\ndo: .*masked=True"),
    ],
)
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(SettingError, match=message):
        text(**changes)

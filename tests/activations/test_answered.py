"""A network's own answers as targets, where examples are of several lengths."""

import sys

import pytest
import torch
from torch import nn

import modelstitch as ms
from modelstitch.errors import DataError
from modelstitch.penalty.evaluate import BATCH

RANDOM = torch.Generator().manual_seed(0)
DOCUMENTS = [torch.randint(1, 11, (3 + place % 5,), generator=RANDOM) for place in range(60)]


class Reader(nn.Module):
    """Scores for each token, or for the mean over those that are no padding."""

    def __init__(self, seed, pooled):
        super().__init__()
        torch.manual_seed(seed)
        self.pooled = pooled
        self.embed, self.block, self.head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, input_ids, attention_mask):
        h = torch.tanh(self.block(self.embed(input_ids)))
        if self.pooled:
            real = attention_mask[..., None].to(h)
            h = (h * real).sum(1) / real.sum(1)
        return self.head(h)


def stitched(pooled):
    texts = [*{tuple(one.tolist()) for one in DOCUMENTS}]
    train, test = (ms.Tokens("texts", some, masked=True) for some in (sorted(texts)[::2], sorted(texts)[1::2]))
    task = ms.Imitation() if pooled else ms.Imitation(by="squared")
    return ms.stitch_all(Reader(0, pooled), Reader(1, pooled), train, test, task=task, by=ms.Direct())


def test_texts_of_several_lengths_need_no_labels_where_each_has_one_answer():
    records = stitched(pooled=True)
    assert all(record.status == "ok" for record in records)
    own = [row for record in records.only(control="self") for row in record.scores]
    assert {row.score for row in own} == {"error", "loss"}
    assert all((row.penalty, row.low, row.high) == (0.0, 0.0, 0.0) for row in own)
    assert any(record.penalty > 0 for record in records.only(control=""))


def test_an_answer_for_each_token_is_refused():
    with pytest.raises(DataError, match=r"whose answers are padded otherwise in each batch\ndo: +give examples of one"):
        stitched(pooled=False)


def test_answers_are_found_in_the_batches_in_which_they_are_judged():
    assert sys.modules["modelstitch.activations.answered"].__dict__["_BATCH"] == BATCH

"""Next tokens against a loop over positions and scikit-learn; padding; what is refused."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from task_laws import drawn, next_token, normal

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.tasks import NextToken, joined_outcome
from modelstitch.tasks import next_token as room


def by_position(case):
    """The rows of logits that predict a token, and those tokens, one text and one position at a time."""
    rows, tokens = [], []
    for text, targets in enumerate(case.batch.targets.tolist()):
        for t in range(len(targets) - 1):
            if targets[t + 1] != -100:
                rows.append(case.outputs[text, t].numpy())
                tokens.append(targets[t + 1])
    return np.stack(rows), np.array(tokens)


def test_scores_are_those_of_scikit_learn():
    case = next_token()
    found = case.judged()
    z, tokens = by_position(case)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    nats = log_loss(tokens, p, labels=range(7))
    values = [score.value(found.sums[score.name]) for score in case.task.scores]
    expected = [nats, math.exp(nats), 100 * (1 - accuracy_score(tokens, z.argmax(1)))]
    assert values == pytest.approx(expected, rel=1e-12)
    assert int(case.task.weights(case.batch).sum()) == len(tokens)
    assert found.answers is None


def test_a_text_without_a_predicted_token_adds_nothing():
    case = next_token()
    empty = case.task.weights(case.batch) == 0
    assert 0 < int(empty.sum()) < len(empty)
    for rows in case.judged().sums.values():
        assert (rows[empty] == 0).all()
    assert (case.task.losses(case.outputs, case.batch)[empty] == 0).all()


def test_a_batch_without_a_predicted_token_has_a_loss_of_0_and_no_gradient():
    outputs = normal(2, 3, 5).requires_grad_()
    batch = Batch(torch.zeros(2, 3).long(), torch.full((2, 3), -100))
    NextToken().check(outputs, batch)
    loss = NextToken().loss(outputs, batch)
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, outputs)[0] == 0).all()


@pytest.mark.parametrize("targets", [torch.full((2, 3), -100), torch.zeros(2, 1).long()])
def test_texts_without_any_predicted_token_have_no_score(targets):
    task, batch = NextToken(), Batch(torch.zeros_like(targets), targets)
    found = task.judge(normal(*targets.shape, 5), batch)
    with pytest.raises(
        NumericalFailure, match=r"asked: the test (nats per token|error)\nfound: examples whose weights add up to"
    ):
        task.score("nats").value(found.sums["nats"])
    with pytest.raises(
        NumericalFailure, match=r"(per token|error)\nfound: examples whose weights add up to 0\ndo:    judge"
    ):
        task.score("error").difference(found.sums["error"], found.sums["error"])
    with pytest.raises(NumericalFailure, match=r"found: no predicted token\ndo:    judge texts of at least two tokens"):
        task.score("perplexity").value(found.sums["perplexity"])


def test_a_perplexity_that_overflows_is_none():
    outputs = torch.tensor([[[2000.0, 0.0], [0.0, 0.0]]])
    found = NextToken().judge(outputs, Batch(torch.ones(1, 2).long(), torch.ones(1, 2).long()))
    with pytest.raises(NumericalFailure, match="found: 2000 nats a token, whose exponential overflows"):
        NextToken().score("perplexity").value(found.sums["perplexity"])


# Without a mask, what stands before the first token that is judged may be a question and not padding.
@pytest.mark.parametrize(("side", "fill"), [("right", "ignored"), ("right", "masked"), ("left", "masked")])
def test_padding_has_no_influence(side, fill):
    tokens, outputs = drawn(7, 3, 4), normal(3, 4, 7)
    plain, task = Batch(tokens, tokens), NextToken()
    pads = (2, 0) if side == "left" else (0, 2)
    wide = torch.nn.functional.pad(outputs, (0, 0, *pads), value=float("nan")).requires_grad_()
    mask = torch.nn.functional.pad(torch.ones(3, 4).bool(), pads)
    padded = Batch(
        inputs=torch.nn.functional.pad(tokens, pads),
        targets=torch.nn.functional.pad(tokens, pads, value=-100 if fill == "ignored" else 0),
        mask=mask if fill == "masked" else None,
    )
    task.check(wide, padded)
    assert task.weights(padded).tolist() == [3, 3, 3]
    for name, rows in task.judge(wide, padded).sums.items():
        assert torch.equal(rows, task.judge(outputs, plain).sums[name])
    losses = task.losses(wide, padded)
    torch.testing.assert_close(losses, task.losses(outputs, plain))
    (slope,) = torch.autograd.grad(losses.sum(), wide)
    assert torch.isfinite(slope).all()
    assert (slope[~mask] == 0).all()


def test_texts_of_different_lengths_are_joined():
    task = NextToken()
    batches = [Batch(drawn(7, 2, length), drawn(7, 2, length)) for length in (3, 5)]
    parts = [task.judge(normal(2, batch.targets.shape[1], 7), batch) for batch in batches]
    assert joined_outcome(parts).sums["nats"][:, 1].tolist() == [2, 2, 4, 4]


def test_another_id_may_be_left_out():
    case = next_token()
    other = case.batch.targets.masked_fill(case.batch.targets == -100, 99)
    found = NextToken(ignore=99).judge(case.outputs, Batch(case.batch.inputs, other))
    assert torch.equal(found.sums["nats"], case.judged().sums["nats"])
    with pytest.raises(TaskMismatch, match=r"found: tokens from 0 to 99, and 7 logits\ndo:    use the network's own"):
        NextToken().check(case.outputs, Batch(case.batch.inputs, other))


def test_a_large_vocabulary_is_judged_in_pieces(monkeypatch):
    case = next_token()
    whole = case.judged().sums
    monkeypatch.setattr("modelstitch.tasks.next_token._AT_ONCE", 30)
    held = []
    finite = room.require_finite
    monkeypatch.setattr(room, "require_finite", lambda rows, *rest: held.append(rows.numel()) or finite(rows, *rest))
    for name, rows in case.judged().sums.items():
        assert torch.equal(rows, whole[name])
    assert len(held) > 5
    assert max(held) <= 30


def test_targets_that_are_shifted_already_are_another_task():
    case = next_token()
    shifted = dataclasses.replace(case, batch=Batch(case.batch.inputs, case.batch.targets.roll(-1, 1)))
    nats = case.task.score("nats")
    assert nats.value(shifted.judged().sums["nats"]) > nats.value(case.judged().sums["nats"]) + 1


TOKENS = torch.tensor([[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (
            normal(3, 2),
            TOKENS,
            r"found: outputs: float64 of shape \(3, 2\), targets: int64 of shape \(3, 2\)\ndo:    give",
        ),
        (normal(3, 3, 2), TOKENS, r"outputs: float64 of shape \(3, 3, 2\)"),
        (normal(3, 2, 4), TOKENS.double(), r"targets: float64 of shape \(3, 2\)"),
        (normal(3, 2, 4), TOKENS[:, 0], r"targets: int64 of shape \(3,\)"),
        (normal(3, 2, 4), TOKENS.tolist(), r"targets: a list"),
        (normal(3, 2, 1), TOKENS, r"found: tokens from 0 to 1, and 1 logits"),
        (normal(3, 2, 4), TOKENS - 1, r"found: tokens from -1 to 0, and 4 logits"),
    ],
)
def test_what_does_not_belong_together_is_refused(outputs, targets, message):
    with pytest.raises(TaskMismatch, match=rf"asked: the next tokens of 3 texts\n(?s:.*){message}"):
        NextToken().check(outputs, Batch(torch.zeros(3, 2), targets))

"""Imitation against numpy and scipy; exactly 0 for the top's own answers; what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from task_laws import imitation, normal

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, SettingError, TaskMismatch
from modelstitch.tasks import Imitation


def test_divergence_is_that_of_scipy():
    case = imitation("kl")
    found = case.judged(case.worse)
    error, loss = (score.value(found.sums[score.name]) for score in case.task.scores)
    o, t = case.worse.numpy(), case.batch.targets.numpy()
    assert loss == pytest.approx(rel_entr(softmax(t, 1), softmax(o, 1)).sum(1).mean(), rel=1e-12)
    assert error == pytest.approx(100 * np.mean(o.argmax(1) != t.argmax(1)))
    assert (found.answers.numpy() == o.argmax(1)).all()


def test_distance_is_that_of_numpy():
    case = imitation("squared")
    o, t = case.worse.numpy(), case.batch.targets.numpy()
    (score,) = case.task.scores
    found = case.judged(case.worse)
    expected = np.linalg.norm(o - t) ** 2 / np.linalg.norm(t) ** 2
    assert score.value(found.sums["distance"]) == pytest.approx(expected, rel=1e-12)
    assert score.value(case.judged(0 * case.outputs).sums["distance"]) == pytest.approx(1.0)
    assert found.answers is None


LAYOUTS = {
    "rows": lambda x: x.clone(),
    "columns": lambda x: x.T.contiguous().T,
    "part of more": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every other": lambda x: torch.stack([x, x], 2).flatten(1)[:, ::2],
}


@given(st.integers(1, 70), st.sampled_from([1e-3, 1.0, 30.0, 1000.0]), st.sampled_from(list(LAYOUTS)), st.booleans())
def test_the_tops_own_answers_are_exactly_0_away(classes, scale, layout, double):
    targets = scale * normal(9, classes)
    targets = targets if double else targets.float()
    batch, outputs = Batch(torch.zeros(9), targets), LAYOUTS[layout](targets)
    for task in (Imitation("kl"), Imitation("squared")):
        for rows in task.judge(outputs, batch).sums.values():
            assert (rows[:, 0] == 0).all()
        assert (task.losses(outputs, batch) == 0).all()


def test_a_constant_added_to_scores_is_no_other_distribution():
    targets = normal(5, 3)
    found = Imitation().judge(targets + 100, Batch(torch.zeros(5), targets))
    assert found.sums["loss"][:, 0].abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 3), (4, 3, 5, 5)])
def test_outputs_of_any_shape_have_a_distance(shape):
    targets = normal(*shape)
    batch, outputs = Batch(torch.zeros(4), targets), normal(*shape, seed=1)
    task = Imitation("squared")
    task.check(outputs, batch)
    expected = ((outputs - targets) ** 2).reshape(4, -1).sum(1)
    torch.testing.assert_close(task.judge(outputs, batch).sums["distance"][:, 0], expected)
    torch.testing.assert_close(task.losses(outputs, batch), expected)


def test_answers_of_0_have_no_relative_distance():
    task, batch = Imitation("squared"), Batch(torch.zeros(2), torch.zeros(2, 3))
    rows = task.judge(normal(2, 3), batch).sums["distance"]
    with pytest.raises(
        NumericalFailure, match="distance from the top's outputs\nfound: examples whose weights add up to 0"
    ):
        task.scores[0].value(rows)
    assert torch.isfinite(task.loss(normal(2, 3), batch))


def test_answers_of_the_top_that_are_not_finite_are_refused():
    targets = torch.tensor([[0.0, float("inf")]])
    for by in ("kl", "squared"):
        with pytest.raises(NumericalFailure, match="1 of 2 outputs not finite"):
            Imitation(by).judge(torch.zeros(1, 2), Batch(torch.zeros(1), targets))


def test_an_unknown_distance_is_refused():
    # Behind the back of the check of types, which only tests have.
    task = Imitation()
    object.__setattr__(task, "by", "l2")
    with pytest.raises(SettingError, match=r"found: by='l2'\ndo:    choose one of kl, squared"):
        task.__post_init__()


@pytest.mark.parametrize(
    ("by", "outputs", "targets", "message"),
    [
        (
            "kl",
            normal(3, 2),
            normal(3, 4),
            r"found: outputs: float64 of shape \(3, 2\), targets: float64 of shape \(3, 4\)",
        ),
        ("squared", normal(3, 1), normal(3), r"targets: float64 of shape \(3,\)\ndo:    give what the top's network"),
        ("kl", normal(3, 2), torch.tensor([0, 1, 1]), r"targets: int64 of shape \(3,\)"),
        ("squared", normal(3, 2), normal(3, 2).tolist(), r"targets: a list"),
        (
            "kl",
            normal(3, 2, 2),
            normal(3, 2, 2),
            r"do:    give rows of class scores, \(n, classes\), or choose by='squ",
        ),
        ("kl", normal(3), normal(3), r"do:    give rows of class scores"),
    ],
)
def test_what_does_not_belong_together_is_refused(by, outputs, targets, message):
    asked = "asked: the distance from the top's own answers to 3 examples"
    with pytest.raises(TaskMismatch, match=rf"{asked}\n(?s:.*){message}"):
        Imitation(by).check(outputs, Batch(torch.zeros(3), targets))

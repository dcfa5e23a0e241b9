"""The laws that every task is held to; `test_task_laws.py` runs them, and breaks them on purpose."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.support.seeding import generator
from modelstitch.tasks import (
    Classification,
    Imitation,
    MultiLabel,
    NextToken,
    Outcome,
    Pixels,
    Regression,
    Retrieval,
    Task,
    joined_outcome,
)

N = 24


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator("task laws", *shape, seed)).double()


def drawn(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=generator("task laws", high, *shape))


@dataclass(frozen=True)
class Case:
    """A task, good outputs with their batch, and which of its scores a fit minimises."""

    task: Task
    outputs: Tensor
    batch: Batch
    minimised: str

    @property
    def worse(self) -> Tensor:
        """The same outputs with much noise."""
        return self.outputs + 20 * normal(*self.outputs.shape, seed=1)

    def judged(self, outputs: Tensor | None = None) -> Outcome:
        return self.task.judge(self.outputs if outputs is None else outputs, self.batch)


def peaked(labels: Tensor, classes: int) -> Tensor:
    """Scores that are mostly right and never sure."""
    return 4 * torch.nn.functional.one_hot(labels, classes).double() + normal(*labels.shape, classes)


def classification() -> Case:
    labels = drawn(5, N)
    return Case(Classification(5), peaked(labels, 5), Batch(normal(N, 2), labels), "loss")


def multi_label() -> Case:
    labels = drawn(2, N, 4)
    return Case(MultiLabel(), 2.0 * labels - 1 + normal(N, 4), Batch(normal(N, 2), labels), "loss")


def regression(**settings: Any) -> Case:
    targets = normal(N, 3) + 10
    return Case(Regression(**settings), targets + normal(N, 3, seed=2) / 4, Batch(normal(N, 2), targets), "mse")


def next_token() -> Case:
    tokens = drawn(7, N, 6)
    lengths = 1 + drawn(6, N)
    targets = tokens.masked_fill(torch.arange(6) >= lengths[:, None], -100)
    outputs = peaked(tokens, 7).roll(-1, 1)
    return Case(NextToken(), outputs, Batch(tokens, targets), "nats")


def pixels() -> Case:
    classes = drawn(5, N, 3, 4)
    outputs = peaked(classes, 5).movedim(-1, 1).contiguous()
    return Case(Pixels(), outputs, Batch(normal(N, 2), classes.masked_fill(drawn(9, N, 3, 4) == 0, -100)), "loss")


def retrieval() -> Case:
    gallery = normal(30, 4, seed=3)
    file = Path(tempfile.gettempdir()) / f"modelstitch-laws-{os.getpid()}.npy"
    np.save(file, gallery.numpy())
    own = drawn(30, N)
    return Case(Retrieval(str(file)), gallery[own] + normal(N, 4) / 2, Batch(normal(N, 2), own), "loss")


def imitation(by: str) -> Case:
    targets = 3 * normal(N, 4)
    return Case(Imitation(by), targets.clone(), Batch(normal(N, 2), targets), "loss" if by == "kl" else "distance")


CASES: dict[str, Callable[[], Case]] = {
    "classification": classification,
    "multi_label": multi_label,
    "regression": regression,
    "regression, by variance": lambda: regression(weigh="by_variance"),
    "next_token": next_token,
    "pixels": pixels,
    "retrieval": retrieval,
    "imitation": lambda: imitation("kl"),
    "imitation, squared": lambda: imitation("squared"),
}
"""At least one case of every task in the catalogue, its name before the comma."""


def assert_same_is_nothing(case: Case) -> None:
    """Outputs judged twice differ by exactly 0."""
    first, second = case.judged(), case.judged(case.outputs.clone())
    for score in case.task.scores:
        found = score.difference(first.sums[score.name], second.sums[score.name])
        # As text, for -0.0 == 0.0: no sign stands before nothing in records and tables.
        assert str(found) == "0.0"


def assert_worse_is_positive(case: Case) -> None:
    """Noise makes every score worse, and the other way round better."""
    good, bad = case.judged(), case.judged(case.worse)
    for score in case.task.scores:
        assert score.difference(bad.sums[score.name], good.sums[score.name]) > 0
        assert score.difference(good.sums[score.name], bad.sums[score.name]) < 0


def parts(case: Case) -> tuple[Outcome, Outcome]:
    """Two batches, the second smaller."""
    cut = 2 * N // 3
    slices = slice(0, cut), slice(cut, N)
    return tuple(case.task.judge(case.worse[rows], case.batch.part(rows)) for rows in slices)


def assert_adds_up(case: Case) -> None:
    """The score of two batches together is `of` of their added sums, and not the mean of their scores."""
    a, b = parts(case)
    whole = joined_outcome([a, b])
    for score in case.task.scores:
        sums = a.sums[score.name].sum(0) + b.sums[score.name].sum(0)
        assert score.value(whole.sums[score.name]) == pytest.approx(score.number(sums), rel=1e-12)


def assert_batches_do_not_matter(case: Case) -> None:
    """Judged in batches is judged at once."""
    whole, once = joined_outcome(list(parts(case))), case.judged(case.worse)
    assert whole.n == once.n == N
    assert set(whole.sums) == {score.name for score in case.task.scores}
    for name, rows in once.sums.items():
        assert rows.dtype == torch.float64
        torch.testing.assert_close(whole.sums[name], rows, rtol=1e-12, atol=1e-12)
    assert (whole.answers is None) == (once.answers is None)
    assert once.answers is None or torch.equal(whole.answers, once.answers)


def assert_loss_is_the_score(case: Case) -> None:
    """``Σ losses / Σ weights`` is the score that fits minimise, and has a gradient that lowers it."""
    outputs = case.worse.requires_grad_()
    losses, weights = case.task.losses(outputs, case.batch), case.task.weights(case.batch)
    assert losses.shape == weights.shape == (N,)
    loss = case.task.loss(outputs, case.batch)
    score = case.task.score(case.minimised)
    value = score.value(case.judged(outputs).sums[score.name])
    # Weights are float32.
    assert float(losses.detach().sum() / weights.sum()) == pytest.approx(value, rel=1e-6)
    assert loss.item() == pytest.approx(value, rel=1e-6)
    (slope,) = torch.autograd.grad(loss, outputs)
    after = case.judged(outputs.detach() - 1e-3 * slope).sums[score.name]
    assert score.value(after) < value


def assert_refuses_what_is_not_finite(case: Case, value: float) -> None:
    """One output that is not a number, and there is no result."""
    outputs = case.worse
    index = (0,) * outputs.ndim
    if isinstance(case.task, NextToken):
        index = (int(case.task.weights(case.batch).argmax()), 0, 0)
    outputs[index] = value
    with pytest.raises(NumericalFailure, match=rf"asked: the outcome of {N} examples\nfound: 1 of \d+ outputs not"):
        case.judged(outputs)


def assert_refuses_missing_targets(case: Case) -> None:
    """Without targets there is nothing to judge by, and fewer outputs than examples are refused."""
    with pytest.raises(TaskMismatch, match=r"found: .*targets: none"):
        case.task.check(case.outputs, Batch(case.batch.inputs))
    with pytest.raises(TaskMismatch, match=rf"asked: .* {N} (examples|texts)\nfound: .*outputs.* {N - 1}|\({N - 1}"):
        case.task.check(case.outputs[1:], case.batch)
    with pytest.raises(TaskMismatch, match=r"int64 of shape"):
        case.task.check(case.outputs.long(), case.batch)

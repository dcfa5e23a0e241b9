"""Every task under the laws, in every form of output; and wrong tasks, which the laws must catch."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import pytest
import torch
from task_laws import (
    CASES,
    N,
    assert_adds_up,
    assert_batches_do_not_matter,
    assert_loss_is_the_score,
    assert_refuses_missing_targets,
    assert_refuses_what_is_not_finite,
    assert_same_is_nothing,
    assert_worse_is_positive,
    classification,
    imitation,
    normal,
)

from modelstitch.tasks import TASKS, Classification, Imitation, Outcome, Score

LAWS = [
    assert_same_is_nothing,
    assert_worse_is_positive,
    assert_adds_up,
    assert_batches_do_not_matter,
    assert_loss_is_the_score,
    assert_refuses_missing_targets,
]


def test_every_task_of_the_catalogue_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(TASKS)
    assert all(isinstance(case().task, TASKS[name.split(",")[0]]) for name, case in CASES.items())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("law", LAWS)
def test_law(law, name):
    law(CASES[name]())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", CASES)
def test_outputs_that_are_not_finite_have_no_score(name, value):
    assert_refuses_what_is_not_finite(CASES[name](), value)


@pytest.mark.parametrize("name", CASES)
def test_the_targets_belong_to_the_outputs(name):
    case = CASES[name]()
    case.task.check(case.outputs, case.batch)


FORMS = {
    "tuple": lambda x: (x, None, torch.zeros(3)),
    "mapping with logits": lambda x: {"loss": torch.zeros(()), "logits": x},
    "object with logits": lambda x: SimpleNamespace(loss=torch.zeros(()), logits=x),
    "mapping without logits": lambda x: {"kept": None, "out": x, "more": torch.zeros(3)},
    "nested": lambda x: ([{"out": x}], torch.zeros(3)),
}


@pytest.mark.parametrize(("name", "form"), list(itertools.product(CASES, FORMS)))
def test_outputs_in_any_form_are_judged_alike(name, form):
    case = CASES[name]()
    outputs = FORMS[form](case.outputs)
    case.task.check(outputs, case.batch)
    for key, rows in case.task.judge(outputs, case.batch).sums.items():
        assert torch.equal(rows, case.judged().sums[key])
    losses = case.task.losses(outputs, case.batch)
    assert torch.equal(losses, case.task.losses(case.outputs, case.batch))
    assert torch.equal(case.task.loss(outputs, case.batch), case.task.loss(case.outputs, case.batch))


@pytest.mark.parametrize("name", CASES)
def test_scores_in_single_precision_are_those_in_double(name):
    case = CASES[name]()
    single = case.judged(case.worse.float())
    for score in case.task.scores:
        expected = score.value(case.judged(case.worse).sums[score.name])
        assert score.value(single.sums[score.name]) == pytest.approx(expected, rel=1e-5)


class PenaltyUpsideDown(Classification):
    """Says that more error is better."""

    @property
    def scores(self):
        error, loss = super().scores
        return (dataclasses.replace(error, better="higher"), loss)


class LossAddedTwice(Classification):
    """Adds every loss twice."""

    def losses(self, outputs, batch):
        return 2 * super().losses(outputs, batch)


class LossWithoutGradient(Classification):
    """Loses the gradient's sign."""

    def loss(self, outputs, batch):
        loss = super().loss(outputs, batch)
        return 2 * loss.detach() - loss


class MeansOfBatches(Classification):
    """Adds for every example what the batch has in the mean."""

    def judge(self, outputs, batch):
        found = super().judge(outputs, batch)
        return Outcome({name: rows.mean(0).expand_as(rows) for name, rows in found.sums.items()}, found.answers)


class NotASum(Classification):
    """A score that depends on the number of rows that were added, not on their sum."""

    @property
    def scores(self):
        error, loss = super().scores

        class Largest(Score):
            def value(self, rows):
                return float(rows[:, 0].max())

        return (error, Largest(loss.name, loss.title))


class Noisy(Imitation):
    """Judges with noise of its own."""

    def judge(self, outputs, batch):
        return super().judge(outputs + normal(*outputs.shape, seed=self.draw()), batch)

    def draw(self):
        object.__setattr__(self, "drawn", self.__dict__.get("drawn", 0) + 1)
        return self.drawn


class LabelBlind(Classification):
    """Checks nothing."""

    def check(self, outputs, batch):
        pass


CANARIES = [
    (PenaltyUpsideDown(5), assert_worse_is_positive),
    (LossAddedTwice(5), assert_loss_is_the_score),
    (LossWithoutGradient(5), assert_loss_is_the_score),
    (MeansOfBatches(5), assert_batches_do_not_matter),
    (NotASum(5), assert_adds_up),
    (Noisy(), assert_same_is_nothing),
]


@pytest.mark.parametrize(("task", "law"), CANARIES, ids=lambda one: getattr(one, "__name__", type(one).__name__))
def test_a_wrong_task_is_caught(task, law):
    case = imitation("kl") if isinstance(task, Imitation) else classification()
    law(case)
    with pytest.raises(AssertionError):
        law(dataclasses.replace(case, task=task))


def test_a_task_that_checks_nothing_is_caught():
    case = dataclasses.replace(classification(), task=LabelBlind(5))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        assert_refuses_missing_targets(case)


def test_a_task_that_scores_what_is_not_finite_is_caught():
    class Forgiving(Classification):
        def judge(self, outputs, batch):
            return super().judge(torch.nan_to_num(outputs), batch)

    case = dataclasses.replace(classification(), task=Forgiving(5))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        assert_refuses_what_is_not_finite(case, float("nan"))


def test_the_cases_are_neither_perfect_nor_hopeless():
    for name, case in CASES.items():
        if not name.startswith("imitation"):
            found = case().judged()
            first = case().task.scores[0]
            assert 0 < first.value(found.sums[first.name]) < (50 if first.better == "lower" else 100), name
            assert found.n == N

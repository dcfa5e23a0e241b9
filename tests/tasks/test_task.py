"""What all tasks share: reading outputs, sums without weight, agreement, the catalogue, the examples in docstrings."""

import dataclasses
import doctest
import importlib
import pkgutil
from types import SimpleNamespace

import pytest
import torch
from task_laws import CASES, classification

import modelstitch.tasks
from modelstitch.data import Batch
from modelstitch.errors import DataError, NumericalFailure, TaskMismatch
from modelstitch.tasks import TASKS, Outcome, Score, Task, agreement, answer_of, joined_outcome, require_same_examples
from modelstitch.tasks.task import require_finite

MODULES = [module.name for module in pkgutil.iter_modules(modelstitch.tasks.__path__, "modelstitch.tasks.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
    assert found.attempted > 0 or name.endswith(".catalogue")


@pytest.mark.parametrize("name", TASKS)
def test_the_catalogue_holds_each_task_by_its_name(name):
    task = TASKS[name]
    assert task.name == name
    assert getattr(modelstitch.tasks, task.__name__) is task
    # What is left out of records is what a task has without being asked.
    for field, value in task.off.items():
        assert getattr(task(), field) == value
    assert set(task.off) <= {field.name for field in dataclasses.fields(task)}
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        task().name = "other"


@pytest.mark.parametrize("name", CASES)
def test_scores_have_names_of_their_own_and_a_title(name):
    scores = CASES[name]().task.scores
    assert len({score.name for score in scores}) == len(scores)
    assert all(score.title and score.name.isidentifier() for score in scores)


def test_outputs_without_a_tensor_are_refused():
    for outputs in (None, {"logits": 3}, SimpleNamespace(loss=1), [1.0]):
        with pytest.raises(TaskMismatch, match=r"found: outputs of type \w+ without a tensor in them\ndo:    return a"):
            answer_of(outputs)


def test_examples_that_do_not_count_have_no_score():
    score, rows = Score("error", "test error"), torch.zeros(3, 2).double()
    for number in (lambda: score.value(rows), lambda: score.difference(rows, rows)):
        with pytest.raises(NumericalFailure, match="asked: the test error\nfound: examples whose weights add up to 0"):
            number()


def test_equal_examples_cancel_exactly_in_a_difference():
    rows = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0)).double()
    other = rows.clone()
    other[500, 0] += 2.0**-50
    score = Score("loss", "test loss")
    assert score.difference(other, rows) == pytest.approx(2.0**-50 / float(rows[:, 1].sum()))
    assert score.difference(other, rows) != score.value(other) - score.value(rows)
    assert dataclasses.replace(score, better="higher").difference(other, rows) < 0


def test_a_score_of_its_own_reads_the_sums():
    score = Score("spread", "spread", of=lambda sums: float(sums[1] - sums[0]))
    assert score.value(torch.tensor([[1.0, 4.0], [2.0, 8.0]]).double()) == 9.0
    assert score.difference(torch.tensor([[0.0, 3.0]]).double(), torch.tensor([[0.0, 1.0]]).double()) == 2.0


def test_outcomes_are_taken_and_joined():
    found = classification().judged()
    first, rest = found.take(torch.arange(5)), found.take(torch.arange(5, found.n))
    again = joined_outcome([first, rest])
    assert (first.n, again.n) == (5, found.n)
    assert torch.equal(again.answers, found.answers)
    assert torch.equal(again.sums["loss"], found.sums["loss"])


def test_agreement_is_of_the_same_examples():
    found = classification().judged()
    assert agreement(found, found) == 1.0
    assert agreement(Outcome(found.sums), found) is None
    with pytest.raises(DataError, match=r"found: outcomes of 24 and 5 examples, by error, loss and error, loss"):
        agreement(found, found.take(torch.arange(5)))
    with pytest.raises(DataError, match=r"by error, loss and other"):
        require_same_examples(found, Outcome({"other": found.sums["loss"]}))


def test_outputs_are_taken_to_double_precision_where_they_are():
    outputs = torch.ones(2, requires_grad=True)
    found = require_finite(outputs, 2)
    assert (found.dtype, found.device, found.requires_grad) == (torch.float64, outputs.device, False)


def test_a_task_of_ones_own_is_one_class():
    class Counting(Task):
        scores = (Score("mae", "mean absolute error", unit="objects"),)

        def check(self, outputs, batch):
            if outputs.shape != batch.targets.shape:
                raise TaskMismatch("counts", "another shape", "count")

        def losses(self, outputs, batch):
            return (outputs - batch.targets).abs()

        def judge(self, outputs, batch):
            return Outcome({"mae": torch.stack([self.losses(outputs, batch), torch.ones(batch.n)], 1).double()})

    task, batch = Counting(), Batch(torch.zeros(2), torch.tensor([1.0, 2.0]))
    outputs = torch.tensor([1.0, 4.0], requires_grad=True)
    assert task.loss(outputs, batch).item() == 1.0
    assert task.score("mae").value(task.judge(outputs.detach(), batch).sums["mae"]) == 1.0
    assert not Counting.fits(outputs, batch)

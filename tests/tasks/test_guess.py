"""Guessing a task: the table, line by line; what fits none or several; tasks by name."""

from typing import ClassVar

import pytest
import torch
from task_laws import CASES, drawn, normal

from modelstitch.data import Batch, Samples
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.tasks import (
    TASKS,
    Classification,
    Imitation,
    MultiLabel,
    NextToken,
    Regression,
    Task,
    guess,
    task_of,
)

TOKENS = drawn(7, 4, 5)
X = torch.zeros(4, 3)
CLASSES = torch.tensor([0, 1, 2, 1])
YES = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("outputs", "batch", "task"),
    [
        (normal(4, 3), Batch(X), Imitation("kl")),
        (normal(4, 1), Batch(X), Imitation("squared")),
        (normal(4), Batch(X), Imitation("squared")),
        (normal(4, 3, 2), Batch(X), Imitation("squared")),
        (normal(4, 3), Batch(X, CLASSES), Classification()),
        (normal(4, 3), Batch(X, CLASSES.int()), Classification()),
        # Classes without a score are still classes: the check of the task says what is wrong.
        (normal(4, 2), Batch(X, CLASSES), Classification()),
        (normal(4, 2), Batch(X, YES), MultiLabel()),
        (normal(4, 2), Batch(X, YES.bool()), MultiLabel()),
        (normal(4, 1), Batch(X, YES[:, 0]), MultiLabel()),
        (normal(4), Batch(X, YES[:, 0].bool()), MultiLabel()),
        (normal(4), Batch(X, normal(4)), Regression()),
        (normal(4, 1), Batch(X, normal(4)), Regression()),
        (normal(4, 2), Batch(X, normal(4, 2)), Regression()),
        (normal(4, 2, 3), Batch(X, normal(4, 2, 3)), Regression()),
        (normal(4, 5, 7), Batch(TOKENS, TOKENS), NextToken()),
        (normal(4, 5, 7), Batch({"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}, TOKENS), NextToken()),
        (normal(4, 5, 7), Batch(TOKENS, TOKENS.masked_fill(TOKENS == 3, -100)), NextToken()),
    ],
)
def test_the_one_task_that_fits(outputs, batch, task):
    assert guess(batch, outputs) == task
    assert guess(batch, {"logits": outputs}) == task
    assert guess(batch.to("cpu"), (outputs,)) == task


@pytest.mark.parametrize(
    ("outputs", "batch"),
    [
        (normal(4, 3), Batch(X, CLASSES.double())),
        (normal(4, 1), Batch(X, CLASSES)),
        (normal(3, 3), Batch(X, CLASSES)),
        (normal(3, 3), Batch(X)),
        (torch.tensor(1.0), Batch(X)),
        (normal(4, 3), Batch(X, CLASSES.tolist())),
        (normal(4, 3), Batch(X, {"labels": CLASSES})),
        (normal(4, 2), Batch(X, 2 * YES)),
        # Labels of tokens and hidden words are not shifted, and no task of the catalogue.
        (normal(4, 5, 7), Batch(TOKENS, (TOKENS + 1) % 7)),
        (normal(4, 5, 7), Batch(normal(4, 5, 8), TOKENS)),
        (normal(4, 5, 7), Batch(TOKENS, TOKENS.roll(-1, 1))),
    ],
)
def test_what_no_task_fits_is_refused(outputs, batch):
    message = (
        rf"asked: to guess the task\nfound: outputs: .*, targets: .*, which no task fits\ndo:    .*{', '.join(TASKS)}"
    )
    with pytest.raises(TaskMismatch, match=message):
        guess(batch, outputs)


@pytest.mark.parametrize(("outputs", "targets"), [(normal(4, 2), YES.float()), (normal(4, 1), YES[:, 0].double())])
def test_what_two_tasks_fit_is_refused(outputs, targets):
    message = (
        r"found: outputs: float64 of .*, targets: float\d\d of .*, which fit multi_label and regression\n"
        r"do:    name one: task='multi_label' or task='regression'"
    )
    with pytest.raises(SettingError, match=message):
        guess(Batch(X, targets), outputs)


def test_examples_say_how_many_classes_there_are():
    samples = Samples("four", X, CLASSES, classes=3)
    assert guess(samples, normal(2, 3)) == Classification(classes=3)
    assert guess(samples, normal(4, 3)) == Classification(classes=3)
    # The right task, whose check then says that the classes are not the network's.
    assert guess(samples, normal(2, 9)) == Classification(classes=3)
    with pytest.raises(TaskMismatch, match=r"found: outputs: .* \(5, 3\), targets: int64 of shape \(4,\)"):
        guess(samples, normal(5, 3))
    with pytest.raises(TaskMismatch, match="which no task fits"):
        guess(samples, torch.tensor(1.0))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("regression, by variance", "retrieval")])
def test_what_is_guessed_accepts_the_data(name):
    case = CASES[name]()
    batch = Batch(case.batch.inputs) if name.startswith("imitation") else case.batch
    guessed = guess(batch, case.outputs)
    guessed.check(case.outputs, case.batch)
    assert type(guessed) is type(case.task)


def test_a_task_of_ones_own_is_never_guessed_unless_it_says_so(monkeypatch):
    class Silent(Task):
        name: ClassVar[str] = "silent"
        scores = Classification().scores
        check, losses, judge = Classification.check, Classification.losses, Classification.judge

    monkeypatch.setitem(TASKS, "silent", Silent)
    assert guess(Batch(X, CLASSES), normal(4, 3)) == Classification()
    assert not Silent.fits(normal(4, 3), Batch(X, CLASSES))
    assert isinstance(Silent.suited(normal(4, 3), Batch(X, CLASSES)), Silent)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_by_its_name(name):
    assert type(task_of(name)) is TASKS[name]
    assert task_of(name) == TASKS[name]()


def test_a_task_stays_what_it_is():
    task = Classification(7)
    assert task_of(task) is task


def test_a_name_that_is_none_gets_the_closest():
    with pytest.raises(
        SettingError, match=r"asked: the task 'regresion'\nfound: no task.*\ndo:    did you mean 'regression'"
    ):
        task_of("regresion")
    with pytest.raises(SettingError, match=rf"do:    choose one of {', '.join(TASKS)}"):
        task_of("zzz")

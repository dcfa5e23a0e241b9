"""Macro-F1 beside the scores of classification, against scikit-learn."""

import pytest
import torch
from sklearn.metrics import f1_score
from task_laws import classification, peaked

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.penalty import penalties_of
from modelstitch.support.settings import built, spelled
from modelstitch.tasks import Classification, Task
from modelstitch.tasks.macro_f1 import MacroF1

TASK = Classification(also=("macro_f1",))


def test_it_is_that_of_scikit_learn():
    case = classification()
    found = TASK.judge(case.worse, case.batch)
    right = f1_score(case.batch.targets.numpy(), case.worse.argmax(1).numpy(), average="macro")
    assert TASK.score("macro_f1").value(found.sums["macro_f1"]) == pytest.approx(100 * right)
    assert 0 < right < 1


def test_classes_that_are_nowhere_are_left_out():
    labels = torch.tensor([0, 0, 7, 7])
    rows = MacroF1().rows(torch.tensor([0, 7, 7, 7]), labels, 9)
    assert MacroF1.score.value(rows) == pytest.approx(100 * f1_score(labels, [0, 7, 7, 7], average="macro"))
    with pytest.raises(NumericalFailure, match="found: no examples"):
        MacroF1.score.value(rows[:0])


def test_it_comes_beside_the_other_scores_and_changes_none():
    case = classification()
    plain, more = Classification(5).judge(case.worse, case.batch), TASK.judge(case.worse, case.batch)
    assert all(torch.equal(rows, more.sums[name]) for name, rows in plain.sums.items())
    assert [score.name for score in TASK.scores] == ["error", "loss", "macro_f1"]


def test_its_penalty_is_positive_where_rare_classes_are_lost():
    labels = torch.tensor([0] * 90 + [1] * 10)
    good, constant = peaked(labels, 2), torch.zeros(100, 2)
    batch = Batch(torch.zeros(100), labels)
    found = penalties_of(TASK.judge(constant, batch), TASK.judge(20 * good, batch), TASK)["macro_f1"]
    assert found.stitched == pytest.approx(100 * (180 / 190) / 2)
    assert found.value > 0 < found.interval.low


def test_a_record_builds_it_again():
    assert built(spelled(TASK), Task) == TASK
    assert "also" not in spelled(Classification())


@pytest.mark.parametrize(("also", "found"), [(("macro_f2",), "no such score"), (("macro_f1",) * 2, "named twice")])
def test_no_such_score(also, found):
    with pytest.raises(SettingError, match=rf"asked: a score of decisions 'macro_f.'\nfound: {found}\ndo: "):
        Classification(also=also)

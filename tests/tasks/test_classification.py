"""Classification against scikit-learn, and what it refuses."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from task_laws import classification, normal

from modelstitch.data import Batch
from modelstitch.errors import TaskMismatch
from modelstitch.tasks import Classification


def test_scores_are_those_of_scikit_learn():
    case = classification()
    found, labels = case.judged(), case.batch.targets.numpy()
    error, loss = (score.value(found.sums[score.name]) for score in case.task.scores)
    z = case.outputs.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    assert error == pytest.approx(100 * (1 - accuracy_score(labels, z.argmax(1))))
    assert loss == pytest.approx(log_loss(labels, p, labels=range(5)))
    assert (found.answers.numpy() == z.argmax(1)).all()


def test_the_answer_to_a_tie_is_the_first_class():
    found = Classification().judge(torch.ones(2, 3), Batch(torch.zeros(2), torch.tensor([0, 2])))
    assert found.answers.tolist() == [0, 0]


LABELS = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("classes", "outputs", "targets", "message"),
    [
        (
            None,
            normal(3, 2, 2),
            LABELS,
            r"found: outputs: float64 of shape \(3, 2, 2\)\ndo:    return one row of class",
        ),
        (None, normal(4, 3), LABELS, r"outputs: float64 of shape \(4, 3\)"),
        (4, normal(3, 3), LABELS, r"found: 3 scores an example for 4 classes"),
        (None, normal(3, 3), LABELS.double(), r"found: targets: float64 of shape \(3,\)\ndo:    give one integer"),
        (None, normal(3, 3), LABELS.bool(), r"found: targets: bool of shape"),
        (None, normal(3, 3), LABELS.tolist(), r"found: targets: a list"),
        (None, normal(3, 2), LABELS, r"found: labels from 0 to 2, and scores for 2 classes"),
        (None, normal(3, 3), LABELS - 1, r"found: labels from -1 to 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(classes, outputs, targets, message):
    with pytest.raises(TaskMismatch, match=rf"asked: the classes of 3 examples\n(?s:.*){message}"):
        Classification(classes).check(outputs, Batch(torch.zeros(3), targets))

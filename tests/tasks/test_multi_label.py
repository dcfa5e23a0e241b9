"""Several labels against scikit-learn, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, hamming_loss, log_loss
from task_laws import multi_label, normal

from modelstitch.data import Batch
from modelstitch.errors import TaskMismatch
from modelstitch.tasks import MultiLabel, agreement


def test_scores_are_those_of_scikit_learn():
    case = multi_label()
    found, labels = case.judged(), case.batch.targets.numpy()
    error, subset, loss = (score.value(found.sums[score.name]) for score in case.task.scores)
    z = case.outputs.numpy()
    assert error == pytest.approx(100 * hamming_loss(labels, z > 0))
    assert subset == pytest.approx(100 * accuracy_score(labels, z > 0))
    by_label = [log_loss(labels[:, j], 1 / (1 + np.exp(-z[:, j])), labels=[0, 1]) for j in range(4)]
    assert loss == pytest.approx(np.mean(by_label))
    assert (found.answers.numpy() == (z > 0)).all()
    assert 0 < subset < 100


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64])
def test_labels_may_be_of_any_type(dtype):
    case = multi_label()
    batch = Batch(case.batch.inputs, case.batch.targets.to(dtype))
    case.task.check(case.outputs, batch)
    for name, rows in case.task.judge(case.outputs, batch).sums.items():
        assert torch.equal(rows, case.judged().sums[name])
    assert torch.equal(case.task.losses(case.outputs, batch), case.task.losses(case.outputs, case.batch))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("targets", [(3,), (3, 1)])
def test_one_label_needs_no_axis_of_its_own(shape, targets):
    labels = torch.tensor([1, 0, 1])
    batch = Batch(torch.zeros(3), labels.reshape(targets))
    outputs = torch.tensor([2.0, 1.0, -1.0]).reshape(shape)
    MultiLabel().check(outputs, batch)
    found = MultiLabel().judge(outputs, batch)
    assert found.sums["error"].tolist() == [[0, 1], [1, 1], [1, 1]]
    assert found.answers.tolist() == [[True], [True], [False]]
    assert MultiLabel().losses(outputs, batch).shape == (3,)


def test_a_score_of_0_is_a_no():
    found = MultiLabel().judge(torch.zeros(1, 2), Batch(torch.zeros(1), torch.tensor([[0, 1]])))
    assert found.answers.tolist() == [[False, False]]
    assert found.sums["error"].tolist() == [[1, 2]]


def test_agreement_counts_labels():
    batch = Batch(torch.zeros(2), torch.zeros(2, 2))
    a, b = (MultiLabel().judge(torch.tensor(z), batch) for z in ([[1.0, 1.0], [1.0, 1.0]], [[1.0, -1.0], [1.0, 1.0]]))
    assert agreement(a, b) == 0.75


LABELS = torch.tensor([[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (
            normal(3, 3),
            LABELS,
            r"found: outputs: float64 of shape \(3, 3\), targets: int64 of shape \(3, 2\)\ndo:    give",
        ),
        (normal(3, 2, 2), LABELS[..., None].expand(3, 2, 2), r"found: outputs: float64 of shape \(3, 2, 2\)"),
        (normal(3, 2), LABELS.tolist(), r"targets: a list"),
        (normal(3, 2), 2 * LABELS, r"found: targets from 0 to 2 that are not all 0 or 1\ndo:    give 1 for each label"),
        (normal(3, 2), LABELS - 0.5, r"found: targets from -0.5 to 0.5"),
        (normal(3, 2), LABELS / 0, r"found: targets from nan"),
    ],
)
def test_what_does_not_belong_together_is_refused(outputs, targets, message):
    with pytest.raises(TaskMismatch, match=rf"asked: the labels of 3 examples\n(?s:.*){message}"):
        MultiLabel().check(outputs, Batch(torch.zeros(3), targets))

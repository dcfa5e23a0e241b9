"""Segmentation against scikit-learn, pixels that do not count, and what is refused."""

import pytest
import torch
from sklearn.metrics import jaccard_score, log_loss
from task_laws import normal, pixels

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.tasks import Pixels, guess


def test_scores_are_those_of_scikit_learn():
    case = pixels()
    counted = case.batch.targets != -100
    labels, answers = case.batch.targets[counted].numpy(), case.outputs.argmax(1)[counted].numpy()
    assert 0 < counted.sum() < counted.numel()
    chances = case.outputs.softmax(1).movedim(1, -1)[counted].numpy()
    iou, error, loss = (score.value(case.judged().sums[score.name]) for score in case.task.scores)
    assert iou == pytest.approx(100 * jaccard_score(labels, answers, average="macro"))
    assert error == pytest.approx(100 * (labels != answers).mean())
    assert loss == pytest.approx(log_loss(labels, chances))
    assert 0 < error < 50 < iou < 100


def test_overlaps_are_of_all_images_together():
    """A mean of the images' own means would be 50."""
    batch = Batch(torch.zeros(2), torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]]))
    outputs = torch.nn.functional.one_hot(torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]]), 3).movedim(-1, 1).double()
    rows = Pixels().judge(outputs, batch).sums["mean_iou"]
    assert rows.tolist() == [[3, 0, 0, 4, 1, 0], [0, 4, 0, 0, 4, 0]]
    assert Pixels().score("mean_iou").value(rows) == pytest.approx(100 * (3 / 4 + 4 / 5) / 2)


def test_what_is_ignored_has_no_influence():
    case = pixels()
    other = case.outputs.movedim(1, -1).clone()
    other[case.batch.targets == -100] = normal(5)
    for name, rows in case.judged(other.movedim(-1, 1)).sums.items():
        torch.testing.assert_close(rows, case.judged().sums[name])
    as_255 = Batch(case.batch.inputs, case.batch.targets.masked_fill(case.batch.targets == -100, 255).to(torch.uint8))
    assert torch.equal(Pixels(ignore=255).judge(case.outputs, as_255).sums["error"], case.judged().sums["error"])
    with pytest.raises(TaskMismatch, match=r"found: classes from 0 to 255, and scores for 5\ndo: .*ignore"):
        Pixels().check(case.outputs, as_255)


def test_nothing_counts_and_there_is_no_score():
    found = Pixels().judge(torch.zeros(1, 2, 2, 2), Batch(torch.zeros(1), torch.full((1, 2, 2), -100)))
    for score in Pixels().scores:
        with pytest.raises(NumericalFailure):
            score.value(found.sums[score.name])


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [((4, 3), (4,)), ((4, 3, 5, 5), (4, 5)), ((4, 3, 5, 5), (4, 1, 5, 5)), ((3, 3, 5, 5), (3, 5, 5))],
)
def test_other_shapes_are_refused(outputs, targets):
    batch = Batch(torch.zeros(4), torch.zeros(targets).long())
    with pytest.raises(TaskMismatch, match=r"asked: the pixels of 4 examples\nfound: outputs: .*targets: .*\ndo: .*"):
        Pixels().check(torch.zeros(outputs), batch)


def test_it_is_guessed_from_maps():
    assert guess(Batch(torch.zeros(2), torch.zeros(2, 4, 4).long()), torch.zeros(2, 3, 4, 4)) == Pixels()

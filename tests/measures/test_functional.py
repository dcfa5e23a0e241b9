"""Agreement and error overlap on cases small enough to count."""

from __future__ import annotations

import pytest
import torch

from modelstitch.errors import DataError, NumericalFailure, TaskMismatch
from modelstitch.measures import error_overlap, prediction_agreement


def answers(*classes, of=3):
    return torch.nn.functional.one_hot(torch.tensor(classes), of).float()


def test_agreement_counts_equal_answers():
    assert prediction_agreement(answers(0, 1, 2, 2), answers(0, 1, 1, 0)) == 0.5
    assert prediction_agreement(answers(0, 1), answers(1, 0)) == 0
    # The first class wins a tie, and agreement asks for classes, not for scores.
    assert prediction_agreement(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[9.0, 0.0], [0.0, 0.1]])) == 1


def test_overlap_is_of_the_errors_alone():
    labels = torch.tensor([0, 0, 0, 0])
    # Wrong: the first two of x, the second and third of y.
    assert error_overlap(answers(1, 2, 0, 0), answers(0, 1, 1, 0), labels) == pytest.approx(1 / 3)
    assert error_overlap(answers(1, 0, 0, 0), answers(0, 1, 0, 0), labels) == 0
    assert error_overlap(answers(1, 0, 0, 0), answers(2, 0, 0, 0), labels) == 1


def test_canary_agreement_of_errors_is_another_number():
    labels = torch.tensor([0, 0, 0, 0])
    x, y = answers(1, 2, 0, 0), answers(0, 1, 1, 0)
    assert prediction_agreement(x, y) != error_overlap(x, y, labels)


@pytest.mark.parametrize(
    ("x", "y", "labels", "error", "message"),
    [
        (answers(0, 1), answers(0, 1), [0, 1], NumericalFailure, "no error of either network on 2 examples"),
        (answers(0, 1), answers(0, 1), [0, 3], TaskMismatch, "labels from 0 to 3"),
        (answers(0, 1), answers(0, 1), [0], DataError, "2 rows of logits and 1 labels"),
        (answers(0, 1), answers(0, 1, 2), [0, 1], DataError, "2 rows of x and 3 rows of y"),
        (answers(0, 1) / 0, answers(0, 1), [0, 1], NumericalFailure, "not finite"),
    ],
)
def test_what_has_no_overlap_is_refused(x, y, labels, error, message):
    with pytest.raises(error, match=message):
        error_overlap(x, y, torch.tensor(labels))

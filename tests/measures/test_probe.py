"""The linear probe against scikit-learn called by hand, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from modelstitch.errors import DataError, NumericalFailure
from modelstitch.measures import linear_probe
from modelstitch.support.seeding import generator


def blobs(n, seed, offset=0.0):
    random = generator("probe test", n, seed)
    labels = torch.arange(n) % 3
    centres = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    return centres[labels] + torch.randn(n, 3, generator=random) + offset, labels


TRAIN, TEST = blobs(90, 0), blobs(60, 1)


def test_equals_the_regression_of_standardised_channels():
    mean, spread = TRAIN[0].double().mean(0), TRAIN[0].double().std(0, correction=0)
    fit, judge = (((x.double() - mean) / spread).numpy() for x in (TRAIN[0], TEST[0]))
    expected = LogisticRegression(max_iter=1000).fit(fit, TRAIN[1].numpy()).score(judge, TEST[1].numpy())
    assert linear_probe(*TRAIN, *TEST) == expected
    assert 0.7 < expected < 1


def test_scale_and_dead_channels_change_nothing():
    scales = torch.tensor([1e-3, 1.0, 1e4])
    plain = linear_probe(*TRAIN, *TEST)
    assert linear_probe(TRAIN[0] * scales, TRAIN[1], TEST[0] * scales, TEST[1]) == plain
    dead = [torch.cat([x, torch.full((len(x), 1), 0.1)], 1) for x in (TRAIN[0], TEST[0])]
    assert linear_probe(dead[0], TRAIN[1], dead[1], TEST[1]) == plain


def test_the_test_rows_are_brought_to_the_train_rows_scale():
    assert linear_probe(*TRAIN, TEST[0] + 50, TEST[1]) < 0.5


def test_canary_shuffled_labels_leave_chance():
    order = torch.randperm(90, generator=generator("probe shuffle"))
    assert linear_probe(TRAIN[0], TRAIN[1][order], *TEST) < 0.6 < linear_probe(*TRAIN, *TEST)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({1: torch.zeros(90).long()}, DataError, "one class to fit on"),
        ({3: torch.full((60,), 7)}, DataError, r"test examples of classes \[7\]"),
        ({2: TEST[0][:, :2]}, DataError, "give the same channels"),
        ({1: TRAIN[1][:80]}, DataError, "one label a row"),
        ({0: TRAIN[0] / 0}, NumericalFailure, "train activations that are not finite"),
    ],
)
def test_what_cannot_be_probed_is_refused(changed, error, message):
    given = [changed.get(i, part) for i, part in enumerate((*TRAIN, *TEST))]
    with pytest.raises(error, match=message):
        linear_probe(*given)


def test_a_regression_that_has_not_converged_has_no_accuracy():
    with pytest.raises(NumericalFailure, match="has not converged in 1 steps"):
        linear_probe(*TRAIN, *TEST, steps=1)

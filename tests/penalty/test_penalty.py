"""The penalty: sign, intervals against a naive bootstrap and against the truth, evaluation, errors."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from modelstitch.data.samples import Samples
from modelstitch.errors import DataError, NumericalFailure, SettingError, TaskMismatch
from modelstitch.penalty import Interval, Outcome, Penalty, agreement, evaluate, outcome_of, penalty, penalty_of
from modelstitch.seeding import generator, numpy_generator


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator("penalty test", *shape, seed))


def outcome(wrong, loss=None):
    predicted = torch.as_tensor(wrong).long()
    loss = predicted.double() if loss is None else torch.as_tensor(loss).double()
    return Outcome(labels=torch.zeros_like(predicted), predicted=predicted, loss=loss)


def samples(n=20, classes=3, seed=0):
    inputs = normal(n, 4, seed=seed)
    return Samples("toy", inputs, torch.arange(n) % classes, classes=classes)


class Net(nn.Module):
    """Dropout and batch-norm: both answer differently, and one drifts, in training mode."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, classes))

    def forward(self, x):
        return self.body(x)


# Outcomes


def test_an_outcome_is_what_the_definition_says():
    logits, labels = normal(50, 3), torch.arange(50) % 3
    found = outcome_of(logits, labels)
    scores = logits.double().numpy()
    loss = np.log(np.exp(scores).sum(1)) - scores[np.arange(50), labels.numpy()]
    np.testing.assert_allclose(found.loss.numpy(), loss, rtol=1e-12)
    assert found.predicted.tolist() == scores.argmax(1).tolist()
    assert found.wrong.tolist() == (scores.argmax(1) != labels.numpy()).tolist()
    assert found.error == 100 * (scores.argmax(1) != labels.numpy()).mean()
    assert found.mean_loss == pytest.approx(loss.mean(), rel=1e-12)
    assert found.n == 50


def test_large_logits_have_a_finite_loss():
    assert outcome_of(torch.tensor([[1e4, -1e4]]), torch.tensor([1])).mean_loss == pytest.approx(2e4)


@pytest.mark.parametrize("shape", [(6,), (6, 3, 1), (5, 3), ()])
def test_logits_that_are_not_one_row_per_example_are_refused(shape):
    with pytest.raises(TaskMismatch, match=r"logits of shape \("):
        outcome_of(torch.zeros(shape), torch.zeros(6).long())


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_logit_is_refused(label):
    with pytest.raises(TaskMismatch, match="logits for 3 classes"):
        outcome_of(torch.zeros(2, 3), torch.tensor([0, label]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_logits_are_counted_and_refused(value):
    logits = torch.zeros(4, 3)
    logits[1:3, 0] = value
    with pytest.raises(NumericalFailure, match="2 of 12 logits not finite"):
        outcome_of(logits, torch.zeros(4).long())


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_evaluation_runs_every_example_once_in_order_and_in_eval_mode(batch_size):
    network, data = Net(), samples()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = evaluate(network, data, batch_size=batch_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    whole = outcome_of(network.eval()(data.inputs), data.labels)
    assert torch.equal(found.labels, data.labels)
    assert torch.equal(found.predicted, whole.predicted)
    np.testing.assert_allclose(found.loss.numpy(), whole.loss.numpy(), rtol=1e-5)


def flags(network):
    return [module.training for module in network.modules()]


def test_every_training_flag_is_restored():
    network = Net().train()
    network.body[1].training = False
    before = flags(network)
    evaluate(network, samples())
    assert flags(network) == before


def test_every_training_flag_is_restored_after_an_error():
    network = Net(classes=4).train()
    network.body[1].training = False
    before = flags(network)
    with pytest.raises(TaskMismatch, match="logits of shape"):
        evaluate(network, samples())
    assert flags(network) == before


def test_a_module_that_overrides_train_is_neither_called_nor_changed():
    class Stubborn(Net):
        def train(self, mode=True):
            raise RuntimeError("train() was called")

    evaluate(Stubborn(), samples())


def test_no_gradient_is_recorded():
    seen = []

    def network(x):
        seen.append(torch.is_grad_enabled())
        return x[:, :3]

    evaluate(network, samples())
    assert seen == [False]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("shape", [(20, 4), (20,), (20, 3, 1)])
def test_a_network_with_other_classes_is_refused(shape):
    with pytest.raises(TaskMismatch, match="'toy', which has 3 classes"):
        evaluate(lambda x: torch.zeros(shape), samples())


def test_a_network_that_loses_examples_is_refused():
    with pytest.raises(TaskMismatch, match=r"logits of shape \(19, 3\)"):
        evaluate(lambda x: x[1:, :3], samples())


def test_no_examples_are_refused():
    with pytest.raises(DataError, match="no examples"):
        evaluate(lambda x: x[:, :3], samples(n=0))


def test_non_finite_answers_are_refused():
    with pytest.raises(NumericalFailure, match="60 of 60 logits not finite"):
        evaluate(lambda x: x[:, :3] * float("nan"), samples())


# Sign


def assert_sign(difference):
    """The sign law: a worse stitched network has a positive penalty, a better one a negative."""
    good = outcome(wrong=[0] * 90 + [1] * 10, loss=[0.1] * 90 + [2.0] * 10)
    bad = outcome(wrong=[0] * 60 + [1] * 40, loss=[0.2] * 60 + [2.0] * 40)
    worse, better = difference(bad, good), difference(good, bad)
    assert worse.value == pytest.approx(30.0), "error"
    assert 0 < worse.interval.low < worse.value < worse.interval.high, "interval of the error"
    assert worse.loss_value > 0, "loss"
    assert 0 < worse.loss_interval.low < worse.loss_value < worse.loss_interval.high, "interval of the loss"
    assert (better.value, better.loss_value) == pytest.approx((-worse.value, -worse.loss_value)), "mirrored"
    assert (worse.error, worse.error_top, worse.n) == (40.0, 10.0, 100), "errors"


def test_worse_is_positive_for_error_and_loss():
    assert_sign(penalty_of)


def swapped(stitched, top):
    return penalty_of(top, stitched)


def loss_swapped(stitched, top):
    found, wrong = penalty_of(stitched, top), penalty_of(top, stitched)
    return Penalty(
        **{**vars(found), "loss_value": wrong.loss_value, "loss_interval": wrong.loss_interval},
    )


@pytest.mark.parametrize(("wrong", "reason"), [(swapped, "error"), (loss_swapped, "loss")])
def test_canary_the_sign_law_catches_swapped_operands(wrong, reason):
    with pytest.raises(AssertionError, match=reason):
        assert_sign(wrong)


def test_the_penalty_of_networks_is_the_penalty_of_their_outcomes():
    data = samples(60)
    stitched, top = Net(), Net()
    found = penalty(stitched, top, data, seed=3)
    assert found == penalty_of(evaluate(stitched, data), evaluate(top, data), seed=3)
    assert found.value == pytest.approx(found.error - found.error_top)


def test_a_worse_network_has_a_positive_penalty():
    data = samples(60)
    answers = nn.functional.one_hot(data.labels, 3).double()
    found = penalty(lambda x: -answers, lambda x: answers, data)
    assert (found.value, found.interval) == (100.0, Interval(100.0, 100.0))
    # The loss falls by one logit for the right class and rises by one for each other.
    assert found.loss_value == pytest.approx(math.log(2 + 1 / math.e) + 1 - math.log(2 + math.e) + 1)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_the_same_outcome_twice_is_exactly_zero(n):
    found = outcome_of(normal(n, 3), torch.arange(n) % 3)
    none = penalty_of(found, found)
    assert (none.value, none.interval) == (0.0, Interval(0.0, 0.0))
    assert (none.loss_value, none.loss_interval) == (0.0, Interval(0.0, 0.0))


# Intervals


def wobbly(n, seed):
    """Two outcomes that differ on 15 % of the examples: 10 % got worse, 5 % better; the loss grows by 0.1 ± 1."""
    random = numpy_generator("penalty test", n, seed)
    kind = random.random(n)
    loss = random.normal(size=n)
    return (
        outcome(kind < 0.3, loss + random.normal(0.1, 1.0, n)),
        outcome((kind >= 0.1) & (kind < 0.35), loss),
    )


def assert_naive_agrees(difference, resamples=20_000):
    stitched, top = wobbly(300, 0)
    found = difference(stitched, top, resamples=resamples)
    random = numpy_generator("penalty test", "naive")
    errors, losses = [], []
    for _ in range(resamples):
        drawn = random.integers(300, size=300)
        errors.append(100 * (stitched.wrong.numpy()[drawn].mean() - top.wrong.numpy()[drawn].mean()))
        losses.append(stitched.loss.numpy()[drawn].mean() - top.loss.numpy()[drawn].mean())
    # A 2.5 % quantile of 20,000 draws has a standard error of 0.02 standard deviations; two of them differ by less than
    # 0.15 with room to spare. Errors lie on a lattice of 100/300 points, and a quantile may fall on its next point.
    for interval, drawn, step in [(found.interval, errors, 100 / 300), (found.loss_interval, losses, 0.0)]:
        tolerance = 0.15 * np.std(drawn) + step
        assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=tolerance)


def test_the_intervals_are_those_of_a_naive_bootstrap():
    assert_naive_agrees(penalty_of)


def unpaired(stitched, top, resamples):
    """Resamples the two networks' answers apart, as if they were asked different examples."""
    apart = torch.randperm(300, generator=generator("penalty test", "apart"))
    top = Outcome(top.labels, top.predicted[apart], top.loss[apart])
    return penalty_of(stitched, top, resamples=resamples)


def test_canary_the_naive_bootstrap_catches_an_unpaired_interval():
    with pytest.raises(AssertionError, match="assert"):
        assert_naive_agrees(unpaired, resamples=2_000)


def assert_covers(difference):
    hits = np.zeros(2)
    for seed in range(200):
        found = difference(*wobbly(400, seed), resamples=400)
        hits += (
            found.interval.low <= 5.0 <= found.interval.high,
            found.loss_interval.low <= 0.1 <= (found.loss_interval.high),
        )
    assert ((hits / 200 >= 0.90) & (hits / 200 <= 0.99)).all(), hits


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    assert_covers(penalty_of)


def too_narrow(stitched, top, resamples):
    found = penalty_of(stitched, top, resamples=resamples)
    middle, half = found.value, (found.interval.high - found.interval.low) / 4
    return Penalty(**{**vars(found), "interval": Interval(middle - half, middle + half)})


def test_canary_the_coverage_catches_an_interval_of_half_the_width():
    with pytest.raises(AssertionError, match="assert"):
        assert_covers(too_narrow)


def test_the_seed_decides_the_interval_and_nothing_else():
    stitched, top = wobbly(300, 0)
    one, again, other = (penalty_of(stitched, top, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert (one.value, one.loss_value) == (other.value, other.loss_value)


def test_the_loss_is_resampled_in_parts_when_the_examples_are_many(monkeypatch):
    monkeypatch.setattr(sys.modules["modelstitch.penalty.difference"], "_DRAWN_AT_ONCE", 1000)
    assert_naive_agrees(penalty_of)


@pytest.mark.parametrize("at_once", [1, 900, 2**22])
def test_no_more_is_drawn_than_was_asked(monkeypatch, at_once):
    monkeypatch.setattr(sys.modules["modelstitch.penalty.difference"], "_DRAWN_AT_ONCE", at_once)
    found = penalty_of(*wobbly(300, 0), resamples=1)
    assert found.interval.low == found.interval.high
    assert found.loss_interval.low == found.loss_interval.high


@pytest.mark.parametrize("resamples", [0, -1])
def test_an_interval_from_no_resamples_is_refused(resamples):
    with pytest.raises(SettingError, match=f"an interval from {resamples} resamples"):
        penalty_of(outcome([0, 1]), outcome([0, 1]), resamples=resamples)


@pytest.mark.parametrize("compare", [penalty_of, agreement])
def test_outcomes_of_other_examples_are_refused(compare):
    ordered = Outcome(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.zeros(2).double())
    other = Outcome(torch.tensor([1, 0]), torch.tensor([1, 0]), torch.zeros(2).double())
    with pytest.raises(DataError, match="outcomes of 2 and 2 examples with other labels"):
        compare(ordered, other)
    with pytest.raises(DataError, match="outcomes of 2 and 3 examples"):
        compare(ordered, outcome([0, 0, 0]))
    with pytest.raises(DataError, match="outcomes of 0 and 0 examples"):
        compare(outcome([]), outcome([]))


# Agreement and printing


def test_agreement_is_the_share_of_equal_answers_right_or_wrong():
    labels, loss = torch.zeros(4).long(), torch.zeros(4).double()
    a = Outcome(labels, torch.tensor([0, 1, 2, 0]), loss)
    b = Outcome(labels, torch.tensor([0, 1, 1, 2]), loss)
    assert agreement(a, b) == 0.5
    assert agreement(a, a) == 1.0


def test_a_penalty_prints_its_sign_and_interval():
    found = Penalty(1.3, Interval(0.9, 1.7), 0.01, Interval(0.0, 0.02), 10_000, 9.3, 8.0)
    assert repr(found) == "Penalty(value=+1.30, interval=(+0.90, +1.70), n=10000)"
    none = Penalty(0.0, Interval(-0.001, 0.0), 0.0, Interval(0.0, 0.0), 7, 8.0, 8.0)
    assert repr(none) == "Penalty(value=+0.00, interval=(+0.00, +0.00), n=7)"

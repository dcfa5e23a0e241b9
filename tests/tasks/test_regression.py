"""R² and the squared error against scikit-learn and exact fractions; targets far from 0; what is refused."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_squared_error, r2_score
from task_laws import N, normal, regression

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, SettingError, TaskMismatch
from modelstitch.tasks import Regression

AVERAGES = {"equally": "uniform_average", "by_variance": "variance_weighted"}


def r2(outputs, targets, weigh="equally"):
    task = Regression(weigh)
    return task.scores[0].value(task.judge(outputs, Batch(torch.zeros(len(targets)), targets)).sums["r2"])


@pytest.mark.parametrize("weigh", AVERAGES)
def test_scores_are_those_of_scikit_learn(weigh):
    case = regression(weigh=weigh)
    targets = case.batch.targets * torch.tensor([1.0, 3.0, 0.1])
    values, numbers = case.outputs.numpy(), targets.numpy()
    found = case.task.judge(case.outputs, Batch(case.batch.inputs, targets))
    first, second = (score.value(found.sums[score.name]) for score in case.task.scores)
    assert first == pytest.approx(r2_score(numbers, values, multioutput=AVERAGES[weigh]), rel=1e-12)
    assert second == pytest.approx(mean_squared_error(numbers, values), rel=1e-12)
    assert found.answers is None


def exact_r2(outputs, targets):
    """The definition in fractions, without any rounding."""
    o, y = ([Fraction(value) for value in one.double().flatten().tolist()] for one in (outputs, targets))
    mean = sum(y) / len(y)
    return float(1 - sum((a - b) ** 2 for a, b in zip(o, y, strict=True)) / sum((b - mean) ** 2 for b in y))


def textbook_r2(outputs, targets):
    n, spread = len(targets), (targets**2).sum() - targets.sum() ** 2 / len(targets)
    return float(1 - ((outputs - targets) ** 2).sum() / spread) if n else None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1.0, -1e3, 32768.0, 1e6, -1e6])
def test_targets_far_from_0_lose_no_digits(offset, dtype):
    y = (normal(1000, seed=3) + offset).to(dtype)
    outputs = y.double() + normal(1000, seed=4) / 2
    assert r2(outputs, y) == pytest.approx(exact_r2(outputs, y), abs=1e-9)


def test_the_textbook_formula_would_lose_them():
    y = normal(1000, seed=3) + 1e6
    outputs = y + normal(1000, seed=4) / 2
    assert abs(textbook_r2(outputs, y) - exact_r2(outputs, y)) > 1e-6


def test_the_order_and_the_repeats_of_a_redrawn_sample_do_not_matter():
    case = regression()
    rows = case.judged().sums["r2"]
    drawn = torch.randint(N, (N,), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=N).double()
    score = case.task.scores[0]
    expected = r2(case.outputs[drawn], case.batch.targets[drawn])
    assert score.number(counts @ rows) == pytest.approx(expected, rel=1e-12)
    assert score.value(rows[drawn]) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-1e8, 1e8), st.floats(1.0, 1e3))
def test_r2_is_the_same_in_any_unit(offset, scale):
    y, outputs = normal(50, seed=5), normal(50, seed=5) + normal(50, seed=6) / 3
    moved = [(scale * one + offset) for one in (outputs, y)]
    digits = 1e-12 + 1e-20 * (offset / scale) ** 2
    assert r2(*moved) == pytest.approx(exact_r2(*moved), abs=digits)


def test_the_mean_of_the_targets_is_worth_0_and_the_targets_1():
    y = normal(20, 2) + 100
    assert r2(y, y) == 1.0
    assert r2(y.mean(0).expand(20, 2).clone(), y) == pytest.approx(0.0, abs=1e-9)
    assert r2(-y, y) < 0


@pytest.mark.parametrize("value", [0.0, 1.0, 2 / 7, -1e6 / 7, 1e-100])
@pytest.mark.parametrize("n", [2, 1000])
def test_constant_targets_have_no_r2(value, n):
    y = torch.stack([normal(n), torch.full((n,), value, dtype=torch.float64)], 1)
    message = rf"asked: the R² of {n} examples\nfound: 1 of 2 targets constant\ndo:    leave constant targets out, or"
    with pytest.raises(NumericalFailure, match=message):
        r2(y + 1, y)
    with pytest.raises(NumericalFailure, match=rf"R² of {n} examples\nfound: no target that varies"):
        r2(y[:, 1] + 1, y[:, 1], "by_variance")
    alone = r2(torch.stack([y[:, 0] + 0.5, y[:, 1]], 1), y, "by_variance")
    assert alone == pytest.approx(r2(y[:, 0] + 0.5, y[:, 0]))


def test_targets_that_hardly_vary_have_an_r2():
    y = 1e6 + 0.01 * normal(1000)
    assert r2(y, y) == 1.0


def test_sums_that_overflow_have_no_r2():
    y = 1e200 * normal(5)
    with pytest.raises(NumericalFailure, match="found: sums of squares not finite\ndo:    scale the targets down"):
        r2(y, y)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1)])
@pytest.mark.parametrize("targets", [(6,), (6, 1)])
def test_one_value_needs_no_axis_of_its_own(shape, targets):
    # An axis too many would broadcast to a 6 x 6 matrix and still give a number.
    y, outputs = normal(6), normal(6) + 0.5
    batch = Batch(torch.zeros(6), y.reshape(targets))
    Regression().check(outputs.reshape(shape), batch)
    found = Regression().judge(outputs.reshape(shape), batch)
    assert found.sums["mse"][:, 0].tolist() == pytest.approx([0.25] * 6)
    assert Regression().losses(outputs.reshape(shape), batch).tolist() == pytest.approx([0.25] * 6)


def test_targets_may_have_several_axes_and_be_integers():
    y = torch.arange(24).reshape(4, 2, 3)
    batch = Batch(torch.zeros(4), y)
    Regression().check(y + 1.0, batch)
    found = Regression().judge(y + 1.0, batch).sums
    assert Regression().scores[0].value(found["r2"]) == pytest.approx(r2_score(y.flatten(1), y.flatten(1) + 1.0))
    assert found["mse"].tolist() == [[1.0, 1.0]] * 4


def test_half_precision_outputs_have_losses():
    y = normal(4).float()
    losses = Regression().losses(y.bfloat16() + 1, Batch(torch.zeros(4), y))
    assert losses.dtype == torch.bfloat16
    assert np.allclose(losses.float(), 1, atol=0.05)


def test_an_unknown_weighting_is_refused():
    # Behind the back of the check of types, which only tests have.
    task = Regression()
    object.__setattr__(task, "weigh", "equaly")
    with pytest.raises(SettingError, match=r"found: weigh='equaly'\ndo:    choose one of equally, by_variance"):
        task.__post_init__()


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (normal(3, 2), normal(3, 3), r"found: outputs: float64 of shape \(3, 2\), targets: float64 of shape \(3, 3\)"),
        (normal(3, 2, 3), normal(3, 3, 2), r"outputs: float64 of shape \(3, 2, 3\)"),
        (normal(3, 2), normal(3), r"targets: float64 of shape \(3,\)\ndo:    give one number per output"),
        (normal(3), normal(3) > 0, r"targets: bool of shape \(3,\)"),
        (normal(3), normal(3).to(torch.complex64), r"targets: complex64 of shape \(3,\)"),
        (normal(3), [1.0, 2.0, 3.0], r"targets: a list"),
        (normal(3), torch.tensor([1.0, float("nan"), 2.0]), r"found: 1 of 3 targets not finite\ndo:    leave those"),
        (torch.tensor(1.0), normal(3), r"outputs: float32 of shape \(\)"),
    ],
)
def test_what_does_not_belong_together_is_refused(outputs, targets, message):
    with pytest.raises(TaskMismatch, match=rf"asked: the values of 3 examples\n(?s:.*){message}"):
        Regression().check(outputs, Batch(torch.zeros(3), targets))

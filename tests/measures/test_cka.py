"""Linear CKA, biased and debiased: oracles, streaming, regressions, errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from laws import normal

from modelstitch.errors import DataError, NumericalFailure, TooFewRows
from modelstitch.measures.cka import (
    CKA,
    CKA_DEBIASED,
    debiased_cka,
    debiased_cka_from_moments,
    linear_cka,
    linear_cka_from_moments,
)
from modelstitch.moments import Moments
from modelstitch.support.tensors import rows

BOTH = [pytest.param(measure, id=measure.name) for measure in (CKA, CKA_DEBIASED)]
# Fewer, as many and more channels than rows: rows, Gram matrices, and one of each.
SHAPES = [(30, 5, 4), (30, 1, 1), (7, 7, 3), (6, 9, 2), (6, 2, 9), (5, 20, 30)]


def sides(n, p, q, seed=0):
    x = normal(n, p, seed=seed)
    return x.float(), (torch.tanh(x @ normal(p, q, seed=seed + 1)) + 0.5 * normal(n, q, seed=seed + 2)).float()


def grams(x, y):
    return tuple(side.double().numpy() @ side.double().numpy().T for side in (x, y))


def biased(x, y):
    """HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)) with the centring matrix written out."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n
    k, m = (centring @ gram @ centring for gram in grams(x, y))
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def hsic(k, m):
    """Song et al.'s unbiased estimator, term by term, of Gram matrices that are not centred."""
    n, ones = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    means = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + means - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def debiased(x, y):
    k, m = grams(x, y)
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


ORACLES = {"cka": biased, "cka_debiased": debiased}


def quiet(measure, *args):
    """The value, whatever is said of too few rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooFewRows)
        return measure(*args)


def streamed(measure, x, y, size=4):
    accumulator = measure.accumulator()
    for begin in range(0, len(x), size):
        accumulator.update(x[begin : begin + size], y[begin : begin + size])
    return quiet(accumulator.compute)


def assert_equals_oracle(value, oracle, x, y):
    assert value(x, y) == pytest.approx(oracle(x, y), abs=1e-10)


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_equals_the_definition(measure, n, p, q):
    x, y = sides(n, p, q)
    assert_equals_oracle(lambda x, y: quiet(measure, x, y), ORACLES[measure.name], x, y)
    assert_equals_oracle(lambda x, y: streamed(measure, x, y), ORACLES[measure.name], x, y)


def uncentred(x, y):
    norm = torch.linalg.matrix_norm
    return float(norm(y.T @ x) ** 2 / norm(x.T @ x) / norm(y.T @ y))


def mean_of_batches(x, y):
    return float(np.mean([linear_cka(*batch) for batch in zip(x.split(10), y.split(10), strict=True)]))


def last_batch(x, y):
    return linear_cka(x[-10:], y[-10:])


def half_debiased(x, y):
    """Unbiased above the line alone, as one could forget."""
    n, (k, m) = len(x), grams(x - x.mean(0), y - y.mean(0))
    return n * (n - 3) * hsic(k, m) / np.linalg.norm(k) / np.linalg.norm(m)


@pytest.mark.parametrize(
    ("wrong", "oracle"),
    [
        (uncentred, biased),
        (mean_of_batches, biased),
        (last_batch, biased),
        (lambda x, y: linear_cka(x, y) ** 0.5, biased),
        (linear_cka, debiased),
        (half_debiased, debiased),
    ],
)
def test_canary_the_oracle_catches_a_wrong_measure(wrong, oracle):
    x, y = sides(30, 5, 4)
    with pytest.raises(AssertionError, match="assert"):
        assert_equals_oracle(wrong, oracle, x + 1, y)


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p"), [(30, 5), (7, 7), (5, 20)])
def test_a_side_takes_no_more_memory_than_its_rows(measure, n, p):
    assert measure.side(normal(n, p, seed=1)).values.shape == (n, min(n, p))


def test_the_functions_are_the_measures():
    x, y = sides(30, 5, 4)
    moments = Moments()
    moments.update(x, y)
    assert (linear_cka(x, y), debiased_cka(x, y)) == (CKA(x, y), CKA_DEBIASED(x, y))
    assert linear_cka_from_moments(moments) == CKA.from_moments(moments)
    assert debiased_cka_from_moments(moments) == CKA_DEBIASED.from_moments(moments)


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize("offset", [10.0, 1e4])
@pytest.mark.parametrize(("n", "p", "q"), [(400, 5, 4), (20, 40, 30)])
def test_regression_a_large_mean_in_float32_costs_no_digits(measure, n, p, q, offset):
    x, y = sides(n, p, q)
    x, y = x + offset, y + offset
    # The oracle multiplies first and centres after, with an error of its own, so it gets rows about zero.
    expected = ORACLES[measure.name](x.double() - offset, y.double() - offset)
    assert quiet(measure, x, y) == pytest.approx(expected, abs=1e-9)
    assert streamed(measure, x, y, 7) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", BOTH)
def test_regression_a_batch_of_one_counts_like_any_other(measure):
    x, y = sides(31, 5, 4)
    assert streamed(measure, x, y, 30) == pytest.approx(measure(x, y), rel=1e-10)
    assert streamed(measure, x, y, 1) == pytest.approx(measure(x, y), rel=1e-10)
    assert abs(measure(x, y) - measure(x[:30], y[:30])) > 1e-4


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p"), [(20, 3), (5, 9)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_regression_constant_activations_are_similar_to_nothing(measure, n, p, value):
    x, y = sides(n, p, p)
    for run in (lambda *pair: quiet(measure, *pair), lambda *pair: streamed(measure, *pair)):
        with pytest.raises(NumericalFailure, match="y is constant"):
            run(x, torch.full_like(y, value))
        with pytest.raises(NumericalFailure, match="x is constant"):
            run(torch.full_like(x, value), y)


def test_regression_fewer_rows_than_channels_are_told_and_debiased_stays_near_zero():
    unrelated = [(normal(20, 400, seed=seed), normal(20, 400, seed=seed + 100)) for seed in range(30)]
    with pytest.warns(TooFewRows, match="linear CKA of 20 rows with 400 and 400 channels"):
        assert linear_cka(*unrelated[0]) > 0.9
    moments = Moments()
    moments.update(*unrelated[0])
    with pytest.warns(TooFewRows, match="take cka_debiased"):
        assert linear_cka_from_moments(moments) > 0.9
    values = np.array([debiased_cka(*pair) for pair in unrelated])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.std() < 0.1
    assert values.min() < 0


def test_debiased_reaches_minus_one():
    # The identity and the negative of a Gram matrix, lifted until it is one: the diagonal does not count.
    gram = normal(6, 6, seed=1)
    gram = gram @ gram.T
    x = torch.linalg.cholesky(gram)
    y = torch.linalg.cholesky(50 * torch.eye(6) - gram)
    assert debiased_cka(x, y) == pytest.approx(-1.0, abs=1e-9)
    assert streamed(CKA_DEBIASED, x, y) == pytest.approx(-1.0, abs=1e-9)
    assert debiased_cka(x, y) >= -1.0


@pytest.mark.parametrize("p", [3, 12])
@pytest.mark.parametrize("height", [0.3, 1.0, 7.7, 1e3])
def test_debiased_has_no_value_where_nothing_is_left_without_the_diagonal(p, height):
    x, y = sides(9, p, p)
    lonely = torch.full_like(x, 0.1)
    lonely[4] = height * x[4]
    for run in (debiased_cka, lambda *pair: streamed(CKA_DEBIASED, *pair)):
        with pytest.raises(NumericalFailure, match="no covariance of x left without the diagonal"):
            run(lonely, y)
        with pytest.raises(NumericalFailure, match="no covariance of y left without the diagonal"):
            run(x, lonely)


@pytest.mark.parametrize("far", [1e2, 1e4])
def test_debiased_keeps_its_digits_with_a_row_far_from_the_others(far):
    x, y = (side.double() for side in sides(30, 5, 4))
    x[3] += far
    assert debiased_cka(x, y) == pytest.approx(debiased(x - x[4], y), abs=1e-6)
    assert streamed(CKA_DEBIASED, x, y) == pytest.approx(debiased(x - x[4], y), abs=1e-6)


def test_permuted_channels_of_a_map_are_the_same_at_every_position():
    maps = torch.relu(normal(4, 6, 3, 3, seed=1)) * torch.arange(1.0, 7.0).view(1, -1, 1, 1)
    permuted = maps[:, torch.tensor([3, 0, 5, 1, 2, 4])]
    assert linear_cka(rows(maps, "map"), rows(permuted, "map")) == pytest.approx(1.0, abs=1e-12)
    # Rows cut across the channels, as by a plain reshape, would miss it.
    assert linear_cka(maps.reshape(-1, 6), permuted.reshape(-1, 6)) < 0.9


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_neither_overflows_nor_underflows(measure, n, p, q, scale):
    x, y = sides(n, p, q)
    value = quiet(measure, x, y)
    assert quiet(measure, x * scale, y / scale) == pytest.approx(value, rel=1e-5)
    assert streamed(measure, x * scale, y / scale) == pytest.approx(value, rel=1e-5)


def test_values_out_of_the_range_of_float64_are_refused():
    x, y = (side.double() for side in sides(30, 5, 4))
    with pytest.raises(NumericalFailure, match=r"too large|squares of x"):
        streamed(CKA, x * 1e160, y)
    for scale in (1e-150, 1e-160, 1e-200):
        with pytest.raises(NumericalFailure, match="values of x too small to be squared"):
            streamed(CKA, x * scale, y)
    # Fourth powers leave it long before squares do.
    for scale in (1e90, 1e-90):
        assert debiased_cka(x * scale, y) == pytest.approx(debiased_cka(x, y), rel=1e-9)
        with pytest.raises(NumericalFailure, match="too large, or too small, to be squared"):
            streamed(CKA_DEBIASED, x * scale, y)


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_equal_sides_give_exactly_one(measure, n, p, q):
    for seed in range(20):
        x, _ = sides(n, p, q, seed)
        assert quiet(measure, x, x) == 1.0
        # The moments of the rows' lengths across the sides are summed in another order than those of one side.
        assert 1 - streamed(measure, x, x) <= (0.0 if measure is CKA else 1e-12)


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (0, 0), (5, 4)])
def test_too_few_or_unpaired_rows_are_refused(measure, n, m):
    found = f"{n} rows of x and {m} rows of y" if n != m else f"{n} paired rows"
    with pytest.raises(DataError, match=found):
        measure(torch.zeros(n, 3), torch.zeros(m, 3))


@pytest.mark.parametrize(("measure", "most"), [(CKA, 1), (CKA_DEBIASED, 3)], ids=["cka", "cka_debiased"])
def test_too_few_streamed_rows_are_refused(measure, most):
    with pytest.raises(DataError, match="no rows yet"):
        measure.accumulator().compute()
    with pytest.raises(DataError, match=f"{most} paired rows"):
        streamed(measure, *sides(most, 2, 2))


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize(("n", "p"), [(20, 3), (5, 9)])
def test_non_finite_activations_are_refused(measure, n, p):
    x, y = sides(n, p, p)
    with pytest.raises(NumericalFailure, match=r"values of y (that are )?not finite"):
        quiet(measure, x, y / 0.0)

"""Linear CKA: oracle, streaming, regressions, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelstitch.errors import DataError, NumericalFailure
from modelstitch.measures import LinearCKA, linear_cka, linear_cka_from_moments
from modelstitch.moments import Moments
from modelstitch.seeding import generator
from modelstitch.tensors import rows

# Fewer, as many and more channels than rows: both ways of computing it, and their border.
SHAPES = [(30, 5, 4), (30, 1, 1), (7, 7, 3), (6, 9, 2), (6, 2, 9), (5, 20, 30)]


def paired(n, p, q, seed=0):
    random = generator("cka test", n, p, q, seed)
    x = torch.randn(n, p, generator=random)
    return x, torch.tanh(x @ torch.randn(p, q, generator=random)) + 0.5 * torch.randn(n, q, generator=random)


def oracle(x, y):
    """HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)) with the centring matrix written out."""
    x, y = x.double().numpy(), y.double().numpy()
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def assert_equals_oracle(measure, x, y):
    assert measure(x, y) == pytest.approx(oracle(x, y), abs=1e-10)


def streamed(x, y, size=4):
    cka = LinearCKA()
    for batch in zip(x.split(size), y.split(size), strict=True):
        cka.update(*batch)
    return cka.compute()


@pytest.mark.parametrize("measure", [linear_cka, streamed])
@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_equals_the_definition(measure, n, p, q):
    assert_equals_oracle(measure, *paired(n, p, q))


def uncentred(x, y):
    norm = torch.linalg.matrix_norm
    return float(norm(y.T @ x) ** 2 / norm(x.T @ x) / norm(y.T @ y))


def mean_of_batches(x, y):
    return float(np.mean([linear_cka(*batch) for batch in zip(x.split(10), y.split(10), strict=True)]))


@pytest.mark.parametrize("wrong", [uncentred, mean_of_batches, lambda x, y: linear_cka(x, y) ** 0.5])
def test_canary_the_oracle_catches_a_wrong_measure(wrong):
    x, y = paired(30, 5, 4)
    with pytest.raises(AssertionError, match="assert"):
        assert_equals_oracle(wrong, x + 1, y)


@settings(deadline=None)
@given(size=st.integers(1, 30), offset=st.sampled_from([0.0, 10.0, 1e4]))
def test_any_batching_gives_the_one_shot_value(size, offset):
    x, y = paired(25, 4, 3)
    x = x + offset
    assert streamed(x, y, size) == pytest.approx(linear_cka(x, y), rel=1e-10)


@pytest.mark.parametrize("offset", [10.0, 1e4])
@pytest.mark.parametrize(("n", "p", "q"), [(400, 5, 4), (20, 40, 30)])
def test_a_large_mean_in_float32_costs_no_digits(n, p, q, offset):
    x, y = paired(n, p, q)
    x, y = x + offset, y + offset
    # The oracle centres in float64 after products of 1e8, hence its own error of about 1e-8 here.
    assert linear_cka(x, y) == pytest.approx(oracle(x - offset, y - offset), abs=1e-8)


def test_permuted_channels_of_a_map_are_the_same_at_every_position():
    random = generator("cka map test")
    maps = torch.relu(torch.randn(4, 6, 3, 3, generator=random)) * torch.arange(1.0, 7.0).view(1, -1, 1, 1)
    permuted = maps[:, torch.randperm(6, generator=random)]
    assert linear_cka(rows(maps, "map"), rows(permuted, "map")) == pytest.approx(1.0, abs=1e-12)
    # Rows cut across the channels, as by a plain reshape, would miss it.
    assert linear_cka(maps.reshape(-1, 6), permuted.reshape(-1, 6)) < 0.9


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_neither_overflows_nor_underflows(n, p, q, scale):
    x, y = paired(n, p, q)
    assert linear_cka(x * scale, y / scale) == pytest.approx(linear_cka(x, y), rel=1e-5)


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
def test_never_above_one(n, p, q):
    for seed in range(20):
        x, _ = paired(n, p, q, seed)
        assert 1.0 - 1e-12 <= linear_cka(x, x) <= 1.0


@pytest.mark.parametrize(("n", "p"), [(20, 3), (5, 9)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_activations_are_similar_to_nothing(n, p, value):
    x, y = paired(n, p, p)
    with pytest.raises(NumericalFailure, match="y is constant"):
        linear_cka(x, torch.full_like(y, value))
    with pytest.raises(NumericalFailure, match="x is constant"):
        linear_cka(torch.full_like(x, value), y)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (0, 0), (5, 4)])
def test_too_few_or_unpaired_rows_are_refused(n, m):
    with pytest.raises(DataError, match=f"{n} rows of x and {m} rows of y"):
        linear_cka(torch.zeros(n, 3), torch.zeros(m, 3))


@pytest.mark.parametrize("rows_seen", [0, 1])
def test_too_few_streamed_rows_are_refused(rows_seen):
    moments = Moments()
    if rows_seen:
        moments.update(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(DataError, match=f"{rows_seen} rows of x"):
        linear_cka_from_moments(moments)


@pytest.mark.parametrize(("n", "p"), [(20, 3), (5, 9)])
def test_non_finite_activations_are_refused(n, p):
    x, y = paired(n, p, p)
    with pytest.raises(NumericalFailure, match=r"values of y (that are )?not finite"):
        linear_cka(x, y / 0.0)

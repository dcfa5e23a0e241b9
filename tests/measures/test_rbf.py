"""CKA with a Gaussian kernel: oracle, the median, precision of distances, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from laws import normal
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

from modelstitch.errors import DataError, NumericalFailure, SettingError, TooFewRows
from modelstitch.measures.cka import linear_cka
from modelstitch.measures.rbf import CKA_RBF, rbf_cka


def sides(n, p, q, seed=0):
    x = normal(n, p, seed=seed)
    return x, torch.tanh(x @ normal(p, q, seed=seed + 1)) + 0.5 * normal(n, q, seed=seed + 2)


def cosine(k, m):
    return (k * m).sum() / np.linalg.norm(k) / np.linalg.norm(m)


def oracle(x, y, bandwidth=0.8):
    kernels = []
    for side in (x.double().numpy(), y.double().numpy()):
        apart = pdist(side)
        kernel = squareform(np.exp(-(apart**2) / (2 * (bandwidth * np.median(apart)) ** 2))) + np.eye(len(side))
        centring = np.eye(len(side)) - 1 / len(side)
        kernels.append(centring @ kernel @ centring)
    return cosine(*kernels)


@pytest.mark.parametrize(("n", "p", "q"), [(30, 5, 4), (31, 1, 1), (12, 5, 9), (3, 2, 2)])
@pytest.mark.parametrize("bandwidth", [0.2, 0.5, 0.8, 3.0])
def test_equals_the_definition(n, p, q, bandwidth):
    x, y = sides(n, p, q)
    assert rbf_cka(x, y, bandwidth=bandwidth) == pytest.approx(oracle(x, y, bandwidth), rel=1e-10)


def test_equals_scikit_learn():
    x, y = sides(30, 5, 4)
    gammas = [1 / (2 * (0.8 * np.median(pdist(side.numpy()))) ** 2) for side in (x, y)]
    kernels = [
        KernelCenterer().fit_transform(rbf_kernel(side.numpy(), gamma=gamma))
        for side, gamma in zip((x, y), gammas, strict=True)
    ]
    assert rbf_cka(x, y) == CKA_RBF(x, y) == pytest.approx(cosine(*kernels), rel=1e-10)


def published(x, y):
    """As the code of Kornblith et al.: the median of all squares, those of rows with themselves included."""
    kernels = []
    for side in (x.numpy(), y.numpy()):
        squares = squareform(pdist(side, "sqeuclidean"))
        kernels.append(np.exp(-squares / (2 * 0.8**2 * np.median(squares))))
    centring = np.eye(len(x)) - 1 / len(x)
    return cosine(*(centring @ kernel @ centring for kernel in kernels))


def uncentred(x, y):
    kernels = []
    for side in (x.numpy(), y.numpy()):
        squares = squareform(pdist(side, "sqeuclidean"))
        kernels.append(np.exp(-squares / (2 * (0.8 * np.median(pdist(side))) ** 2)))
    return cosine(*kernels)


def without_two(x, y):
    return oracle(x, y, 0.8 / np.sqrt(2))


@pytest.mark.parametrize("wrong", [published, uncentred, without_two, linear_cka])
def test_canary_the_oracle_tells_another_convention(wrong):
    x, y = sides(20, 5, 4)
    assert abs(wrong(x, y) - oracle(x, y)) > 1e-4


def test_a_wide_kernel_is_the_linear_one():
    x, y = sides(30, 5, 4)
    assert rbf_cka(x, y, bandwidth=1e3) == pytest.approx(linear_cka(x, y), abs=1e-5)


def test_a_narrow_kernel_finds_anything_alike():
    x, y = normal(30, 5, seed=1), normal(30, 5, seed=2)
    values = [rbf_cka(x, y, bandwidth=width) for width in (0.8, 0.4, 0.2, 0.02)]
    assert values == sorted(values)
    assert values[-1] > 0.999


@pytest.mark.parametrize("offset", [10.0, 1e4])
def test_regression_a_large_mean_in_float32_costs_no_digits(offset, monkeypatch):
    x, y = ((side + offset).float() for side in sides(30, 5, 4))
    expected = oracle(x.double() - offset, y.double() - offset)
    # Centred first, the fast way to the distances has the digits, and the slow one is not taken.
    monkeypatch.setattr(torch, "cdist", None)
    assert rbf_cka(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9])
def test_rows_far_from_all_others_cost_the_others_no_digits(far):
    x, y = sides(40, 5, 4)
    x[:4] += far
    assert rbf_cka(x, y) == pytest.approx(oracle(x, y), rel=1e-8)


@pytest.mark.parametrize("scale", [1e-159, 1e-30, 1e30, 1e140])
def test_the_scale_neither_overflows_nor_underflows(scale):
    x, y = sides(20, 5, 4)
    assert rbf_cka(x, y * scale) == pytest.approx(rbf_cka(x, y), rel=1e-9)


def test_repeated_rows_are_fine_until_they_are_most_pairs():
    x, y = sides(20, 5, 4)
    half, most = x.clone(), x.clone()
    # 45 of 190 pairs are equal; then 105 are.
    half[:10], most[:15] = half[0].clone(), most[0].clone()
    assert rbf_cka(half, y) == pytest.approx(oracle(half, y), rel=1e-10)
    for run in (lambda: rbf_cka(most, y), lambda: rbf_cka(y, most + 1e3)):
        with pytest.raises(NumericalFailure, match="the median distance is 0"):
            run()


def test_regression_fewer_rows_than_channels_are_told():
    x, y = normal(20, 400, seed=1), normal(20, 400, seed=2)
    with pytest.warns(TooFewRows, match="RBF CKA of 20 rows with 400 and 400 channels"):
        assert rbf_cka(x, y) > 0.9


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_regression_constant_activations_are_similar_to_nothing(value):
    x, y = sides(20, 5, 4)
    with pytest.raises(NumericalFailure, match="y is constant"):
        rbf_cka(x, torch.full_like(y, value))
    dead = torch.full((20, 1), value)
    assert rbf_cka(torch.cat([x, dead], 1), y) == pytest.approx(rbf_cka(x, y), rel=1e-9)


def test_equal_sides_give_one_and_never_more():
    for seed in range(20):
        x, _ = sides(20, 5, 4, seed)
        assert 1 - 1e-12 <= rbf_cka(x, x) <= 1.0


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("inf"), float("nan")])
def test_a_bandwidth_that_is_not_positive_is_refused(bandwidth):
    x, y = sides(20, 5, 4)
    with pytest.raises(SettingError, match="bandwidth="):
        rbf_cka(x, y, bandwidth=bandwidth)


def test_it_does_not_stream():
    with pytest.raises(SettingError, match=r"MEASURES\['cka_rbf'\]"):
        CKA_RBF.accumulator()


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_rows_are_refused(n):
    x, y = sides(n, 3, 3)
    with pytest.raises(DataError, match=f"{n} paired rows"):
        rbf_cka(x, y)

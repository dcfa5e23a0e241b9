"""Canonical correlations: oracles, what counts as a dimension, the promises, streaming, errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from laws import moved, normal, pair
from sklearn.cross_decomposition import CCA as ScikitCCA
from sklearn.decomposition import PCA

from modelstitch.errors import DataError, NumericalFailure, SettingError, TooFewRows
from modelstitch.measures import INVARIANCES, permutation_null
from modelstitch.measures.cca import (
    CCA,
    PWCCA,
    SVCCA,
    mean_cca,
    mean_cca_from_moments,
    pwcca,
    pwcca_from_moments,
    svcca,
    svcca_from_moments,
)
from modelstitch.moments import Moments

ALL = [pytest.param(measure, id=measure.name) for measure in (CCA, SVCCA, PWCCA)]
SHAPES = [(40, 3, 7), (40, 7, 3), (40, 5, 5), (20, 1, 4), (13, 6, 6)]


def sides(n, p, q, noise=1.0):
    """Channels of unequal variance, correlated within and across the sides."""
    x = normal(n, p, seed=1) * torch.logspace(0, -1.5, p) + 0.3 * normal(n, 1, seed=4)
    y = torch.tanh(x) @ normal(p, q, seed=2) + noise * normal(n, q, seed=3) * torch.logspace(0, -1.5, q)
    return x + 3.0, y - 1.0


def centred(x):
    x = x.double().numpy()
    return x - x.mean(0)


def correlations(a, b):
    """Cosines of the principal angles, by SciPy."""
    return np.cos(scipy.linalg.subspace_angles(a, b))


def expected_cca(x, y):
    (left, _), (right, _) = (np.linalg.qr(centred(side)) for side in (x, y))
    return np.linalg.svd(left.T @ right, compute_uv=False).mean()


def expected_svcca(x, y, variance=0.99):
    components = []
    for side in (centred(x), centred(y)):
        shares = np.linalg.svd(side, compute_uv=False) ** 2 / (side**2).sum()
        kept = next(k for k in range(1, len(shares) + 1) if shares[:k].sum() >= variance)
        components.append(PCA(kept, svd_solver="full").fit_transform(side))
    return correlations(*components).mean()


def canonical(x, y):
    """Canonical variables of x and the correlations, largest first, from the textbook's eigenvalue problem."""
    a, b = centred(x), centred(y)
    explained = a.T @ b @ np.linalg.solve(b.T @ b, b.T @ a)
    squares, vectors = scipy.linalg.eigh(explained, a.T @ a)
    leading = min(a.shape[1], b.shape[1])
    variables = a @ vectors[:, ::-1][:, :leading]
    return variables / np.linalg.norm(variables, axis=0), np.sqrt(squares[::-1][:leading])


def expected_pwcca(x, y):
    variables, rho = canonical(x, y)
    weights = np.abs(variables.T @ centred(x)).sum(1)
    return (weights * rho).sum() / weights.sum()


EXPECTED = [(CCA, expected_cca), (SVCCA, expected_svcca), (PWCCA, expected_pwcca)]


def streamed(x, y, size=7):
    moments = Moments()
    for begin in range(0, len(x), size):
        moments.update(x[begin : begin + size], y[begin : begin + size])
    return moments


@pytest.mark.parametrize(("measure", "expected"), EXPECTED, ids=["cca", "svcca", "pwcca"])
@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
@pytest.mark.parametrize("noise", [0.01, 1.0, 20.0])
def test_equals_the_definition(measure, expected, n, p, q, noise):
    x, y = sides(n, p, q, noise)
    assert measure(x, y) == pytest.approx(expected(x, y), rel=1e-9)
    assert measure.from_moments(streamed(x, y)) == pytest.approx(measure(x, y), rel=1e-9)


def test_the_functions_are_the_measures():
    x, y = sides(30, 5, 4)
    assert (mean_cca(x, y), svcca(x, y), pwcca(x, y)) == (CCA(x, y), SVCCA(x, y), PWCCA(x, y))
    moments = streamed(x, y)
    assert mean_cca_from_moments(moments) == CCA.from_moments(moments)
    assert svcca_from_moments(moments) == SVCCA.from_moments(moments)
    assert pwcca_from_moments(moments) == PWCCA.from_moments(moments)


def test_equals_scikit_learn():
    x, y = sides(60, 4, 3)
    scores = ScikitCCA(3, max_iter=10_000, tol=1e-14).fit(x.numpy(), y.numpy()).transform(x.numpy(), y.numpy())
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(scores[0].T, scores[1].T, strict=True)]
    assert mean_cca(x, y) == pytest.approx(np.mean(found), abs=1e-6)


def test_golden_values():
    # Two channels that are orthogonal to each other, against one that lies 60 degrees from the first: ρ = 1/2.
    t = torch.arange(8).double() * np.pi / 4
    wave = torch.stack([torch.cos(t), torch.sin(t), torch.cos(2 * t), torch.sin(2 * t)], 1)
    tilted = 0.5 * wave[:, :1] + np.sqrt(0.75) * wave[:, 2:3]
    assert mean_cca(wave[:, :2], tilted) == pytest.approx(0.5, rel=1e-12)
    # Against both that one and the second wave itself: ρ = 1 and 1/2.
    y = torch.cat([tilted, wave[:, 1:2]], 1)
    assert mean_cca(wave[:, :2], y) == pytest.approx(0.75, rel=1e-12)
    # Weighted 3 to 1 by what the directions account for in x, and 1 to 1 in y.
    x = wave[:, :2] * torch.tensor([1.0, 3.0])
    assert pwcca(x, y) == pytest.approx((3 * 1 + 1 * 0.5) / 4, rel=1e-12)
    assert pwcca(y, x) == pytest.approx(0.75, rel=1e-12)


@pytest.mark.parametrize("variance", [0.3, 0.5, 0.8, 0.999])
def test_svcca_keeps_the_share_that_is_asked_for(variance):
    x, y = sides(60, 6, 5)
    assert svcca(x, y, variance=variance) == pytest.approx(expected_svcca(x, y, variance), rel=1e-9)
    streams = svcca_from_moments(streamed(x, y), variance=variance)
    assert streams == pytest.approx(expected_svcca(x, y, variance), rel=1e-9)


def test_svcca_asks_for_no_component_more_where_the_share_is_exact():
    # Orthogonal waves with 90 and 10 % of the variance; every rotation rounds the shares in its own way.
    t = torch.arange(16).double() * np.pi / 8
    x = torch.stack([3 * torch.cos(t), torch.cos(2 * t)], 1)
    y = torch.cos(2 * t)[:, None] + torch.sin(3 * t)[:, None]
    for seed in range(20):
        turned = x @ torch.linalg.qr(normal(2, 2, seed=seed)).Q
        assert svcca(turned, y, variance=0.9) < 1e-6
        assert svcca_from_moments(streamed(turned, y), variance=0.9) < 1e-6


def test_the_weighted_mean_moves_with_what_moves_its_weights():
    # Only the weights move, and the law's channels of like variance weigh almost alike: by 10⁻², no more.
    for invariance in INVARIANCES - PWCCA.promises.invariances:
        assert max(moved(PWCCA, invariance, fixed) for fixed in range(5)) > 1e-3
    assert max(abs(PWCCA(*pair(fixed)) - PWCCA(*pair(fixed)[::-1])) for fixed in range(5)) > 1e-3


def test_the_weights_are_those_of_x_and_blind_to_any_map_of_y():
    x, y = sides(40, 6, 3)
    mixed = y @ normal(3, 3, seed=5)
    assert pwcca(x, mixed) == pytest.approx(pwcca(x, y), rel=1e-9)
    assert abs(pwcca(x @ normal(6, 6, seed=5), y) - pwcca(x, y)) > 1e-3
    # The side with more channels keeps its weights: no swap for size, as in Google's code.
    assert pwcca(y, x) == pytest.approx(expected_pwcca(y, x), rel=1e-9)
    assert abs(pwcca(y, x) - pwcca(x, y)) > 1e-3


def awkward(x, kind):
    """More channels, in float32 as a network would make them, without a dimension more."""
    x = x.float()
    mix = normal(x.shape[1], 40, seed=6).float()
    match kind:
        case "dead":
            return torch.cat([x, torch.zeros(len(x), 5)], 1)
        case "constant":
            return torch.cat([x, torch.full((len(x), 5), 0.1)], 1)
        case "repeated":
            return torch.cat([x, x], 1)
        case "collinear":
            return x @ mix
        case "collinear_far_from_zero":
            return x @ mix + 100 * mix.abs().sum(0)
        case "other_units":
            return x * torch.logspace(-6, 6, x.shape[1])


KINDS = ["dead", "constant", "repeated", "collinear", "collinear_far_from_zero", "other_units"]


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_add_no_dimension_do_not_count(kind):
    x, y = normal(50, 6, seed=1), pair(0)[1]
    y = torch.cat([y, y, y])[:50] + 0.3 * x[:, :4]
    expected = mean_cca(x, y)
    wide = awkward(x, kind)
    assert CCA.side(wide.double()).basis.shape == (50, 6)
    # What is left is the rounding of float32.
    assert mean_cca(wide, y) == pytest.approx(expected, abs=2e-4)
    assert mean_cca(y, wide) == pytest.approx(expected, abs=2e-4)
    assert mean_cca_from_moments(streamed(wide, y)) == pytest.approx(expected, abs=2e-4)
    assert 0.0 <= pwcca(wide, y) <= 1.0
    assert pwcca_from_moments(streamed(wide, y)) == pytest.approx(pwcca(wide, y), abs=1e-6)


def test_a_direction_of_little_variance_counts_until_the_floor():
    x, y = sides(50, 3, 3)
    for spread, rank in ((1e-3, 4), (1e-4, 4), (1e-5, 3), (1e-7, 3)):
        nearly = torch.cat([x, x[:, :1] + spread * normal(50, 1, seed=7)], 1)
        assert CCA.side(nearly).basis.shape == (50, rank)
        whole = streamed(nearly, y)
        assert mean_cca_from_moments(whole) == pytest.approx(mean_cca(nearly, y), abs=1e-5)


def test_few_dimensions_in_many_channels_are_fine():
    x, y = sides(20, 3, 4)
    wide = x @ normal(3, 60, seed=8)
    assert mean_cca(wide, y) == pytest.approx(mean_cca(x, y), rel=1e-9)
    assert mean_cca_from_moments(streamed(wide, y)) == pytest.approx(mean_cca(x, y), rel=1e-9)


def orthonormal(n, p, seed):
    return torch.linalg.qr(centred_rows(normal(n, p, seed=seed))).Q


def centred_rows(x):
    return x - x.mean(0)


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(("n", "forced", "verb"), [(9, 0, ""), (8, 1, "is"), (7, 2, "are"), (6, 3, "are")])
def test_correlations_that_are_forced_are_counted_in_a_warning(measure, n, forced, verb):
    # Channels of one variance, so that SVCCA keeps all of them.
    x, y = orthonormal(n, 4, seed=1), orthonormal(n, 4, seed=2)
    found = correlations(centred(x), centred(y))
    assert int((found > 1 - 1e-9).sum()) == forced
    for run in (measure, lambda a, b: measure.from_moments(streamed(a, b, 3))):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            value = run(x, y)
        if measure is not PWCCA:
            assert value == pytest.approx(found.mean(), abs=1e-9)
        assert 0 < value < 1
        assert [one.category for one in told] == [TooFewRows] * (forced > 0)
        if forced:
            assert f"{n} rows that fill 4 and 4 dimensions: {forced} of the 4 correlations {verb} 1" in str(
                told[0].message
            )
            with pytest.warns(TooFewRows):
                assert run(x, x) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("measure", ALL)
def test_sixty_rows_of_thirty_and_thirty_channels_have_a_value(measure):
    x, y = orthonormal(60, 30, seed=1), orthonormal(60, 30, seed=2)
    with pytest.warns(TooFewRows, match="1 of the 30 correlations is 1 whatever the data; give more than 60 rows"):
        assert 0.5 < measure(x, y) < 0.8


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(("n", "p", "q"), [(5, 4, 4), (5, 4, 2), (5, 2, 4), (4, 4, 4), (3, 1, 4)])
def test_rows_that_one_side_fills_force_every_correlation_and_are_refused(measure, n, p, q):
    x, y = orthonormal(n, min(p, n - 1), seed=1), orthonormal(n, min(q, n - 1), seed=2)
    np.testing.assert_allclose(correlations(centred(x), centred(y)), 1.0)
    for run in (measure, lambda a, b: measure.from_moments(streamed(a, b, 2))):
        with pytest.raises(
            DataError, match=f"{n} rows that fill . and . dimensions: any two such sets agree perfectly\n"
        ):
            run(x, y)


def test_a_null_of_forced_correlations_warns_once():
    x, y = orthonormal(8, 4, seed=1), orthonormal(8, 4, seed=2)
    with pytest.warns(TooFewRows) as told:
        permutation_null("cca", x, y, permutations=5)
    assert len(told) == 1


@pytest.mark.parametrize("tiny", [1e-160, 1e-200, 1e-300, 1e200])
def test_a_channel_of_any_unit_counts_in_cca(tiny):
    x, y = sides(40, 4, 5)
    units = torch.tensor([1.0, tiny, 1.0, 1.0], dtype=torch.float64)
    assert mean_cca(x * units, y) == pytest.approx(mean_cca(x, y), abs=1e-9)
    assert mean_cca(y, x * units) == pytest.approx(mean_cca(y, x), abs=1e-9)
    with pytest.raises(NumericalFailure, match=r"too small to be squared|too large to square"):
        mean_cca_from_moments(streamed(x * units, y))


@pytest.mark.parametrize("measure", ALL)
def test_too_few_streamed_rows_are_refused(measure):
    x, y = pair(0)
    with pytest.raises(DataError, match="2 paired rows\ndo:    give at least 3"):
        measure.from_moments(streamed(x[:2], y[:2]))
    with pytest.raises(DataError, match="no rows yet"):
        measure.from_moments(Moments())


@pytest.mark.parametrize("measure", ALL)
def test_streamed_constant_activations_are_similar_to_nothing(measure):
    x, y = pair(0)
    with pytest.raises(NumericalFailure, match="y is constant"):
        measure.from_moments(streamed(x, torch.full_like(y, 0.1)))
    with pytest.raises(NumericalFailure, match="x is constant"):
        measure.from_moments(streamed(torch.full_like(x, 0.1), y))


@pytest.mark.parametrize("measure", ALL)
def test_the_scale_neither_overflows_nor_underflows(measure):
    x, y = sides(40, 4, 5)
    for scale in (1e-30, 1e30):
        assert measure(x * scale, y / scale) == pytest.approx(measure(x, y), rel=1e-9)
        assert measure.from_moments(streamed(x * scale, y / scale)) == pytest.approx(measure(x, y), rel=1e-9)
    with pytest.raises(NumericalFailure, match="too large to square"):
        streamed(x * 1e158, y)
    with pytest.raises(NumericalFailure, match="values of x too small to be squared"):
        measure.from_moments(streamed(x * 1e-158, y))
    with pytest.raises(NumericalFailure, match="values of y too small to be squared"):
        measure.from_moments(streamed(x, y * 1e-200))


@pytest.mark.parametrize("measure", ALL)
def test_never_above_one_and_one_on_equals(measure):
    for seed in range(20):
        x, _ = pair(seed)
        assert 1 - 1e-12 <= measure(x, x) <= 1.0
        assert 1 - 1e-9 <= measure.from_moments(streamed(x, x)) <= 1.0


@pytest.mark.parametrize("variance", [0.0, 1.0, -0.5, 99.0, float("nan")])
def test_a_share_that_is_none_is_refused(variance):
    x, y = pair(0)
    with pytest.raises(SettingError, match=f"variance={variance}, which is not between 0 and 1"):
        svcca(x, y, variance=variance)
    with pytest.raises(SettingError, match="not between 0 and 1"):
        svcca_from_moments(streamed(x, y), variance=variance)


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("value", [float("nan"), 1.01])
def test_canary_values_that_are_no_correlations_are_not_clamped(measure, value, monkeypatch):
    x, y = pair(0)
    moments = streamed(x, y)
    svd = torch.linalg.svd

    def broken(a, full_matrices=True):
        u, s, vh = svd(a, full_matrices=full_matrices)
        # The decompositions of the sides, which have n rows, stay as they are.
        return (u, s if len(a) == len(x) else torch.full_like(s, value), vh)

    monkeypatch.setattr(torch.linalg, "svd", broken)
    monkeypatch.setattr(torch.linalg, "svdvals", lambda a: broken(a)[1])
    with pytest.raises(NumericalFailure, match=f"largest correlation of {value}"):
        measure(x, y)
    with pytest.raises(NumericalFailure, match=f"largest correlation of {value}"):
        measure.from_moments(moments)


def squared(x, y):
    return (canonical(x, y)[1] ** 2).mean()


def over_the_channels_of_x(x, y):
    return canonical(x, y)[1].sum() / x.shape[1]


def uncentred(x, y):
    return correlations(x.numpy(), y.numpy()).mean()


def weights_of_y(x, y):
    return expected_pwcca(y, x)


def by_singular_values(x, y):
    """SVCCA with the share taken of singular values in place of their squares."""
    kept = []
    for side in (centred(x), centred(y)):
        u, s, _ = np.linalg.svd(side, full_matrices=False)
        kept.append(u[:, : int((s.cumsum() < 0.99 * s.sum()).sum()) + 1])
    return correlations(*kept).mean()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (mean_cca, squared),
        (mean_cca, over_the_channels_of_x),
        (mean_cca, uncentred),
        (mean_cca, pwcca),
        (pwcca, weights_of_y),
        (svcca, mean_cca),
        (svcca, by_singular_values),
    ],
)
def test_canary_the_oracles_tell_another_convention(right, wrong):
    x, y = sides(40, 7, 5)
    assert abs(right(x, y) - wrong(x, y)) > 1e-3

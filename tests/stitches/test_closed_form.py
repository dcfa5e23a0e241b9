"""Closed-form matching: oracles, the laws of recovery and nesting, errors."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch
from modelstitch.moments import Moments
from modelstitch.stitches.closed_form import CUT_OFF, Solution, assignment, least_squares, procrustes, ridge
from modelstitch.support.seeding import generator

FAMILIES = [least_squares, lambda moments: ridge(moments, 0.1), procrustes, assignment]


def normal(*shape, seed):
    return torch.randn(*shape, generator=generator("closed form test", *shape, seed)).double()


def moments_of(x, y, size=16):
    moments = Moments()
    for batch in zip(x.split(size), y.split(size), strict=True):
        moments.update(*batch)
    return moments


def residual_by_definition(solution, x, y):
    left = y - x @ solution.weight.T - solution.bias
    return float(left.square().sum() / (y - y.mean(0)).square().sum())


def pair(n=50, p=4, q=3, seed=0, offset=0.0):
    """Related rows; an offset is another one in every channel, so that it matters which channel meets which."""
    x = normal(n, p, seed=seed)
    y = torch.tanh(x) @ normal(p, q, seed=seed + 1) + 0.3 * normal(n, q, seed=seed + 2)
    return x + offset * torch.linspace(1, 2, p).double(), y - offset * torch.linspace(2, 1, q).double().square()


# Oracles


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e4])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_is_the_definition(family, offset):
    x, y = pair(p=3, q=3, offset=offset)
    solution = family(moments_of(x, y))
    assert solution.residual == pytest.approx(residual_by_definition(solution, x, y), rel=1e-8)


def affine_oracle(x, y):
    """Least squares by numpy's singular values, on centred rows, so that the bias is not in the norm."""
    x, y = x.numpy(), y.numpy()
    weight = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-5)[0].T
    return weight, y.mean(0) - weight @ x.mean(0)


@pytest.mark.parametrize(("n", "p", "q"), [(50, 4, 3), (50, 3, 5), (6, 9, 2), (2, 4, 3)])
def test_least_squares_equals_numpy_also_with_fewer_rows_than_channels(n, p, q):
    x, y = pair(n, p, q)
    solution = least_squares(moments_of(x, y))
    weight, bias = affine_oracle(x, y)
    np.testing.assert_allclose(solution.weight.numpy(), weight, atol=1e-9)
    np.testing.assert_allclose(solution.bias.numpy(), bias, atol=1e-9)


def test_dead_constant_and_duplicate_channels_do_no_harm():
    x, y = pair()
    x = torch.cat([x, x[:, :1], 0.0 * x[:, :1], 0.0 * x[:, :1] + 0.1], dim=1)
    solution = least_squares(moments_of(x, y))
    np.testing.assert_allclose(solution.weight.numpy(), affine_oracle(x, y)[0], atol=1e-9)
    assert solution.weight[:, 5:].tolist() == [[0.0, 0.0]] * 3
    # Of all ways to share a weight between twins, the least norm gives each half.
    np.testing.assert_allclose(solution.weight[:, 0].numpy(), solution.weight[:, 4].numpy(), atol=1e-9)


def test_float32_rounding_of_a_duplicate_gets_no_weight():
    x, y = pair()
    x = x.float()
    twin = x[:, :1] * (1 + 1e-6 * normal(50, 1, seed=9).float())
    solution = least_squares(moments_of(torch.cat([x, twin], dim=1), y))
    assert float(solution.weight.abs().max()) < 10


def rounded(value, *shape):
    """A constant as float64 computes it: the value, give or take a few of its last bits."""
    return value * (1 + 1e-15 * normal(*shape, seed=8))


@pytest.mark.parametrize("family", [least_squares, lambda moments: ridge(moments, 0.1)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 + 0.1])
def test_a_source_without_variance_gives_the_mean(family, value):
    _, y = pair()
    solution = family(moments_of(rounded(value, 50, 2), y))
    assert solution.weight.abs().max() == 0.0
    np.testing.assert_allclose(solution.bias.numpy(), y.mean(0).numpy(), rtol=1e-12)
    assert solution.residual == pytest.approx(1.0, rel=1e-12)


def test_a_constant_target_channel_gets_its_value_and_no_weight():
    x, y = pair()
    y[:, 1] = rounded(1e4 + 0.1, 50)
    solution = least_squares(moments_of(x, y))
    assert solution.weight[1].tolist() == [0.0] * 4
    assert float(solution.bias[1]) == pytest.approx(1e4 + 0.1, rel=1e-12)
    rest = least_squares(moments_of(x, y[:, [0, 2]]))
    np.testing.assert_allclose(solution.weight[[0, 2]].numpy(), rest.weight.numpy(), rtol=1e-12)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_ridge_equals_the_solution_of_its_equations(strength):
    x, y = pair(offset=2.0)
    solution = ridge(moments_of(x, y), strength)
    a, b = (x - x.mean(0)).numpy(), (y - y.mean(0)).numpy()
    load = strength * np.trace(a.T @ a) / 4 * np.eye(4)
    weight = np.linalg.solve(a.T @ a + load, a.T @ b).T
    np.testing.assert_allclose(solution.weight.numpy(), weight, atol=1e-10)
    np.testing.assert_allclose(solution.bias.numpy(), y.mean(0).numpy() - weight @ x.mean(0).numpy(), atol=1e-10)


def test_the_strength_of_ridge_is_measured_against_the_mean_of_all_channels_dead_ones_too():
    x, y = pair()
    with_dead = torch.cat([x, torch.zeros(50, 4).double()], dim=1)
    expected = ridge(moments_of(x, y), 0.05).weight
    np.testing.assert_allclose(ridge(moments_of(with_dead, y), 0.1).weight[:, :4].numpy(), expected.numpy(), rtol=1e-10)


def test_the_strength_of_ridge_has_no_unit():
    x, y = pair()
    one, thousand = ridge(moments_of(x, y), 0.1), ridge(moments_of(1000 * x, y), 0.1)
    np.testing.assert_allclose(one.weight.numpy(), 1000 * thousand.weight.numpy(), rtol=1e-10)
    assert one.residual == pytest.approx(thousand.residual, rel=1e-10)


def test_ridge_of_strength_zero_is_least_squares():
    moments = moments_of(*pair())
    assert torch.equal(ridge(moments, 0.0).weight, least_squares(moments).weight)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_procrustes_equals_scipy(offset):
    x, y = pair(p=4, q=4, offset=offset)
    solution = procrustes(moments_of(x, y))
    expected, _ = scipy.linalg.orthogonal_procrustes(x.numpy(), y.numpy())
    np.testing.assert_allclose(solution.weight.numpy(), expected.T, atol=1e-9)
    assert solution.bias.tolist() == [0.0] * 4


@pytest.mark.parametrize("p", [1, 2, 5])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_assignment_equals_brute_force(p, offset):
    x, y = pair(p=p, q=p, offset=offset)
    solution = assignment(moments_of(x, y))
    best = min(itertools.permutations(range(p)), key=lambda order: float((y - x[:, order]).square().sum()))
    assert solution.weight.argmax(1).tolist() == list(best)
    assert torch.equal(solution.weight.sum(0), torch.ones(p).double())


# Recovery


def permuting(p):
    # A cycle: unlike a swap, not its own inverse, so that a transposed weight is seen.
    return torch.eye(p).double().roll(1, 0)


def rotating(p):
    return torch.linalg.qr(normal(p, p, seed=5)).Q


def mixing(p):
    return normal(p, p, seed=6)


CASES = [
    pytest.param(assignment, permuting, 0.0, id="permutation"),
    pytest.param(procrustes, permuting, 0.0, id="orthogonal-permuted"),
    pytest.param(procrustes, rotating, 0.0, id="orthogonal"),
    pytest.param(least_squares, permuting, 3.0, id="affine-permuted"),
    pytest.param(least_squares, rotating, 3.0, id="affine-rotated"),
    pytest.param(least_squares, mixing, 3.0, id="affine"),
    pytest.param(lambda moments: ridge(moments, 1e-12), mixing, 3.0, id="ridge"),
]


def assert_recovers(solve, mix, shift, noise=0.0, p=5):
    """The recovery law: rows of B with mixed channels are mapped back to B's."""
    y = torch.relu(normal(400, p, seed=1)) + 0.5
    matrix = mix(p)
    x = (y @ matrix.T + shift) + noise * normal(400, p, seed=2)
    solution = solve(moments_of(x.float(), y.float()))
    inverse = torch.linalg.inv(matrix)
    tolerance = 1e-4 + 20 * noise
    assert (solution.weight - inverse).abs().max() < tolerance, "the inverse is not found"
    assert (solution.bias + (inverse @ torch.full((p,), shift).double())).abs().max() < 5 * tolerance, "bias"
    assert solution.residual < 1e-6 + 100 * noise**2, "variance is left"


@pytest.mark.parametrize(("solve", "mix", "shift"), CASES)
def test_the_inverse_of_a_mixture_is_found(solve, mix, shift):
    assert_recovers(solve, mix, shift)


@pytest.mark.parametrize(("solve", "mix", "shift"), CASES)
def test_with_noise_the_inverse_is_found_nearly(solve, mix, shift):
    assert_recovers(solve, mix, shift, noise=0.01)


@pytest.mark.parametrize(("solve", "mix", "shift"), CASES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda solution: dataclasses.replace(solution, weight=solution.weight.T.contiguous()),
        lambda solution: dataclasses.replace(solution, bias=solution.bias + 1),
        lambda solution: dataclasses.replace(solution, residual=1.0),
    ],
)
def test_canary_the_recovery_law_catches_a_wrong_solution(solve, mix, shift, spoil):
    with pytest.raises(AssertionError, match=r"inverse is not found|bias|variance is left"):
        assert_recovers(lambda moments: spoil(solve(moments)), mix, shift)


# Nesting


def assert_nested(moments, families):
    """The nesting law: a larger family leaves no more."""
    left = [family(moments).residual for family in families]
    for smaller, larger in itertools.pairwise(left):
        assert larger <= smaller * (1 + 1e-9) + 1e-9, left


@settings(deadline=None)
@given(
    p=st.integers(1, 5),
    n=st.integers(2, 30),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
    spread=st.sampled_from([1.0, 10.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_permutations_leave_no_less_than_rotations_and_those_no_less_than_affine_maps(p, n, offset, spread, seed):
    x, y = pair(n, p, p, seed, offset)
    assert_nested(moments_of(x * torch.logspace(0, 1, p).double() * spread, y), [assignment, procrustes, least_squares])


def test_ridge_leaves_more_the_stronger_it_is_and_never_more_than_the_mean():
    moments = moments_of(*pair())
    families = [lambda m, s=strength: ridge(m, s) for strength in (1e6, 10.0, 0.1, 0.0)]
    assert_nested(moments, families)
    assert ridge(moments, 1e6).residual <= 1.0


@pytest.mark.parametrize(
    "families",
    [
        [assignment, least_squares, procrustes],
        [procrustes, assignment],
        [assignment, lambda moments: dataclasses.replace(procrustes(moments), residual=float("nan"))],
    ],
)
def test_canary_the_nesting_law_catches_a_wrong_order(families):
    with pytest.raises(AssertionError, match="assert"):
        assert_nested(moments_of(*pair(p=4, q=4)), families)


# Errors


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_constant_target_is_refused(family, value):
    x, _ = pair(p=3)
    with pytest.raises(NumericalFailure, match="constant target: the same activations for all 50 rows"):
        family(moments_of(x, torch.full((50, 3), value)))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_is_refused(family):
    with pytest.raises(NumericalFailure, match="constant target"):
        family(moments_of(*pair(n=1, p=3)))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_rows_are_refused(family):
    with pytest.raises(DataError, match="no rows yet"):
        family(Moments())


@pytest.mark.parametrize("family", [procrustes, assignment])
def test_other_numbers_of_channels_are_refused(family):
    with pytest.raises(ShapeMismatch, match="4 channels to map from and 3 to map to"):
        family(moments_of(*pair(p=4, q=3)))


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_an_impossible_strength_is_refused(strength):
    with pytest.raises(SettingError, match=f"ridge of strength {strength}"):
        ridge(moments_of(*pair()), strength)


class Contradictory(Moments):
    """More covariance than the two variances allow."""

    @property
    def xy(self):
        return 3 * super().xy


def test_moments_that_contradict_themselves_are_refused():
    x, _ = pair()
    moments = Contradictory()
    moments.update(x, x)
    with pytest.raises(NumericalFailure, match="where a share of variance is 0 or more"):
        procrustes(moments)


def test_the_rounding_of_an_ill_conditioned_source_is_not_taken_for_a_contradiction():
    x = normal(60, 3, seed=3)
    # All of the target lies in the source's weakest direction that is still kept.
    x[:, 2] *= (4 * CUT_OFF) ** 0.5
    solution = least_squares(moments_of(x @ rotating(3), x[:, 2:] * 1e5))
    assert 0.0 <= solution.residual < 1e-4
    assert isinstance(solution, Solution)

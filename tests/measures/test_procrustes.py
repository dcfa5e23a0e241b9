"""Procrustes distance and angle: oracles, the metric laws, precision near zero, wide sides, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from laws import normal, pair

from modelstitch.errors import DataError, NumericalFailure, TooFewRows
from modelstitch.measures import procrustes
from modelstitch.measures.procrustes import (
    PROCRUSTES,
    PROCRUSTES_ANGULAR,
    procrustes_angle,
    procrustes_angle_from_moments,
    procrustes_distance,
    procrustes_distance_from_moments,
)
from modelstitch.moments import Moments

BOTH = [pytest.param(measure, id=measure.name) for measure in (PROCRUSTES, PROCRUSTES_ANGULAR)]
FROM_MOMENTS = [procrustes_distance_from_moments, procrustes_angle_from_moments]
SHAPES = [(40, 3, 7), (40, 7, 3), (30, 5, 5), (20, 1, 4)]
WIDE = [(6, 9, 4), (6, 4, 9), (8, 20, 30), (5, 5, 5)]


def sides(n, p, q, noise=1.0):
    x = normal(n, p, seed=1)
    return x, x @ normal(p, q, seed=2) + noise * normal(n, q, seed=3) + 2.0


def unit(x):
    x = x.double().numpy()
    centred = x - x.mean(0)
    return centred / np.sqrt((centred**2).sum())


def definition(x, y):
    """The least residual over rotations of the zero-padded sides, with the rotation that SciPy finds."""
    a, b = unit(x), unit(y)
    width = max(a.shape[1], b.shape[1])
    a, b = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (a, b))
    rotation, _ = scipy.linalg.orthogonal_procrustes(a, b)
    return np.linalg.norm(a @ rotation - b)


def streamed(x, y, size=7):
    moments = Moments()
    for begin in range(0, len(x), size):
        moments.update(x[begin : begin + size], y[begin : begin + size])
    return moments


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
@pytest.mark.parametrize("noise", [0.01, 1.0, 20.0])
def test_equals_the_residual_after_the_rotation_that_scipy_finds(n, p, q, noise):
    x, y = sides(n, p, q, noise)
    expected = definition(x, y)
    assert procrustes_distance(x, y) == pytest.approx(expected, rel=1e-10)
    assert procrustes_distance_from_moments(streamed(x, y)) == pytest.approx(expected, rel=1e-9)
    # The unit vectors of both sides and the chord between them make a triangle.
    assert math.cos(procrustes_angle(x, y)) == pytest.approx(1 - expected**2 / 2, rel=1e-10)
    assert procrustes_angle_from_moments(streamed(x, y)) == pytest.approx(procrustes_angle(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "p", "q"), WIDE)
@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_sides_with_more_channels_than_rows_are_the_same_and_warned_of(n, p, q, noise):
    x, y = sides(n, p, q, noise)
    with pytest.warns(TooFewRows, match=f"Procrustes distance of {n} rows with {p} and {q} channels"):
        assert procrustes_distance(x, y) == pytest.approx(definition(x, y), rel=1e-10)
    with pytest.warns(TooFewRows):
        assert procrustes_angle(x, y) == pytest.approx(math.acos(1 - definition(x, y) ** 2 / 2), rel=1e-9)
    with pytest.warns(TooFewRows):
        assert procrustes_distance_from_moments(streamed(x, y, 3)) == pytest.approx(definition(x, y), rel=1e-9)
    assert PROCRUSTES.side(x).shape == (n, min(n, p)), "a wide side would cost every pair its width"


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_relates_to_the_disparity_of_scipy(noise):
    x, y = sides(30, 4, 4, noise)
    *_, disparity = scipy.spatial.procrustes(x.numpy(), y.numpy())
    # SciPy fits the scale, too: min over c of ‖c X Q - Y‖² = 1 - s², and ours is 2 - 2 s.
    s = math.sqrt(1 - disparity)
    assert procrustes_distance(x, y) == pytest.approx(math.sqrt(2 - 2 * s), rel=1e-9)
    assert procrustes_angle(x, y) == pytest.approx(math.acos(s), rel=1e-9)


def test_golden_values():
    # Four points of a cross against their first coordinate: s = 1/√2, worked by hand.
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert procrustes_distance(cross, cross[:, :1]) == pytest.approx(math.sqrt(2 - math.sqrt(2)), rel=1e-12)
    assert procrustes_angle(cross, cross[:, :1]) == pytest.approx(math.pi / 4, rel=1e-12)
    # The two coordinates are uncorrelated: as far apart as can be, and not an ulp farther.
    assert procrustes_distance(cross[:, :1], cross[:, 1:]) == math.sqrt(2)
    assert procrustes_angle(cross[:, :1], cross[:, 1:]) == math.pi / 2


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_distances_keep_their_digits(noise):
    x, _ = pair(0)
    centred = x - x.mean(0)
    step = normal(*x.shape, seed=4)
    step = step - step.mean(0)
    # A step with xᵀ step = 0 is one that no rotation makes up for: s = 1 / √(1 + noise²), so tan(angle) = noise.
    step = step - centred @ torch.linalg.solve(centred.T @ centred, centred.T @ step)
    step = step / torch.linalg.matrix_norm(step) * torch.linalg.matrix_norm(centred)
    y = x + noise * step
    assert procrustes_angle(x, y) == pytest.approx(math.atan(noise), rel=1e-9, abs=2e-15)
    assert procrustes_distance(x, y) == pytest.approx(2 * math.sin(math.atan(noise) / 2), rel=1e-9, abs=2e-15)


@pytest.mark.parametrize("measure", BOTH)
def test_equal_sides_are_at_zero_up_to_rounding_of_the_values_themselves(measure):
    for seed in range(20):
        x, _ = pair(seed)
        assert 0.0 <= measure(x, 5 - 3 * x.flip(1)) < 1e-14
        # Streamed, half of the digits are gone, as documented; s rounds to beyond 1 at some of these seeds.
        assert 0.0 <= measure.from_moments(streamed(x, 5 - 3 * x.flip(1))) < 1e-7


def test_both_routes_agree_where_they_meet(monkeypatch):
    x, y = sides(30, 6, 4, 0.5)
    far = procrustes_distance(x, y)
    assert far > 0.2, "the pair should be on the side of 2 - 2 s"
    monkeypatch.setattr(procrustes, "_CLOSE", -1.0)
    assert procrustes_distance(x, y) == pytest.approx(far, rel=1e-12)
    assert procrustes_distance(y, x) == pytest.approx(far, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_neither_overflows_nor_underflows(scale):
    x, y = sides(30, 4, 6)
    expected = procrustes_distance(x, y)
    assert procrustes_distance(x * scale, y / scale) == pytest.approx(expected, rel=1e-10)
    assert procrustes_distance_from_moments(streamed(x * scale, y / scale)) == pytest.approx(expected, rel=1e-9)


def test_unrelated_wide_sides_come_close_and_narrow_ones_do_not():
    with pytest.warns(TooFewRows):
        wide = procrustes_distance(normal(10, 2000, seed=1), normal(10, 2000, seed=2))
    narrow = procrustes_distance(normal(2000, 10, seed=1), normal(2000, 10, seed=2))
    assert wide < 0.1
    assert narrow > 1.3


@pytest.mark.parametrize("measure", BOTH)
def test_two_rows_match_anything_and_are_refused(measure):
    x = torch.tensor([[1.0], [2.0]])
    with pytest.raises(DataError, match="2 paired rows\ndo:    give at least 3"):
        measure(x, x.flip(0))
    with pytest.raises(DataError, match="2 paired rows"):
        measure.from_moments(streamed(x, x))
    with pytest.raises(DataError, match="no rows yet"):
        measure.from_moments(Moments())


@pytest.mark.parametrize("from_moments", FROM_MOMENTS)
def test_streamed_constant_activations_are_similar_to_nothing(from_moments):
    x, y = pair(0)
    with pytest.raises(NumericalFailure, match="y is constant"):
        from_moments(streamed(x, torch.full_like(y, 0.1)))
    with pytest.raises(NumericalFailure, match="x is constant"):
        from_moments(streamed(torch.full_like(x, 0.1), y))


def test_values_too_large_to_square_are_refused():
    x, y = pair(0)
    with pytest.raises(NumericalFailure, match="too large to square"):
        streamed(x * 1e160, y)


@pytest.mark.parametrize("from_moments", FROM_MOMENTS)
def test_values_too_small_to_square_are_no_constant(from_moments):
    x, y = pair(0)
    for scale in (1e-150, 1e-160, 1e-200):
        with pytest.raises(NumericalFailure, match="values of y too small to be squared"):
            from_moments(streamed(x, y * scale))


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canary_singular_values_that_are_no_numbers_are_no_perfect_match(measure, value, monkeypatch):
    x, y = pair(0)
    monkeypatch.setattr(torch.linalg, "svdvals", lambda a: torch.full(a.shape[:1], value, dtype=a.dtype))
    with pytest.raises(NumericalFailure, match="singular values that add up to"):
        measure(x, y)
    with pytest.raises(NumericalFailure, match="singular values that add up to"):
        measure.from_moments(streamed(x, y))


@pytest.mark.parametrize("measure", BOTH)
def test_canary_a_decomposition_that_fails_is_no_perfect_match(measure, monkeypatch):
    def fails(*_, **__):
        raise torch.linalg.LinAlgError("did not converge")

    x, y = pair(0)
    monkeypatch.setattr(torch.linalg, "svd", fails)
    with pytest.raises(torch.linalg.LinAlgError, match="did not converge"):
        measure(x, x)
    monkeypatch.setattr(torch.linalg, "svdvals", fails)
    with pytest.raises(torch.linalg.LinAlgError, match="did not converge"):
        measure(x, y)
    with pytest.raises(torch.linalg.LinAlgError, match="did not converge"):
        measure.from_moments(streamed(x, y))


def frobenius(x, y):
    """The norm of XᵀY where its singular values should be added up."""
    a, b = unit(x), unit(y)
    return math.sqrt(2 - 2 * np.linalg.norm(a.T @ b))


def unrotated(x, y):
    return np.linalg.norm(unit(x) - unit(y))


def uncentred(x, y):
    a, b = (side.numpy() / np.linalg.norm(side.numpy()) for side in (x, y))
    return math.sqrt(2 - 2 * np.linalg.norm(a.T @ b, "nuc"))


def squared(x, y):
    return definition(x, y) ** 2


@pytest.mark.parametrize("wrong", [frobenius, unrotated, uncentred, squared])
def test_canary_the_oracle_tells_a_wrong_distance(wrong):
    x, y = sides(30, 5, 5)
    assert abs(wrong(x, y) - definition(x, y)) > 1e-2


def test_canary_the_square_is_no_metric():
    # Three directions in one plane, 0, 45 and 90 degrees from the first: chords add up, their squares do not.
    t = torch.arange(8).double() * math.pi / 4
    x, y, z = (torch.stack([torch.cos(t) * math.cos(a) + torch.sin(t) * math.sin(a)], 1) for a in (0, math.pi / 4, 1.5))
    assert squared(x, z) > squared(x, y) + squared(y, z) + 0.1
    assert procrustes_distance(x, z) < procrustes_distance(x, y) + procrustes_distance(y, z)

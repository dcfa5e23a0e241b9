"""Diagonal stitches: one regression a channel, more than the identity and less than an affine map."""

import numpy as np
import pytest
import torch
from stitch_cases import CUTS, made, values

from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch
from modelstitch.moments import Moments
from modelstitch.stitches import Affine, Diagonal
from modelstitch.stitches.closed_form import ridge
from modelstitch.support.seeding import generator


def pair(seed, n=60, p=4):
    """Rows of channels that know each other, and rows that are related to them."""
    stream = generator("diagonal test", seed)
    x = torch.randn(n, p, generator=stream) @ torch.randn(p, p, generator=stream) + 3
    y = torch.tanh(x) * torch.linspace(1, 5, p) - 0.2 * x.roll(1, 1) + torch.randn(n, p, generator=stream) - 7
    return x.double(), y.double()


def moments_of(x, y):
    moments = Moments()
    for part in zip(x.split(16), y.split(16), strict=True):
        moments.update(*part)
    return moments


def left_by(weight, bias, x, y):
    return float((y - x @ weight.T - bias).square().sum() / (y - y.mean(0)).square().sum())


@pytest.mark.parametrize("seed", range(5))
def test_it_is_one_regression_a_channel(seed):
    x, y = pair(seed)
    found = Diagonal().solve(moments_of(x, y))
    fits = [np.polynomial.Polynomial.fit(a, b, 1).convert().coef for a, b in zip(x.T, y.T, strict=True)]
    np.testing.assert_allclose(found.bias, [one[0] for one in fits], rtol=1e-9)
    np.testing.assert_allclose(found.weight.diagonal(), [one[1] for one in fits], rtol=1e-9)
    assert torch.equal(found.weight, found.weight.diagonal().diag())
    assert found.residual == pytest.approx(left_by(found.weight, found.bias, x, y), rel=1e-9)


@pytest.mark.parametrize("strength", [0.01, 0.5, 10.0])
def test_a_strength_is_measured_against_the_mean_variance_of_all_channels(strength):
    x, y = pair(1)
    found = Diagonal().solve(moments_of(x, y), strength)
    a, b = x - x.mean(0), y - y.mean(0)
    weight = (a * b).sum(0) / (a.square().sum(0) + strength * a.square().sum() / 4)
    torch.testing.assert_close(found.weight.diagonal(), weight)
    torch.testing.assert_close(found.bias, y.mean(0) - weight * x.mean(0))
    assert found.residual == pytest.approx(left_by(weight.diag(), found.bias, x, y), rel=1e-9)


def test_of_one_channel_it_is_the_affine_map():
    moments = moments_of(*(one[:, :1] for one in pair(2)))
    for strength in (0.0, 0.3):
        found, affine = Diagonal().solve(moments, strength), ridge(moments, strength)
        assert (found.weight, found.bias, found.residual) == (affine.weight, affine.bias, affine.residual)


@pytest.mark.parametrize("seed", range(20))
def test_it_leaves_no_more_than_the_identity_and_no_less_than_an_affine_map(seed):
    x, y = pair(seed)
    moments = moments_of(x, y)
    left = [
        left_by(torch.eye(4).double(), 0, x, y),
        Diagonal().solve(moments).residual,
        Affine().solve(moments).residual,
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[1] > left[2]


def test_scales_and_shifts_are_found_and_a_reordering_is_not():
    x, _ = pair(3)
    scale, shift = torch.tensor([2.0, -1.0, 0.5, 30.0]).double(), torch.tensor([1.0, 0.0, -4.0, 9.0]).double()
    found = Diagonal().solve(moments_of(x, x * scale + shift))
    torch.testing.assert_close(found.weight, scale.diag())
    torch.testing.assert_close(found.bias, shift)
    assert found.residual < 1e-12
    assert Diagonal().solve(moments_of(x, x.roll(1, 1))).residual > 0.01


def test_a_dead_channel_has_no_weight():
    x, y = pair(4)
    x[:, 2] = 0.1
    found = Diagonal().solve(moments_of(x, y))
    assert found.weight[2].tolist() == [0.0] * 4
    assert found.bias[2].item() == pytest.approx(float(y[:, 2].mean()))


def test_a_map_that_mixes_is_not_taken():
    stitch = made(Diagonal(), CUTS["vector"], CUTS["vector"])
    before = stitch(values(CUTS["vector"])).detach()
    with pytest.raises(SettingError, match="found: a map that mixes channels\ndo:    give a diagonal weight"):
        stitch.assign(torch.eye(3).roll(1, 0), torch.zeros(3), torch.zeros(3), torch.eye(3))
    assert torch.equal(stitch(values(CUTS["vector"])), before)


def test_what_has_no_solution_is_refused():
    x, y = pair(5)
    with pytest.raises(ShapeMismatch, match="4 channels to map from and 3 to map to\ndo:    use Affine"):
        Diagonal().solve(moments_of(x, y[:, :3]))
    with pytest.raises(SettingError, match="ridge of strength -1"):
        Diagonal().solve(moments_of(x, y), -1.0)
    with pytest.raises(NumericalFailure, match="constant target"):
        Diagonal().solve(moments_of(x, torch.ones_like(x)))
    with pytest.raises(DataError, match="no rows yet"):
        Diagonal().solve(Moments())

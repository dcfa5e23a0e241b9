"""Any size of activations: the value of ordinary ones, or an error with the true reason."""

from __future__ import annotations

import warnings

import pytest
import torch
from laws import normal, pair

from modelstitch.errors import NumericalFailure
from modelstitch.measures import MEASURES, linear_probe, permutation_null
from modelstitch.measures.scale import near_one, sound, times_power

EACH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
SCALES = [1e-300, 1e-200, 1e-154, 1e-30, 1e-3, 1e30, 1e154, 1e200, 1e300]
X, Y = pair(0)


@EACH
@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_of_any_size_changes_nothing(measure, scale):
    # Agreement asks for the largest logit, which no positive scale changes; all others declare the invariance.
    assert "isotropic_scale" in measure.promises.invariances or measure.name == "agreement"
    value = measure(X, Y)
    assert measure(X * scale, Y) == pytest.approx(value, abs=1e-9)
    assert measure(X, Y * scale) == pytest.approx(value, abs=1e-9)
    assert measure(X * scale, Y / scale) == pytest.approx(value, abs=1e-9)
    side = measure.one_side("x", X * scale)
    assert measure.between(side, measure.one_side("y", Y)) == pytest.approx(value, abs=1e-9)


@EACH
@pytest.mark.parametrize("exponent", [-900, -200, -99, 99, 200, 900])
def test_a_power_of_two_changes_no_bit(measure, exponent):
    assert measure(times_power(X, exponent), Y) == measure(X, Y)


@pytest.mark.parametrize("scale", SCALES)
def test_a_null_of_any_size_is_the_null(scale):
    for name in ("rsa", "cka", "procrustes"):
        small, plain = (permutation_null(name, x, Y, permutations=9) for x in (X * scale, X))
        assert (small.p, small.value) == (plain.p, pytest.approx(plain.value, abs=1e-9))


TRANSLATED = [one for one in MEASURES.values() if "translation" in one.promises.invariances]


@pytest.mark.parametrize("measure", TRANSLATED, ids=lambda one: one.name)
@pytest.mark.parametrize("scale", [1e-14, 1e-30, 1e-100, 1e-170, 1e-290])
def test_a_constant_channel_hides_no_small_ones(measure, scale):
    constant = torch.full((len(X), 2), 0.1).double() * torch.tensor([1.0, 3.0]).double()
    assert measure(torch.cat([X * scale, constant], 1), Y) == pytest.approx(measure(X, Y), abs=1e-9)
    assert measure(Y, torch.cat([constant, X * scale], 1)) == pytest.approx(measure(Y, X), abs=1e-9)


@EACH
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e-320, 1e-200, 1e200, 1.7e308])
def test_constant_is_said_of_constant_rows(measure, value):
    with pytest.raises(NumericalFailure, match="x is constant: the same activations for every row"):
        measure(torch.full_like(X, value), Y)


@EACH
def test_rounding_is_no_variation_and_no_constant(measure):
    nearly = torch.full_like(X, 1.0)
    nearly[3:7] += 1e-15
    with pytest.raises(NumericalFailure, match="y that varies by less than 1e-12 of its mean, which is rounding"):
        measure(X, nearly)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e300])
def test_the_probe_reads_channels_of_any_size(scale):
    labels = torch.arange(len(X)) % 2
    scales = torch.tensor([scale, 1.0, 1.0, 1.0], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in (scales, torch.full((4,), scale, dtype=torch.float64)):
            assert linear_probe(X * factor, labels, Y * factor, labels) == linear_probe(X, labels, Y, labels)


def test_rows_of_ordinary_size_are_not_copied():
    assert sound("a measure", "x", X, centred=True) is X
    assert near_one(X, 1.0) is X


def test_channels_of_very_different_size_are_ordinary_rows():
    wide = X * torch.tensor([1e-80, 1.0, 1e40, 1.0], dtype=torch.float64)
    assert MEASURES["cka"](wide, Y) == pytest.approx(MEASURES["cka"](X[:, 2:3], Y), abs=1e-9)
    assert MEASURES["rsa"](wide, Y) == pytest.approx(MEASURES["rsa"](X[:, 2:3], Y), abs=1e-9)


@pytest.mark.parametrize("name", ["mutual_knn", "cknna"])
def test_a_row_of_any_size_has_its_direction(name):
    lengths = torch.ones(len(X), 1).double()
    lengths[::3], lengths[1::3] = 1e-200, 1e80
    assert MEASURES[name](X * lengths, Y) == pytest.approx(MEASURES[name](X, Y), abs=1e-9)
    with pytest.raises(NumericalFailure, match="1 rows that are zero"):
        MEASURES[name](torch.cat([X[:-1], torch.zeros(1, 4)]), normal(24, 3, seed=9))

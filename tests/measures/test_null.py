"""The permutation null: what chance gives, and the p-value against it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from modelstitch.errors import DataError, SettingError
from modelstitch.measures import MEASURES, permutation_null
from modelstitch.support.seeding import generator

pytestmark = pytest.mark.usefixtures("_shapes_unchecked")

N = 40


def rows(seed, p=3):
    return torch.randn(N, p, generator=generator("null test", seed, p))


@pytest.mark.parametrize("measure", ["cka", "procrustes"])
def test_related_rows_stand_out_and_unrelated_ones_do_not(measure):
    x = rows(0)
    found = permutation_null(measure, x, x + 0.1 * rows(1), permutations=99)
    assert found.p == 0.01
    chance = [permutation_null(measure, rows(2 * s), rows(2 * s + 1), permutations=19, seed=s).p for s in range(1, 60)]
    # Under the null, p is uniform on 1/20 … 1.
    assert 0.35 < np.mean(chance) < 0.7
    assert np.mean(np.array(chance) <= 0.1) < 0.25


def test_the_null_is_that_of_the_measure_on_shuffled_rows():
    x, y = rows(0), rows(0) + rows(1)
    found = permutation_null("rsa" if "rsa" in MEASURES else "cka", x, y, permutations=30)
    measure = MEASURES[found.measure]
    shuffled = [measure(x, y[torch.randperm(N, generator=generator("by hand", k))]) for k in range(30)]
    assert found.value == measure(x, y)
    assert found.median == pytest.approx(np.median(shuffled), abs=0.1)
    assert found.low <= found.median <= found.high
    assert (found.permutations, found.n) == (30, N)


def test_a_distance_counts_the_smaller_ones():
    x = rows(0)
    near = permutation_null("procrustes", x, x, permutations=9)
    assert (near.p, near.value < near.low) == (0.1, True)


def test_the_same_seed_gives_the_same_null():
    x, y = rows(0), rows(1)
    assert permutation_null("cka", x, y, seed=3) == permutation_null("cka", x, y, seed=3)
    assert permutation_null("cka", x, y, seed=3).median != permutation_null("cka", x, y, seed=4).median


def test_canary_a_null_that_keeps_the_pairing_finds_nothing(monkeypatch):
    import importlib

    module = importlib.import_module("modelstitch.measures.null")
    monkeypatch.setattr(module.torch, "randperm", lambda n, generator: torch.arange(n))
    x = rows(0)
    assert permutation_null("cka", x, x + 0.1 * rows(1), permutations=19).p == 1


@pytest.mark.parametrize(
    ("measure", "options", "error", "message"),
    [
        ("ckaa", {}, SettingError, "no measure of that name\ndo:    did you mean 'cka'"),
        ("cka", {"permutations": 0}, SettingError, "nothing to compare with"),
    ],
)
def test_wrong_requests_are_refused(measure, options, error, message):
    with pytest.raises(error, match=message):
        permutation_null(measure, rows(0), rows(1), **options)


def test_rows_that_do_not_pair_are_refused():
    with pytest.raises(DataError, match="40 rows of x and 39 rows of y"):
        permutation_null("cka", rows(0), rows(1)[1:])


def every_order(monkeypatch, n):
    """All orders of n rows in place of random ones: the null becomes an enumeration."""
    import importlib

    orders = iter([torch.tensor(order) for order in itertools.permutations(range(n))])
    module = importlib.import_module("modelstitch.measures.null")
    monkeypatch.setattr(module.torch, "randperm", lambda n, generator: next(orders))


def squared_correlation(x, y):
    """Linear CKA of one channel a side, as a fraction."""
    x, y = ([Fraction(value) - Fraction(sum(side), len(side)) for value in side] for side in (x, y))
    across, own_x, own_y = (sum(a * b for a, b in zip(*both, strict=True)) for both in ((x, y), (x, x), (y, y)))
    return across**2 / (own_x * own_y)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 0, 0]),
        ([0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 1]),
        ([0, 1, 2, 0, 1, 2], [1, 0, 0, 2, 1, 2]),
        ([0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]),
    ],
)
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.7])
def test_regression_ties_count_however_they_are_rounded(x, y, scale, monkeypatch):
    value = squared_correlation(x, y)
    as_similar = sum(squared_correlation(x, order) >= value for order in itertools.permutations(y))
    sides = [scale * torch.tensor(side, dtype=torch.float64)[:, None] + 0.3 for side in (x, y)]
    for measure in ("cka", "procrustes", "cca"):
        every_order(monkeypatch, 6)
        found = permutation_null(measure, *sides, permutations=720)
        assert found.p == (1 + as_similar) / 721, measure


def test_regression_binary_rows_have_the_p_of_the_hypergeometric_distribution():
    """Twelve rows of zeros and ones: counted by exact value, p was .02 too low."""
    from scipy.stats import hypergeom

    for seed in range(6):
        random = generator("null, binary", seed)
        x, y = (torch.randint(0, 2, (12, 1), generator=random).double() for _ in "xy")
        a, b, both = int(x.sum()), int(y.sum()), int((x * y).sum())
        value = abs(12 * both - a * b)
        exact = min(1.0, sum(hypergeom.pmf(k, 12, a, b) for k in range(13) if abs(12 * k - a * b) >= value))
        found = permutation_null("cka", x, y, permutations=2000, seed=seed)
        assert found.p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2000) ** 0.5 + 1e-3)


def test_a_value_that_is_not_tied_is_not_counted():
    x = rows(0).double()
    # Nearer than any shuffle by more than rounding, and by little.
    null = permutation_null("cka", x, x + 1e-4 * rows(1), permutations=50)
    assert null.p == 1 / 51

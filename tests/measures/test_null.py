"""The permutation null: what chance gives, and the p-value against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelstitch.errors import DataError, SettingError
from modelstitch.measures import MEASURES, permutation_null
from modelstitch.seeding import generator

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

"""Declared bounds: each is reached by rows made for it and passed by none, and least rows are refused one below."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings

import pytest
import torch
from laws import normal, pair

from modelstitch.errors import DataError, StitchError
from modelstitch.measures import MEASURES

pytestmark = pytest.mark.usefixtures("_shapes_unchecked")

EACH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
RANGES = {
    **dict.fromkeys(("cka", "cka_rbf", "cca", "svcca", "pwcca", "mutual_knn", "agreement"), (0, 1)),
    **dict.fromkeys(("cka_debiased", "cka_minibatch", "rsa", "cknna"), (-1, 1)),
    "procrustes": (0, math.sqrt(2)),
    "procrustes_angular": (0, math.pi / 2),
}


def crossed():
    """Each value of x with each of y: nothing of the one follows from the other."""
    x, y = (
        torch.tensor(side, dtype=torch.float64) for side in zip(*itertools.product((0, 1, 3), (2, 5, 6)), strict=True)
    )
    return x[:, None], y[:, None]


def opposed():
    """Three rows: the pair that is nearest in x is farthest in y."""
    return torch.tensor([[0.0], [1.0], [3.0]]).double(), torch.tensor([[0.0], [3.0], [1.0]]).double()


def disjoint():
    """Four rows at the ends of two crossing lines: the pairs that are alike in x are opposite in y, and the reverse."""
    x = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]).double()
    y = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).double()
    return x, y


def reversed_order():
    """Cosines of y fall where those of x rise: a Gram matrix and a multiple of the identity less it."""
    angles = 2 * torch.pi * torch.arange(21, dtype=torch.float64) / 21
    x = torch.stack([angles.cos(), angles.sin()], 1)
    values, vectors = torch.linalg.eigh(10.5 * torch.eye(21, dtype=torch.float64) - x @ x.T)
    return x, vectors * values.clamp(min=0).sqrt()


def repelled():
    """Two groups of eleven: in x cosines are below zero, those within a group the least so; in y all is the group."""
    group = torch.eye(2, dtype=torch.float64).repeat_interleave(11, 0)
    same = group @ group.T
    kernel = -0.04 * same - 0.05 * (1 - same) + 1.04 * torch.eye(22, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(kernel)
    assert float(values[0]) > -1e-12
    return vectors * values.clamp(min=0).sqrt(), group


def different_answers():
    return torch.eye(4).double(), torch.eye(4).double().flip(0)


def equal():
    x, _ = pair(0)
    return x, x


LOWEST = {
    **dict.fromkeys(("cka", "cka_rbf", "cca", "svcca", "pwcca"), crossed),
    **dict.fromkeys(("cka_debiased", "cka_minibatch"), disjoint),
    "rsa": opposed,
    "mutual_knn": reversed_order,
    "cknna": repelled,
    "agreement": different_answers,
    **dict.fromkeys(("procrustes", "procrustes_angular"), equal),
}
HIGHEST = dict.fromkeys(MEASURES, equal) | dict.fromkeys(("procrustes", "procrustes_angular"), crossed)


def test_every_measure_has_its_rows_for_both_bounds():
    assert set(LOWEST) == set(HIGHEST) == set(MEASURES) == set(RANGES)


def assert_reaches(measure):
    low, high = measure.promises.range
    for rows, bound in ((LOWEST[measure.name], low), (HIGHEST[measure.name], high)):
        assert measure(*rows()) == pytest.approx(bound, abs=1e-7), f"{bound} is declared and not reached"


@EACH
def test_both_declared_bounds_are_reached(measure):
    assert measure.promises.range == RANGES[measure.name]
    assert_reaches(measure)


@EACH
@pytest.mark.parametrize("end", [0, 1])
def test_canary_a_wider_range_is_not_reached(measure, end):
    wider = list(measure.promises.range)
    wider[end] += (-1, 1)[end] * 0.01
    wrong = dataclasses.replace(measure, promises=dataclasses.replace(measure.promises, range=tuple(wider)))
    with pytest.raises(AssertionError, match="declared and not reached"):
        assert_reaches(wrong)


@EACH
def test_canary_a_narrower_range_is_passed(measure):
    low, high = measure.promises.range
    for narrower in ((low + 0.01, high), (low, high - 0.01)):
        wrong = dataclasses.replace(measure, promises=dataclasses.replace(measure.promises, range=narrower))
        with pytest.raises(StitchError, match="found: the value"):
            assert_reaches(wrong)


@EACH
def test_no_rows_pass_a_bound(measure):
    low, high = measure.promises.range
    seen = 0
    for seed, n, p, q in itertools.product(range(3), (3, 4, 8, 21, 40), (1, 3, 30), (1, 2)):
        x, y = normal(n, p, seed=seed), normal(n, q, seed=seed + 9)
        for a, b in ((x, y), (x, x), (x, -x), (x > 0, y > 0), (x**5, y), (1e6 + x, y)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    # The function below the guard, which would refuse or clamp.
                    value = measure.between.compute(*(measure.one_side("xy"[i], side) for i, side in enumerate((a, b))))
                except StitchError:
                    continue
            seen += 1
            assert low - 1e-9 <= value <= high + 1e-9
    assert seen > 100


LEAST = {
    **dict.fromkeys(("cka", "agreement"), 2),
    **dict.fromkeys(("cka_rbf", "cca", "svcca", "pwcca", "procrustes", "procrustes_angular", "rsa"), 3),
    **dict.fromkeys(("cka_debiased", "cka_minibatch"), 4),
    **dict.fromkeys(("mutual_knn", "cknna"), 21),
}


@EACH
def test_the_least_rows_have_a_value_and_one_less_are_refused(measure):
    least = LEAST[measure.name]
    assert measure.promises.least_rows == least
    x, y = normal(least, 1, seed=1), normal(least, 1, seed=2)
    if measure.name in ("mutual_knn", "cknna", "agreement"):
        # One channel has two directions, and one class.
        x, y = normal(least, 3, seed=1), normal(least, 3, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, high = measure.promises.range
        assert low <= measure(x, y) <= high
    for ask in (lambda: measure(x[1:], y[1:]), lambda: measure.one_side("x", x[1:])):
        with pytest.raises(DataError, match=f"{least - 1} paired rows\ndo:    give at least {least}"):
            ask()
    if measure.from_moments is not None or measure.streaming is not None:
        sums = measure.accumulator()
        sums.update(x[1:], y[1:])
        with pytest.raises(DataError, match=f"{least - 1} paired rows"):
            sums.compute()
        sums.update(x[:1], y[:1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert low <= sums.compute() <= high

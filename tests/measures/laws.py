"""The laws that every measure is held to; `test_promises.py` runs them, and breaks them on purpose."""

from __future__ import annotations

import itertools
import warnings
from functools import cache

import numpy as np
import pytest
import torch

from modelstitch.errors import DataError, NumericalFailure, StitchError, TooFewRows
from modelstitch.measures import INVARIANCES
from modelstitch.support.seeding import generator

N, P = 24, 4


def normal(*shape, seed):
    return torch.randn(*shape, generator=generator("promises test", *shape, seed)).double()


def rotation(seed):
    return torch.linalg.qr(normal(P, P, seed=seed)).Q


def changed(x, invariance, seed):
    match invariance:
        case "orthogonal":
            return x @ rotation(seed)
        case "isotropic_scale":
            # Of either sign, and never close to zero.
            return x * float(normal(1, seed=seed).sign() * (1 + normal(1, seed=seed).abs()))
        case "translation":
            return x + 3 * normal(P, seed=seed)
        case "permutation":
            return x[:, torch.randperm(P, generator=generator("promises test", seed))]
        case "invertible_linear":
            # Two rotations around a stretch: invertible however the seed falls.
            return x @ rotation(seed) @ torch.diag(torch.tensor([1.0, 2.0, 4.0, 8.0]).double()) @ rotation(seed + 1)


def pair(seed):
    x = normal(N, P, seed=seed)
    return x + 0.5, torch.tanh(x) + 0.5 * normal(N, P, seed=seed + 1)


def moved(measure, invariance, seed):
    x, y = pair(seed)
    value = measure(x, y)
    return max(
        abs(measure(changed(x, invariance, seed), y) - value), abs(measure(x, changed(y, invariance, seed)) - value)
    )


def asymmetry(measure, seed):
    return abs(measure(*pair(seed)) - measure(*pair(seed)[::-1]))


# At seeds that are always the same, and so once a measure, whatever the seeds at which its promises are tried.


@cache
def most_moved(measure, invariance):
    return max(moved(measure, invariance, fixed) for fixed in range(5))


@cache
def most_asymmetric(measure):
    return max(asymmetry(measure, fixed) for fixed in range(5))


def assert_keeps(measure, promises, seed):
    """What is declared holds at this seed; what is not, fails at one of a few fixed seeds."""
    for invariance in INVARIANCES:
        if invariance in promises.invariances:
            assert moved(measure, invariance, seed) < 1e-7, f"{invariance} is declared and does not hold"
        else:
            assert most_moved(measure, invariance) > 1e-3, f"{invariance} is not declared and holds"
    x, y = pair(seed)
    low, high = promises.range
    assert low <= measure(x, y) <= high, "out of range"
    assert (max(asymmetry(measure, seed), most_asymmetric(measure)) < 1e-9) == promises.symmetric, "symmetric is wrong"
    assert (measure(x, x) > measure(x, y)) == promises.higher_is_more_similar, "higher_is_more_similar is wrong"
    assert_metric(measure, promises, seed)


def assert_metric(measure, promises, seed):
    if not promises.metric:
        return
    x, y = pair(seed)
    z = torch.sin(2 * x) + 0.5 * normal(N, P, seed=seed + 2)
    # A root of 1 - s near s = 1 has half the digits of s.
    assert abs(measure(x, x)) < 1e-6, "metric is wrong: not zero on equals"
    for a, b, c in itertools.permutations((x, y, z)):
        assert measure(a, c) <= measure(a, b) + measure(b, c) + 1e-9, "metric is wrong: no triangle inequality"


def assert_streams(measure, sizes, offset=0.0):
    """Global: any batching, a last batch of one included, gives the one-shot value."""
    x, y = (torch.cat([pair(seed)[side] for seed in range(0, 12, 2)]) + offset for side in (0, 1))
    accumulator = measure.accumulator()
    batches = list(itertools.islice(itertools.cycle(sizes), len(x)))
    cut = np.cumsum([0, *batches])
    for begin, end in itertools.pairwise(cut):
        if begin < len(x):
            accumulator.update(x[begin:end], y[begin:end])
    assert accumulator.compute() == pytest.approx(measure(x, y), rel=1e-9, abs=1e-9)


def assert_survives(measure):
    """Edge cases: an error in words or a finite value in range, never NaN; and never a silent perfect score."""
    x, y = pair(0)
    constant = torch.full_like(x, 0.1)
    with pytest.raises(NumericalFailure, match="constant"):
        measure(constant, y)
    with pytest.raises(NumericalFailure, match="constant"):
        measure(x, constant)
    for bad in (float("nan"), float("inf")):
        broken = y.clone()
        broken[3, 1] = bad
        with pytest.raises(NumericalFailure, match="not finite"):
            measure(x, broken)
    with pytest.raises(DataError, match="24 rows of x and 23 rows of y"):
        measure(x, y[:-1])
    with pytest.raises(DataError, match="1 paired rows"):
        measure(x[:1], y[:1])
    assert measure(x.half(), y.half()) == pytest.approx(measure(x, y), abs=0.02)
    # One dead channel, and one that repeats another, change the features' rank and nothing else.
    for awkward in (torch.cat([x, constant[:, :1]], 1), torch.cat([x, x[:, :1]], 1), torch.cat([x[:12], x[:12]])):
        assert_in_range(measure, awkward, y)
    for n, p in ((2, 4), (3, 4), (4, 4), (6, 50)):
        assert_no_silent_match(measure, normal(n, p, seed=1), normal(n, p, seed=2))


def assert_in_range(measure, x, y):
    low, high = measure.promises.range
    value = measure(x, y)
    assert low <= value <= high


def assert_no_silent_match(measure, x, y):
    """Unrelated rows, fewer than channels: refused, warned of, or not close to a perfect score."""
    best = measure.promises.range[1 if measure.promises.higher_is_more_similar else 0]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            value = measure(x, y)
        except StitchError:
            return
    assert_in_range_value(measure, value)
    warned = any(issubclass(one.category, TooFewRows) for one in told)
    assert warned or abs(value - best) > 1e-3, "a silent perfect score"


def assert_in_range_value(measure, value):
    low, high = measure.promises.range
    assert low <= value <= high

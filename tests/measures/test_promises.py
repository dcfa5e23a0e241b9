"""Every measure holds what it promises, and what it does not promise is seen to fail."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import modelstitch.measures
from modelstitch.measures import INVARIANCES, LinearCKA, linear_cka
from modelstitch.seeding import generator

MEASURES = [pytest.param(linear_cka, LinearCKA.promises, id="linear_cka")]
N, P = 12, 4


def normal(*shape, seed):
    return torch.randn(*shape, generator=generator("promises test", *shape, seed)).double()


def rotation(seed):
    return torch.linalg.qr(normal(P, P, seed=seed)).Q


def changed(x, invariance, seed):
    match invariance:
        case "orthogonal":
            return x @ rotation(seed)
        case "isotropic_scale":
            return x * float(normal(1, seed=seed))
        case "translation":
            return x + normal(P, seed=seed)
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


def assert_keeps(measure, promises, seed):
    """The promise law: what is declared holds at this seed; what is not, fails at the fixed seed 0."""
    for invariance in INVARIANCES:
        if invariance in promises.invariances:
            assert moved(measure, invariance, seed) < 1e-9, f"{invariance} is declared and does not hold"
        else:
            assert moved(measure, invariance, 0) > 1e-2, f"{invariance} is not declared and holds"
    x, y = pair(seed)
    low, high = promises.range
    assert low <= measure(x, y) <= high, "out of range"
    assert (abs(measure(x, y) - measure(y, x)) < 1e-9) == promises.symmetric, "symmetric is wrong"
    assert (measure(x, x) > measure(x, y)) == promises.higher_is_more_similar, "higher_is_more_similar is wrong"
    # A distance is zero on equals; a similarity is not.
    assert not promises.metric or abs(measure(x, x)) < 1e-9, "metric is wrong"


@pytest.mark.parametrize(("measure", "promises"), MEASURES)
@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_every_promise_holds_and_nothing_more(measure, promises, seed):
    assert_keeps(measure, promises, seed)


def uncentred(x, y):
    norm = torch.linalg.matrix_norm
    return float(norm(y.T @ x) ** 2 / norm(x.T @ x) / norm(y.T @ y))


def whitened(x, y):
    """CCA: blind to every invertible map, which CKA does not promise."""
    left, right = (torch.linalg.qr(z - z.mean(0)).Q for z in (x, y))
    return float(torch.linalg.matrix_norm(left.T @ right) ** 2) / P


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (uncentred, "translation is declared and does not hold"),
        (whitened, "invertible_linear is not declared and holds"),
        (lambda x, y: 2 * linear_cka(x, y), "out of range"),
        (lambda x, y: linear_cka(x, y) * (0.9 if float(x.var()) > float(y.var()) else 1.0), "does not hold|symmetric"),
        (lambda x, y: 1 - linear_cka(x, y), "higher_is_more_similar is wrong"),
    ],
)
def test_canary_the_promise_law_catches_a_wrong_measure(wrong, reason):
    with pytest.raises(AssertionError, match=reason):
        assert_keeps(wrong, LinearCKA.promises, 0)


def test_canary_the_promise_law_catches_a_wrong_declaration():
    with pytest.raises(AssertionError, match="metric is wrong"):
        assert_keeps(linear_cka, dataclasses.replace(LinearCKA.promises, metric=True), 0)


def test_the_vocabulary_and_the_names_are_sorted_and_complete():
    assert {"orthogonal", "isotropic_scale", "translation", "invertible_linear", "permutation"} == INVARIANCES
    assert modelstitch.measures.__all__ == sorted(modelstitch.measures.__all__)
    assert all(hasattr(modelstitch.measures, name) for name in modelstitch.measures.__all__)

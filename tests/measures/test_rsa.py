"""RSA against SciPy's distances and Spearman's correlation; ties."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from modelstitch.errors import NumericalFailure
from modelstitch.measures import rsa
from modelstitch.seeding import generator


def paired(n, p, q, seed=0):
    random = generator("rsa test", n, p, q, seed)
    x = torch.randn(n, p, generator=random)
    return x, torch.tanh(x @ torch.randn(p, q, generator=random)) + 0.3 * torch.randn(n, q, generator=random)


def oracle(x, y, correlate=spearmanr):
    return correlate(*(pdist(side.double().numpy()) for side in (x, y)))[0]


@pytest.mark.parametrize(("n", "p", "q"), [(3, 2, 2), (20, 4, 7), (12, 40, 3)])
def test_equals_the_definition(n, p, q):
    x, y = paired(n, p, q)
    assert rsa(x, y) == pytest.approx(oracle(x, y), abs=1e-12)
    assert rsa(x + 10, y) == pytest.approx(oracle((x + 10).double(), y), abs=1e-12)


def test_canary_pearson_is_another_number():
    x, y = paired(20, 4, 7)
    assert abs(rsa(x, y) - oracle(x, y, pearsonr)) > 1e-3


def test_equal_distances_share_a_rank():
    # Corners of a square: four sides and two diagonals, computed from rows that no two operations round alike.
    square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).double()
    turn = torch.tensor([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    x = 0.1 * square @ turn + 7
    y = torch.randn(4, 3, generator=generator("rsa square"))
    assert rsa(x, y) == pytest.approx(oracle(square, y), abs=1e-12)


def test_repeated_rows_are_at_no_distance():
    x, y = paired(10, 4, 3)
    x, y = torch.cat([x, x]), torch.cat([y, y])
    assert rsa(x, y) == pytest.approx(oracle(x, y), abs=1e-12)


def test_distances_that_are_all_equal_have_no_order():
    with pytest.raises(NumericalFailure, match="distances that are all equal"):
        rsa(torch.eye(3), torch.randn(3, 2, generator=generator("rsa")))


def exact(x, y):
    """Spearman's correlation of the squared distances as whole numbers, ties where they are equal."""
    ranks = []
    for side in (x, y):
        rows = [[Fraction(value) for value in row] for row in side.double().tolist()]
        squares = [
            sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))
            for i in range(len(rows))
            for j in range(i + 1, len(rows))
        ]
        levels = {square: level for level, square in enumerate(sorted(set(squares)))}
        ranks.append([levels[square] for square in squares])
    return spearmanr(*ranks)[0]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e3, 3e6])
def test_equals_exact_arithmetic_at_any_offset(offset, scale):
    x, y = ((side.double() + offset) * scale for side in paired(25, 4, 3))
    assert rsa(x, y) == pytest.approx(exact(x, y), abs=1e-12)


@pytest.mark.parametrize(("far", "error"), [(1e3, 1e-12), (1e9, 1e-12), (1e12, 1e-3), (1e15, 1e-2)])
def test_regression_a_row_far_from_all_others_keeps_their_order(far, error):
    """Distances rounded to 1e-10 of the largest were all ties beside a row at 1e12."""
    x, y = (side.double() for side in paired(25, 4, 3))
    # From 1e12 on its own distances differ by less than their rounding, and are ties.
    x[7] *= far
    assert rsa(x, y) == pytest.approx(exact(x, y), abs=error)
    assert abs(exact(x, y)) > 0.1


def test_many_near_distances_are_no_chain_of_ties():
    # Two thousand pairs within a few roundings of each other, one after the other, are not one distance.
    x = torch.arange(64.0).double()[:, None] * 1e-13 + 1.0
    y = torch.arange(64.0)[:, None].square()
    assert rsa(torch.cat([x, torch.zeros(64, 1)], 1), y) > 0.5

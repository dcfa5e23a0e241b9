"""Neighbours against scikit-learn and against the formula written out."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from modelstitch.errors import DataError, NumericalFailure, SettingError
from modelstitch.measures import cknna, mutual_knn
from modelstitch.seeding import generator


def paired(n, p, q, seed=0):
    random = generator("neighbours test", n, p, q, seed)
    x = torch.randn(n, p, generator=random)
    return x, torch.tanh(x @ torch.randn(p, q, generator=random)) + 0.5 * torch.randn(n, q, generator=random)


def near(x, k):
    found = NearestNeighbors(n_neighbors=k, metric="cosine").fit(x.numpy()).kneighbors(return_distance=False)
    return [set(row) for row in found]


def knn_oracle(x, y, k):
    return np.mean([len(a & b) / k for a, b in zip(near(x, k), near(y, k), strict=True)])


def cknna_oracle(x, y, k, mean=np.mean):
    def align(a, near_a, b, near_b):
        n, total = len(a), 0.0
        for i in range(n):
            for j in near_a[i] & near_b[i]:
                total += (a[i, j] - mean(a[i])) * (b[i, j] - mean(b[i]))
        return total

    sides = []
    for side in (x, y):
        unit = side.double().numpy() / np.linalg.norm(side.double().numpy(), axis=1, keepdims=True)
        sides.append((unit @ unit.T, near(side, k)))
    (a, near_a), (b, near_b) = sides
    return align(a, near_a, b, near_b) / np.sqrt(align(a, near_a, a, near_a) * align(b, near_b, b, near_b))


@pytest.mark.parametrize(("n", "p", "q", "k"), [(40, 5, 7, 10), (21, 30, 4, 10), (30, 6, 6, 3)])
def test_equals_the_definition(n, p, q, k):
    x, y = paired(n, p, q)
    assert mutual_knn(x, y, k=k) == pytest.approx(knn_oracle(x, y, k), abs=1e-12)
    assert cknna(x, y, k=k) == pytest.approx(cknna_oracle(x, y, k), abs=1e-9)


def test_canaries_other_conventions_are_other_numbers():
    x, y = paired(40, 5, 7)
    assert abs(cknna(x, y) - cknna_oracle(x, y, 10, mean=lambda row: 0.0)) > 1e-4
    assert mutual_knn(x, y) != mutual_knn(x + 1, y)


def test_unrelated_rows_share_neighbours_by_chance():
    values = [mutual_knn(paired(61, 5, 5, s)[0], paired(61, 5, 5, s + 100)[0]) for s in range(20)]
    assert np.mean(values) == pytest.approx(10 / 60, abs=0.02)


def test_equal_rows_tie_to_the_first():
    x, _ = paired(30, 4, 4)
    twice = torch.cat([x, x])
    assert mutual_knn(twice, 3 * twice) == 1
    assert cknna(twice, 3 * twice) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("measure", [mutual_knn, cknna])
def test_what_has_no_neighbours_is_refused(measure):
    x, y = paired(30, 4, 4)
    with pytest.raises(DataError, match="20 paired rows\ndo:    give at least 21"):
        measure(x[:20], y[:20])
    assert -1 <= measure(x[:21], y[:21]) <= 1
    x[3] = 0
    with pytest.raises(NumericalFailure, match="1 rows that are zero"):
        measure(x, y)
    with pytest.raises(SettingError, match="the 0 nearest neighbours"):
        measure(y, y, k=0)


def test_neighbours_no_nearer_than_the_rest_have_no_alignment():
    with pytest.raises(NumericalFailure, match="as near as everything else"):
        cknna(torch.arange(1.0, 31).view(30, 1), paired(30, 4, 4)[0])


def exact_near(x, k):
    """The k nearest rows by cosine in whole-number arithmetic, without any rounding: the float64 values as they are."""
    rows = [[Fraction(value) for value in row] for row in x.tolist()]
    squares = [sum(a * a for a in row) for row in rows]
    found = []
    for i, row in enumerate(rows):
        products = [sum(a * b for a, b in zip(row, other, strict=True)) for other in rows]
        # cos · |cos|, times the row's own squared length, which does not change the order.
        cosines = [p * abs(p) / s for p, s in zip(products, squares, strict=True)]
        order = sorted((j for j in range(len(rows)) if j != i), key=lambda j: (-cosines[j], j))
        found.append(set(order[:k]))
    return found


def exact_cknna(x, y, k):
    """CKNNA in sixty digits."""
    with mpmath.workdps(60):
        sides = []
        for side in (x, y):
            rows = [[mpmath.mpf(value) for value in row] for row in side.tolist()]
            unit = [[a / mpmath.sqrt(mpmath.fdot(row, row)) for a in row] for row in rows]
            kernel = [[mpmath.fdot(a, b) for b in unit] for a in unit]
            sides.append(([[a - sum(row) / len(row) for a in row] for row in kernel], exact_near(side, k)))

        def align(a, b):
            return sum(a[0][i][j] * b[0][i][j] for i in range(len(x)) for j in a[1][i] & b[1][i])

        return float(align(*sides) / mpmath.sqrt(align(sides[0], sides[0]) * align(sides[1], sides[1])))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e3, 3e6, 1e9])
def test_regression_rows_far_from_the_origin_keep_their_neighbours(offset, scale):
    """Cosines rounded to twelve decimals gave unrelated rows a mutual_knn of 1.0 at 3e6."""
    x, y = ((normal(30, 4, side) + offset) * scale for side in (1, 2))
    expected = np.mean([len(a & b) / 10 for a, b in zip(exact_near(x, 10), exact_near(y, 10), strict=True)])
    assert mutual_knn(x, y) == pytest.approx(expected, abs=1e-12)
    # At 1e9 the chords keep six digits.
    assert cknna(x, y) == pytest.approx(exact_cknna(x, y, 10), abs=1e-7 if offset < 1e9 else 1e-4)
    related = x + 0.1 * scale * normal(30, 4, 3)
    expected = np.mean([len(a & b) / 10 for a, b in zip(exact_near(x, 10), exact_near(related, 10), strict=True)])
    assert mutual_knn(x, related) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.6


def test_regression_unrelated_rows_share_neighbours_by_chance_at_any_offset():
    values = [
        [mutual_knn(normal(100, 16, seed) + offset, normal(100, 16, seed + 50) + offset) for seed in range(8)]
        for offset in (0.0, 1e3, 3e6, 1e9)
    ]
    assert np.mean(values, axis=1) == pytest.approx([10 / 99] * 4, abs=0.02)


def test_groups_of_near_rows_keep_their_order_within():
    """Each group is a cloud of 1e-9 about a point of its own: no product of rows sees the order within."""
    centres = 10 * normal(3, 5, 0).repeat_interleave(15, 0)
    for spread in (1e-6, 1e-9):
        x, y = (centres + spread * normal(45, 5, seed) for seed in (1, 2))
        expected = np.mean([len(a & b) / 10 for a, b in zip(exact_near(x, 10), exact_near(y, 10), strict=True)])
        assert mutual_knn(x, y) == pytest.approx(expected, abs=1e-12)


def test_ties_by_symmetry_go_to_the_first_whatever_rounding_says():
    # The corners of a hypercube: many equal cosines, which a rotation rounds apart.
    corners = torch.tensor([[1.0 if i >> bit & 1 else -1.0 for bit in range(6)] for i in range(64)]).double()
    y = normal(64, 3, 1)
    expected = mutual_knn(corners, y)
    near = exact_near(corners, 10)
    assert expected == pytest.approx(np.mean([len(a & b) / 10 for a, b in zip(near, exact_near(y, 10), strict=True)]))
    for seed in range(5):
        turn = torch.linalg.qr(normal(6, 6, seed)).Q
        assert mutual_knn(corners @ turn, y) == expected
        assert mutual_knn(0.1 * corners @ turn, y) == expected
        assert mutual_knn(y, corners @ turn) == expected


def test_rows_that_only_rounding_tells_apart_have_no_neighbours():
    y = normal(40, 3, 1)
    with pytest.raises(NumericalFailure, match=r"\d+ of 40 rows whose nearest rows differ .* by rounding alone"):
        mutual_knn(normal(40, 4, 2) + 9e11, y)
    for offset in (1e13, 1e15):
        with pytest.raises(NumericalFailure, match="rounding"):
            mutual_knn(normal(40, 4, 2) + offset, y)
    # Multiples of one row lie in one direction.
    with pytest.raises(NumericalFailure, match="by rounding alone"):
        mutual_knn(normal(40, 1, 2).abs() * normal(1, 7, 3), y)


def test_binary_rows_tie_exactly():
    x = (normal(60, 3, 1) > 0).double() + 0.1
    near = exact_near(x, 10)
    y = normal(60, 3, 2)
    expected = np.mean([len(a & b) / 10 for a, b in zip(near, exact_near(y, 10), strict=True)])
    assert mutual_knn(x, y) == pytest.approx(expected, abs=1e-12)


def normal(n, p, seed):
    return torch.randn(n, p, generator=generator("neighbours far", n, p, seed), dtype=torch.float64)

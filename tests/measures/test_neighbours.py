"""Neighbours against scikit-learn and against the formula written out."""

from __future__ import annotations

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

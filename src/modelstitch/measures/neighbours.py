"""Nearest neighbours: do two sets of activations put the same examples next to each other?

Reference: Huh, Cheung, Wang & Isola, "The Platonic Representation Hypothesis", ICML 2024.
Rows are scaled to unit length first, as in their code, so that neighbours are those of the largest cosine; a row never
counts as its own neighbour; among equally near rows the first ones do (`modelstitch.measures.nearest`).
Beware: both need all rows at once, and memory for n² products. By chance two sets share k/(n - 1) of their neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from jaxtyping import Bool, Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure
from modelstitch.measures.nearest import nearest, squared_chords, unit_rows
from modelstitch.measures.promises import Promises

_K = 10
# A product of unit rows is rounded at 1e-16: above this squared chord at least ten digits of 1 - cos are left.
_APART = 1e-5


def mutual_knn(x: RowsLike, y: RowsLike, *, k: int = _K) -> float:
    """The mean share of an example's k nearest neighbours that are the same in both: ``mean_i |N_x(i) ∩ N_y(i)| / k``.

    Args:
        x: rows of the first network's activations.
        y: the same rows of the second network's.
        k: how many neighbours.

    Returns:
        A similarity in [0, 1], a share; by chance ``k / (n - 1)``. Invariant to orthogonal maps, permutations and one
        common scale of the channels of either side, not to translation: a cosine knows the origin.

    Raises:
        DataError: fewer than ``2 k + 1`` rows (half the neighbours would agree by chance), or not as many in ``x`` as
            in ``y``.
        NumericalFailure: a value is not finite, all rows are alike, a row is zero and has no direction, or the nearest
            rows differ from each other by rounding alone.
        SettingError: no neighbours.

    Reference:
        Huh et al. 2024, appendix A.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).view(6, 2).square()
        >>> mutual_knn(x, 2 * x, k=2)
        1.0
    """
    return MUTUAL_KNN(x, y) if k == _K else _mutual_knn(_checked(k))(x, y)


def cknna(x: RowsLike, y: RowsLike, *, k: int = _K) -> float:
    """Kernel alignment over those pairs of examples alone that are near neighbours in both.

    With ``K = X Xᵀ`` of rows of unit length, ``K̄_ij = K_ij - mean_l K_il``, and ``α(i, j) = 1`` where j is among the k
    nearest neighbours of i in both: ``Align(K, L) = Σ_ij α(i, j) K̄_ij L̄_ij``, and the value is ``Align(K, L) /
    √(Align(K, K) · Align(L, L))``. The mean is over all l, i itself among them. The authors' code puts the masked
    kernels into the unbiased HSIC instead, which is another number.

    Args:
        x: rows of the first network's activations.
        y: the same rows of the second network's.
        k: how many neighbours.

    Returns:
        A similarity in [-1, 1], without unit; invariances as `mutual_knn`.

    Raises:
        DataError: as `mutual_knn`.
        NumericalFailure: as `mutual_knn`.
        SettingError: no neighbours.

    Reference:
        Huh et al. 2024, appendix A.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).view(6, 2).square()
        >>> round(cknna(x, 2 * x, k=2), 12)
        1.0
    """
    return CKNNA(x, y) if k == _K else _cknna(_checked(k))(x, y)


@dataclass(frozen=True, eq=False)
class _Near:
    """One side: which rows are near each row, and its products with the mean of each row taken off."""

    near: Bool[Tensor, "n n"]
    products: Float64[Tensor, "n n"]
    alignment: float


def _near_alone(x: Float64[Tensor, "n p"], k: int) -> Bool[Tensor, "n n"]:
    unit = unit_rows(x)
    return nearest(unit, *squared_chords(unit), k)


def _near_with_products(x: Float64[Tensor, "n p"], k: int) -> _Near:
    unit = unit_rows(x)
    squares, error = squared_chords(unit)
    near = nearest(unit, squares, error, k)
    # The products themselves, unless all are so close to 1 that only the chords still tell them apart.
    products = unit @ unit.T if float(squares.max()) > _APART else -squares / 2
    centred = products - products.mean(1, keepdim=True)
    alignment = float((centred.square() * near).sum())
    if alignment == 0:
        found = "neighbours that are all as near as everything else"
        raise NumericalFailure("CKNNA", found, "give more varied examples, or cut elsewhere")
    return _Near(near, centred, alignment)


def _share(x: Bool[Tensor, "n n"], y: Bool[Tensor, "n n"], k: int) -> float:
    return int((x & y).sum()) / (len(x) * k)


def _aligned(x: _Near, y: _Near) -> float:
    shared = float((x.products * y.products * (x.near & y.near)).sum())
    return shared / math.sqrt(x.alignment * y.alignment)


def _checked(k: int) -> int:
    if k < 1:
        raise SettingError(f"the {k} nearest neighbours", "no such number", "choose 1 or more")
    return k


def _promises(k: int, low: float) -> Promises:
    return Promises(
        range=(low, 1.0),
        higher_is_more_similar=True,
        symmetric=True,
        metric=False,
        invariances=frozenset({"orthogonal", "isotropic_scale", "permutation"}),
        least_rows=2 * k + 1,
        rows_per_channel="any",
    )


def _mutual_knn(k: int) -> Measure:
    side, between = partial(_near_alone, k=k), partial(_share, k=k)
    return Measure("mutual_knn", f"mutual {k}-nearest neighbours", _promises(k, 0.0), side, between)


def _cknna(k: int) -> Measure:
    return Measure("cknna", f"CKNNA, k = {k}", _promises(k, -1.0), partial(_near_with_products, k=k), _aligned)


MUTUAL_KNN = _mutual_knn(_K)
CKNNA = _cknna(_K)

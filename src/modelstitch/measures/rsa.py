"""Representational similarity analysis: do two sets of activations order the distances between examples alike?

Reference: Kriegeskorte, Mur & Bandettini, "Representational similarity analysis", 2008, which takes one minus Pearson's
correlation of two examples' channels for their distance. Here it is the Euclidean distance, which unlike that one does
not change with the origin of the activations; packages also differ in correlating the distances themselves (Pearson)
instead of their ranks. Squaring the distances changes no rank. Distances that differ by no more than rounding the rows
could make them differ are ties, and share their mean rank.
Beware: it needs all rows at once, and memory for n²/2 distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import rankdata
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure
from modelstitch.measures.promises import Promises

_EPSILON = float(np.finfo(np.float64).eps)
# A chain of ties no longer than this many roundings is one distance; a longer one is many that happen to lie close.
_CHAIN = 16


def rsa(x: RowsLike, y: RowsLike) -> float:
    """Spearman's correlation of the two sets of Euclidean distances between all pairs of rows.

    ``ρ(rank(‖x_i - x_j‖), rank(‖y_i - y_j‖))`` over ``i < j``, with the mean rank for ties.

    Args:
        x: rows of the first network's activations.
        y: the same rows of the second network's.

    Returns:
        A similarity in [-1, 1], without unit. Invariant to orthogonal maps, permutations, one common scale and
        translation of the channels of either side.

    Raises:
        DataError: fewer than three rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or all distances of one side are equal.

    Reference:
        Kriegeskorte et al. 2008; Spearman's correlation as in Nili et al., "A toolbox for representational similarity
        analysis", 2014.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> round(rsa(x, x.square()), 12)
        1.0
    """
    return RSA(x, y)


def _side(x: Float64[Tensor, "n p"]) -> Float64[Tensor, " pairs"]:
    """Centred ranks of unit length: a comparison is one product of two of them."""
    # Exact differences, not the expanded square, which would tell equal rows apart by its rounding.
    distances = torch.nn.functional.pdist(x).numpy()
    # Constant channels have no part in a distance, however large they are.
    lengths = torch.linalg.vector_norm(x[:, (x != x[0]).any(0)], dim=1).numpy()
    first, second = np.triu_indices(len(x), 1)
    # What a few roundings of the two rows, and the sum over their channels, move a distance by.
    rounding = _EPSILON * (8 + x.shape[1] ** 0.5) * (lengths[first] + lengths[second])
    ranks = torch.from_numpy(np.asarray(rankdata(_levels(distances, rounding))))
    ranks = ranks - ranks.mean()
    length = torch.linalg.vector_norm(ranks)
    if length == 0:
        found, do = "distances that are all equal: no order to compare", "give more rows, or cut elsewhere"
        raise NumericalFailure("RSA", found, do)
    scaled: Tensor = ranks / length
    return scaled


def _levels(distances: Float64[np.ndarray, " pairs"], rounding: Float64[np.ndarray, " pairs"]) -> Any:
    """Whole numbers in the order of the distances, equal where those differ by their rounding alone."""
    order = np.argsort(distances, kind="stable")
    sizes, errors = distances[order], rounding[order]
    apart = np.r_[True, np.diff(sizes) > np.maximum(errors[1:], errors[:-1])]
    begin = np.maximum.accumulate(np.where(apart, np.arange(len(sizes)), 0))
    widths = np.maximum(_CHAIN * errors[begin], np.finfo(np.float64).tiny)
    steps = np.floor((sizes - sizes[begin]) / widths)
    levels = np.empty(len(sizes), dtype=np.int64)
    levels[order] = np.cumsum(apart | np.r_[True, np.diff(steps) != 0])
    return levels


def _between(x: Float64[Tensor, " pairs"], y: Float64[Tensor, " pairs"]) -> float:
    return float(x @ y)


RSA = Measure(
    name="rsa",
    title="RSA, Spearman of Euclidean distances",
    promises=Promises(
        range=(-1.0, 1.0),
        higher_is_more_similar=True,
        symmetric=True,
        metric=False,
        invariances=frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"}),
        least_rows=3,
        rows_per_channel="any",
    ),
    side=_side,
    between=_between,
)

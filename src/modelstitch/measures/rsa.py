"""Representational similarity analysis: do two sets of activations order the distances between examples alike?

Reference: Kriegeskorte, Mur & Bandettini, "Representational similarity analysis", 2008, which takes one minus Pearson's
correlation of two examples' channels for their distance. Here it is the Euclidean distance, which unlike that one does
not change with the origin of the activations; packages also differ in correlating the distances themselves (Pearson)
instead of their ranks. Squaring the distances changes no rank.
Beware: it needs all rows at once, and memory for n²/2 distances.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.stats import rankdata
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.measures.measure import Measure
from modelstitch.measures.promises import Promises

# Distances that differ by less than this share of the largest are one: what float64 leaves of equal ones.
_TIE = 1e-10


def rsa(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> float:
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
    distances = torch.nn.functional.pdist(x - x.mean(0))
    largest = distances.max()
    steps = torch.round(distances / (largest * _TIE)) if largest > 0 else distances
    ranks = torch.from_numpy(np.asarray(rankdata(steps.numpy())))
    ranks = ranks - ranks.mean()
    length = torch.linalg.vector_norm(ranks)
    if length == 0:
        found, do = "distances that are all equal: no order to compare", "give more rows, or cut elsewhere"
        raise NumericalFailure("RSA", found, do)
    scaled: Tensor = ranks / length
    return scaled


def _between(x: Float64[Tensor, " pairs"], y: Float64[Tensor, " pairs"]) -> float:
    # Only rounding leaves the range, by 1e-16.
    return float((x @ y).clamp(-1.0, 1.0))


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

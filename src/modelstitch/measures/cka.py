"""Linear centred kernel alignment: do two sets of activations hold the same distances between examples?

Two estimates. The biased one is what most papers report; with few rows per channel it is large even for unrelated
activations. The debiased one is close to 0 for those at any number of rows.

References: Kornblith, Norouzi, Lee & Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019; Song,
Smola, Gretton, Bedo & Borgwardt, "Feature Selection via Dependence Maximization", JMLR 2012, for the unbiased HSIC;
Székely & Rizzo, "Partial Distance Correlation with Methods for Dissimilarities", 2014, for it as an inner product.
Beware: both are blind to what happens in directions of little variance, which a network may still use, and a few rows
far from the rest can decide the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure, check_rows
from modelstitch.measures.promises import Invariance, Promises
from modelstitch.measures.scale import power, require_spread
from modelstitch.moments import Moments

# The debiased formula subtracts terms that are each rounded at 1e-16: above this share of them, five digits are left.
_FLOOR = 1e-10


def linear_cka(x: RowsLike, y: RowsLike) -> float:
    """Linear CKA of two sets of rows, biased: ``‖XᵀY‖²_F / (‖XᵀX‖_F · ‖YᵀY‖_F)`` with every channel centred.

    From channels × channels products or, for a side with at least as many channels as rows, from its rows × rows Gram
    matrix, which gives the same value.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A similarity in [0, 1], without unit; not squared, and no root of it. Invariant to orthogonal maps,
        permutations, one common scale and translation of the channels of either side; not to invertible linear maps.

    Raises:
        DataError: fewer than two rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: no more rows than channels; `debiased_cka` is the way out.

    Reference:
        Kornblith et al. 2019, eq. 4 with a linear kernel, and table 1.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> round(linear_cka(x, 5 - 2 * x.flip(1)), 12)
        1.0
    """
    return CKA(x, y)


def debiased_cka(x: RowsLike, y: RowsLike) -> float:
    """Linear CKA with an unbiased estimate of each of its three terms, ``h(x, y) / √(h(x, x) · h(y, y))``.

    With all channels centred, ``h(x, y) = ‖XᵀY‖²_F - n/(n-2) Σᵢ ‖xᵢ‖²‖yᵢ‖² + Σᵢ ‖xᵢ‖² Σᵢ ‖yᵢ‖² / ((n-1)(n-2))``. It is
    ``n (n-3) HSIC₁`` for linear kernels: what is left of the product of the Gram matrices without their diagonals. The
    ratio of unbiased terms is itself only nearly unbiased.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A similarity in [-1, 1], without unit: 1 for equal sides, on average about 0 for unrelated ones, so often
        slightly negative; clearly negative values need rows chosen for the purpose. Invariances as `linear_cka`. Others
        clip negative values to 0, which makes the mean over unrelated layers positive again, or average estimates of
        batches, as `modelstitch.measures.minibatch.minibatch_cka` does.

    Raises:
        DataError: fewer than four rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, one side is constant, or nothing of one side's ``h`` is left, as
            when all rows but one are the same.

    Reference:
        Song et al. 2012, the unbiased estimator HSIC₁; the choice ``debiased=True`` of the code of Kornblith et al.
        2019 is the same.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 0.0], [5.0, 1.0]])
        >>> round(debiased_cka(x, 5 - 2 * x.flip(1)), 12)
        1.0
    """
    return CKA_DEBIASED(x, y)


def linear_cka_from_moments(moments: Moments) -> float:
    """`linear_cka` of all rows that the moments have seen; errors and warnings as there.

    Args:
        moments: of paired rows.

    Returns:
        A similarity in [0, 1], without unit.
    """
    return _biased(_products(CKA, moments))


def debiased_cka_from_moments(moments: Moments) -> float:
    """`debiased_cka` of all rows that the moments have seen; errors as there.

    Args:
        moments: of paired rows.

    Returns:
        A similarity in [-1, 1], without unit.
    """
    # What is needed of the rows' lengths was summed with the second moments, so nothing is lost by streaming.
    products = _products(CKA_DEBIASED, moments)
    traces = [float(scatter.trace()) for scatter in (moments.xx, moments.yy)]
    a, b = (power(math.sqrt(trace)) for trace in traces)
    u, v = traces[0] / a / a, traces[1] / b / b
    lengths = _Products(
        moments.norms_xy / a / a / b / b, moments.norms_xx / a / a / a / a, moments.norms_yy / b / b / b / b
    )
    # The mean of squares is at least the square of the mean, unless fourth powers left the range of float64.
    for own, trace in ((lengths.x, u), (lengths.y, v)):
        if not 0.9 * trace**2 / moments.n < own < math.inf:
            raise _unsquarable(CKA_DEBIASED)
    return _debiased(products, lengths, _Products(u * v, u * u, v * v), moments.n)


@dataclass(frozen=True)
class _Products:
    """One inner product between the sides and of each with itself: what a cosine is made of."""

    across: float
    x: float
    y: float

    def cosine(self, measure: Measure) -> float:
        # By the Cauchy-Schwarz inequality the exact value is in the range; only rounding leaves it, by 1e-16.
        return measure.promises.within(measure.title, self.across / math.sqrt(self.x * self.y))


@dataclass(frozen=True, eq=False)
class _Kernel:
    """One side's linear kernel: its centred rows, or their Gram matrix where that is smaller; of trace about 1.

    ``lengths`` are the squared lengths of the rows, and ``own`` the inner product with itself.
    """

    values: Float64[Tensor, "n k"]
    is_gram: bool
    lengths: Float64[Tensor, " n"]
    own: float


def _side(x: Float64[Tensor, "n p"]) -> _Kernel:
    centred = x - x.mean(0)
    # Divided first, so that no product overflows or underflows at any scale of the activations; in place, since another
    # copy takes as long as a fifth of the product. By a power of two, so that equal sides give exactly 1.
    unit = centred.div_(power(float(torch.linalg.matrix_norm(centred))))
    is_gram = unit.shape[1] >= len(unit)
    values = unit @ unit.T if is_gram else unit
    return _Kernel(values, is_gram, torch.einsum("ij,ij->i", unit, unit), _inner(values, is_gram, values, is_gram))


def _inner(x: Tensor, x_is_gram: bool, y: Tensor, y_is_gram: bool) -> float:
    """``Σᵢⱼ Kᵢⱼ Lᵢⱼ`` of the centred kernels."""
    if x_is_gram and y_is_gram:
        return float(x.flatten() @ y.flatten())
    if not x_is_gram and not y_is_gram:
        return float((x.T @ y).square().sum())
    gram, rows = (x, y) if x_is_gram else (y, x)
    return float(rows.flatten() @ (gram @ rows).flatten())


def _products_of(x: _Kernel, y: _Kernel) -> _Products:
    return _Products(_inner(x.values, x.is_gram, y.values, y.is_gram), x.own, y.own)


def _between(x: _Kernel, y: _Kernel) -> float:
    return _biased(_products_of(x, y))


def _between_debiased(x: _Kernel, y: _Kernel) -> float:
    u, v = x.lengths, y.lengths
    lengths = _Products(float(u @ v), float(u @ u), float(v @ v))
    traces = (float(u.sum()), float(v.sum()))
    squared = _Products(traces[0] * traces[1], traces[0] ** 2, traces[1] ** 2)
    return _debiased(_products_of(x, y), lengths, squared, len(u))


def _biased(products: _Products) -> float:
    return products.cosine(CKA)


def _debiased(products: _Products, lengths: _Products, traces: _Products, n: int) -> float:
    """From ``Σ Kᵢⱼ Lᵢⱼ``, ``Σ Kᵢᵢ Lᵢᵢ`` and ``Σ Kᵢᵢ Σ Lᵢᵢ``, for centred kernels, whose rows add up to 0."""
    across, x, y = (
        whole - n / (n - 2) * diagonal + trace / ((n - 1) * (n - 2))
        for whole, diagonal, trace in zip(_terms(products), _terms(lengths), _terms(traces), strict=True)
    )
    for which, left, whole in (("x", x, products.x), ("y", y, products.y)):
        if left <= _FLOOR * whole:
            raise NumericalFailure(
                asked=CKA_DEBIASED.title,
                found=f"no covariance of {which} left without the diagonal, as when all rows but one are the same",
                do="give more rows, or look at whether the layer is almost dead",
            )
    return _Products(across, x, y).cosine(CKA_DEBIASED)


def _terms(products: _Products) -> tuple[float, float, float]:
    return products.across, products.x, products.y


def _products(measure: Measure, moments: Moments) -> _Products:
    """The inner products of both sides, scaled as in `_side`."""
    check_rows(measure.title, measure.promises, moments.n, len(moments.mean_x), len(moments.mean_y))
    require_spread(measure.title, moments)
    xx, yy = moments.xx, moments.yy
    a, b = (power(math.sqrt(float(scatter.trace()))) for scatter in (xx, yy))
    return _Products(*(float(one.square().sum()) for one in (moments.xy / a / b, xx / a / a, yy / b / b)))


def _unsquarable(measure: Measure) -> NumericalFailure:
    return NumericalFailure(
        asked=measure.title,
        found="activations too large, or too small, to be squared",
        do="look for the first layer that returns such numbers, or divide them by a constant",
    )


_INVARIANCES: frozenset[Invariance] = frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"})

CKA = Measure(
    name="cka",
    title="linear CKA",
    promises=Promises(
        range=(0.0, 1.0),
        higher_is_more_similar=True,
        symmetric=True,
        metric=False,
        invariances=_INVARIANCES,
        least_rows=2,
        rows_per_channel="advised",
    ),
    side=_side,
    between=_between,
    from_moments=linear_cka_from_moments,
)
"""`linear_cka` as an object; ``CKA.accumulator()`` streams it."""

CKA_DEBIASED = Measure(
    name="cka_debiased",
    title="linear CKA, debiased",
    promises=Promises(
        range=(-1.0, 1.0),
        higher_is_more_similar=True,
        symmetric=True,
        metric=False,
        invariances=_INVARIANCES,
        least_rows=4,
        rows_per_channel="any",
    ),
    side=_side,
    between=_between_debiased,
    from_moments=debiased_cka_from_moments,
)
"""`debiased_cka` as an object; ``CKA_DEBIASED.accumulator()`` streams it."""

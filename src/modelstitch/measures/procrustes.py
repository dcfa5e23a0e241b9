"""Procrustes: how far apart two sets of activations stay after the best rotation, as a distance and as an angle.

Both sides are centred and scaled to unit Frobenius norm. With ``s = ‖XᵀY‖_* / (‖X‖_F ‖Y‖_F)``, the sum of singular
values over the norms, the distance is ``√(2 - 2 s)`` and the angle is ``arccos s``.

References: Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 1966; Ding, Denain
& Steinhardt, "Grounding Representation Similarity Through Statistical Testing", NeurIPS 2021; Williams, Kunz, Kornblith
& Linderman, "Generalized Shape Metrics on Neural Representations", NeurIPS 2021.
Beware: with no more rows than channels unrelated activations come close, too, since there is much room to rotate in.
Directions of large variance decide the value.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure, check_rows
from modelstitch.measures.promises import Promises
from modelstitch.measures.scale import require_spread
from modelstitch.moments import Moments

# From here on 2 - 2 s loses more than two of its sixteen digits and the residual is taken instead, which loses none.
_CLOSE = 0.99
_ROUNDING = 1e-9


def procrustes_distance(x: RowsLike, y: RowsLike) -> float:
    """The distance left after the best rotation: ``min ‖X Q - Y‖_F = √(2 - 2 s)``, both sides of unit norm.

    ``Q`` runs over the orthogonal maps, reflections included; the side with fewer channels is padded with zeros. Close
    to zero, where ``2 - 2 s`` would keep half of the digits, it is computed from the residual: equal sides give about
    1e-15 where the smallest variance is well above 1e-12 of the largest, and at worst 1e-8.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A distance in [0, √2], without unit: a metric up to the invariances. Invariant to orthogonal maps, permutations,
        one common scale and translation of the channels of either side; not to invertible linear maps. Others report
        other functions of the same ``s``: Ding et al. the square ``2 - 2 s``, `scipy.spatial.procrustes` its
        "disparity" ``1 - s²``, where the scale is fitted too, and some packages ``s`` itself as a similarity.

    Raises:
        DataError: fewer than three rows (two are always a perfect match), or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: no more rows than channels.

    Reference:
        Ding et al. 2021, section 2, up to the square.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> round(procrustes_distance(x, 5 - 2 * x.flip(1)), 12)
        0.0
    """
    return PROCRUSTES(x, y)


def procrustes_angle(x: RowsLike, y: RowsLike) -> float:
    """The angle left after the best rotation, ``arccos s``: the angular shape metric.

    It is the length of the shortest arc on the unit sphere where `procrustes_distance` is that of the chord, so the two
    always rank pairs alike. Precision as there.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        An angle in [0, π/2] radians: a metric up to the invariances, which are those of `procrustes_distance`. Some
        packages divide by π/2, or report ``1 - arccos(s) / (π/2)`` as a similarity.

    Raises:
        DataError: as `procrustes_distance`.
        NumericalFailure: as `procrustes_distance`.

    Warns:
        TooFewRows: no more rows than channels.

    Reference:
        Williams et al. 2021, the distance of rotations with centring and scaling.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(procrustes_angle(x, x[:, :1]), 6) == round(torch.pi / 4, 6)
        True
    """
    return PROCRUSTES_ANGULAR(x, y)


def procrustes_distance_from_moments(moments: Moments) -> float:
    """`procrustes_distance` of all rows that the moments have seen.

    The rows are gone, and with them the residual: close to zero the value is exact to about 1e-8 only.

    Args:
        moments: of paired rows.

    Returns:
        A distance in [0, √2], without unit.

    Raises:
        DataError: fewer than three rows were seen.
        NumericalFailure: one side is constant, or too small to be squared.

    Warns:
        TooFewRows: no more rows than channels.
    """
    _check(PROCRUSTES, moments)
    return _distance_from_moments(moments)


def procrustes_angle_from_moments(moments: Moments) -> float:
    """`procrustes_angle` of all rows that the moments have seen; all else as `procrustes_distance_from_moments`.

    Args:
        moments: of paired rows.

    Returns:
        An angle in [0, π/2] radians.

    Raises:
        DataError: fewer than three rows were seen.
        NumericalFailure: one side is constant, or too small to be squared.

    Warns:
        TooFewRows: no more rows than channels.
    """
    _check(PROCRUSTES_ANGULAR, moments)
    return _angle(_distance_from_moments(moments))


def _side(x: Float64[Tensor, "n p"]) -> Float64[Tensor, "n r"]:
    """The rows centred and of unit norm, rotated into no more channels than there are rows."""
    centred = x - x.mean(0)
    unit: Tensor = centred / torch.linalg.matrix_norm(centred)
    if x.shape[1] > len(x):
        # With Xᵀ = Q R the rows X Q = Rᵀ are the same up to a rotation. The root of the Gram matrix would cost as much
        # and keep only half of the digits.
        unit = torch.linalg.qr(unit.T, mode="r").R.T
    return unit


def _distance(x: Float64[Tensor, "n p"], y: Float64[Tensor, "n q"]) -> float:
    shared = x.T @ y
    s = _finite(float(torch.linalg.svdvals(shared).sum()))
    if s < _CLOSE:
        return math.sqrt(2.0 - 2.0 * s)
    u, _, vh = torch.linalg.svd(shared, full_matrices=False)
    a, b = x @ u, y @ vh.T
    # What the wider side holds beyond the width of the other has no counterpart, and counts in full.
    parts = (a - b, x - a @ u.T, y - b @ vh)
    return math.sqrt(_finite(sum(float(part.square().sum()) for part in parts)))


def _distance_from_moments(moments: Moments) -> float:
    # Divided by the norms first, so that the product of two traces neither overflows nor underflows.
    shared = moments.xy / moments.xx.trace().sqrt() / moments.yy.trace().sqrt()
    s = _finite(float(torch.linalg.svdvals(shared).sum()))
    if s > 1.0 + _ROUNDING:
        raise _no_share(s)
    # s is at most 1; only rounding goes beyond.
    return math.sqrt(2.0 - 2.0 * min(1.0, s))


def _angle(distance: float) -> float:
    # The arc of a chord; arccos s would lose the digits that the chord has near zero.
    return 2.0 * math.asin(distance / 2.0)


def _angle_between(x: Float64[Tensor, "n p"], y: Float64[Tensor, "n q"]) -> float:
    return _angle(_distance(x, y))


def _finite(value: float) -> float:
    # max(0, nan) is 0 and would pass for a perfect match.
    if not math.isfinite(value):
        raise _no_share(value)
    return value


def _no_share(value: float) -> NumericalFailure:
    return NumericalFailure(
        asked=PROCRUSTES.title,
        found=f"singular values that add up to {value}",
        do="report it with the activations: finite ones should not give this",
    )


def _check(measure: Measure, moments: Moments) -> None:
    check_rows(measure.title, measure.promises, moments.n, len(moments.mean_x), len(moments.mean_y))
    require_spread(measure.title, moments)


def _promises(largest: float) -> Promises:
    return Promises(
        range=(0.0, largest),
        higher_is_more_similar=False,
        symmetric=True,
        metric=True,
        invariances=frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"}),
        least_rows=3,
        rows_per_channel="advised",
    )


PROCRUSTES = Measure(
    name="procrustes",
    title="Procrustes distance",
    promises=_promises(math.sqrt(2.0)),
    side=_side,
    between=_distance,
    from_moments=procrustes_distance_from_moments,
)
"""`procrustes_distance` as an object."""

PROCRUSTES_ANGULAR = Measure(
    name="procrustes_angular",
    title="angular Procrustes distance",
    promises=_promises(math.pi / 2),
    side=_side,
    between=_angle_between,
    from_moments=procrustes_angle_from_moments,
)
"""`procrustes_angle` as an object."""

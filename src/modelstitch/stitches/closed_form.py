"""Closed-form matching: the affine, orthogonal or permuting map from one cut's rows to another's, in one solve.

Every map is ``y ≈ W x + b``. All that is needed are the `Moments` of the paired rows, so the cost of a solve depends
on the channels alone and one pass over the data serves every family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch
from modelstitch.moments import Moments

CUT_OFF = 1e-10
"""Directions that hold less than this share of the variance of ``x`` count as empty.

That is a spread of 10⁻⁵ of the whole: float32 activations hold two digits there, and inverting it would magnify their
rounding. The products of float64 rows resolve shares down to 10⁻¹⁵, so the rank is judged well above rounding.
"""

_CLIPPED = 1e-9


@dataclass(frozen=True, eq=False)
class Solution:
    """A map ``y ≈ W x + b`` in float64.

    Args:
        weight: ``W``.
        bias: ``b``; zero where the family has none.
        residual: the share of the target's variance that is left, ``‖Y - X Wᵀ - b‖² / ‖Y - ȳ‖²``, on the rows that
            were solved for. 0 is a perfect fit, 1 as good as the mean; families without bias can exceed 1.
    """

    weight: Float64[Tensor, "q p"]
    bias: Float64[Tensor, " q"]
    residual: float


def least_squares(moments: Moments) -> Solution:
    """The affine map of least squared error, ``W = S_yx S_xx⁺`` and ``b = ȳ - W x̄``.

    Of all maps of least error, the one of least ``‖W‖_F``. Directions of ``x`` below `CUT_OFF` get no weight, and
    constant channels exactly none, so dead channels and duplicates do no harm. With fewer rows than channels the fit is
    perfect and means nothing.

    Args:
        moments: of the rows to map from (``x``) and to (``y``).

    Returns:
        The map and its residual, at most 1.

    Raises:
        DataError: the moments have seen no rows.
        NumericalFailure: the target is constant.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> moments = Moments()
        >>> moments.update(x, 3 * x + 1)
        >>> solution = least_squares(moments)
        >>> round(solution.weight.item(), 12), round(solution.bias.item(), 12)
        (3.0, 1.0)
    """
    return ridge(moments, 0.0)


def ridge(moments: Moments, strength: float) -> Solution:
    """The affine map of least penalised error, ``W = S_yx (S_xx + λ · tr(S_xx)/p · I)⁻¹`` and ``b = ȳ - W x̄``.

    The bias is not penalised, and ``λ`` is measured against the mean variance of the channels: rescaling ``x`` leaves
    the fitted values as they were.

    Args:
        moments: of the rows to map from (``x``) and to (``y``).
        strength: ``λ``, without unit; 0 is `least_squares`.

    Returns:
        The map and its residual, at most 1.

    Raises:
        SettingError: the strength is negative or not finite.
        DataError: the moments have seen no rows.
        NumericalFailure: the target is constant.

    Reference:
        Hoerl & Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", 1970, section 2.
    """
    if not 0.0 <= strength < math.inf:
        raise SettingError(
            asked=f"ridge of strength {strength}",
            found="a strength that is negative or not finite",
            do="choose 0 (least squares) or more; 1 shrinks a direction of mean variance by half",
        )
    _require_varying_target(moments)
    # What is left in a constant channel is rounding, and rounding must not be fitted.
    alive_x, alive_y = moments.varies_x, moments.varies_y
    within, across = moments.xx[alive_x][:, alive_x], moments.xy[alive_x][:, alive_y]
    variances, directions = torch.linalg.eigh(within)
    kept = variances > CUT_OFF * variances.sum()
    variances, directions = variances[kept], directions[:, kept]
    loaded = variances + strength * within.trace() / len(alive_x)
    weight = torch.zeros_like(moments.xy.T)
    weight[torch.outer(alive_y, alive_x)] = (across.T @ directions / loaded @ directions.T).flatten()
    return _solution(moments, weight, moments.mean_y - weight @ moments.mean_x)


def procrustes(moments: Moments) -> Solution:
    """The orthogonal map of least squared error, ``W = U Vᵀ`` of the decomposition ``YᵀX = U Σ Vᵀ``.

    Nothing is centred and there is no bias; reflections are allowed. Where ``YᵀX`` is short of full rank, several maps
    are equally good and this is one of them.

    Args:
        moments: of the rows to map from (``x``) and to (``y``), with as many channels each.

    Returns:
        The map and its residual, which may exceed 1.

    Raises:
        ShapeMismatch: the channels differ in number.
        DataError: the moments have seen no rows.
        NumericalFailure: the target is constant.

    Reference:
        Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966.
    """
    _require_square(moments, "an orthogonal map")
    _require_varying_target(moments)
    left, _, right = torch.linalg.svd(moments.uncentred_xy.T)
    return _solution(moments, left @ right, torch.zeros_like(moments.mean_y))


def assignment(moments: Moments) -> Solution:
    """The permutation of least squared error, ``W = argmax_P tr(P XᵀY)``.

    Nothing is centred and there is no bias. ``W[i, j] = 1`` says that channel ``j`` of ``x`` becomes channel ``i`` of
    ``y``.

    Args:
        moments: of the rows to map from (``x``) and to (``y``), with as many channels each.

    Returns:
        The map and its residual, which may exceed 1.

    Raises:
        ShapeMismatch: the channels differ in number.
        DataError: the moments have seen no rows.
        NumericalFailure: the target is constant.
    """
    _require_square(moments, "a permutation")
    _require_varying_target(moments)
    gain = moments.uncentred_xy.T
    to, come_from = linear_sum_assignment(gain.numpy(), maximize=True)
    weight = torch.zeros_like(gain)
    weight[torch.from_numpy(to), torch.from_numpy(come_from)] = 1.0
    return _solution(moments, weight, torch.zeros_like(moments.mean_y))


def _solution(moments: Moments, weight: Tensor, bias: Tensor) -> Solution:
    spread = moments.yy.trace()
    # Spread and offset apart: the squared error is a difference of large numbers only within the centred part.
    offset = moments.mean_y - weight @ moments.mean_x - bias
    mapped = weight @ moments.xx
    left = spread - 2 * (weight * moments.xy.T).sum() + (mapped * weight).sum() + moments.n * offset.square().sum()
    residual = float(left / spread)
    # The rounding of the mapped part grows with the weight; a matrix that is no matrix of moments goes far below it.
    rounding = 16 * torch.finfo(torch.float64).eps * float(weight.square().sum() * moments.xx.trace() / spread)
    if not -_CLIPPED - rounding <= residual < math.inf:
        raise NumericalFailure(
            asked="the residual of a closed-form matching",
            found=f"{residual}, where a share of variance is 0 or more",
            do="report this together with the moments; they contradict themselves",
        )
    return Solution(weight, bias, max(residual, 0.0))


def _require_varying_target(moments: Moments) -> None:
    if not bool(moments.varies_y.any()):
        raise NumericalFailure(
            asked="a closed-form matching",
            found=f"a constant target: the same activations for all {moments.n} rows",
            do="cut elsewhere, give more than one row, or look at why the layer is dead",
        )


def _require_square(moments: Moments, family: str) -> None:
    channels_x, channels_y = moments.xy.shape
    if channels_x != channels_y:
        raise ShapeMismatch(
            asked=f"{family} between the two cuts",
            found=f"{channels_x} channels to map from and {channels_y} to map to",
            do="use least_squares or ridge, or cuts with as many channels",
        )

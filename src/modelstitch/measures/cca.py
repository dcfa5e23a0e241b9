"""Canonical correlations: how well linear combinations of one side's channels follow those of the other.

The canonical correlations are the cosines of the principal angles between the spaces that the centred channels of the
two sides span over the rows. Three means of them are in use: the plain one, that over each side's leading principal
components (SVCCA), and one weighted by how much of ``x`` each direction accounts for (PWCCA).

References: Hotelling, "Relations Between Two Sets of Variates", Biometrika 1936; Raghu, Gilmer, Yosinski &
Sohl-Dickstein, "SVCCA", NeurIPS 2017; Morcos, Raghu & Bengio, "Insights on Representational Similarity in Neural
Networks with Canonical Correlation", NeurIPS 2018.
Beware: all three grow with the number of dimensions per row, also for unrelated activations; take many more rows than
channels. Centred rows fill ``n - 1`` dimensions: where both sides' ranks p and q add up to more, ``p + q - (n - 1)`` of
the correlations are 1 whatever the data, and a `TooFewRows` warning says how many; where one side fills all ``n - 1``,
all are, and there is an error instead of a value. Plain CCA counts a direction of tiny variance as much as the largest.
What counts as a dimension is said in `modelstitch.measures.spaces`; dead, repeated and collinear channels do not.
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, SettingError, TooFewRows
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure, check_rows
from modelstitch.measures.promises import Invariance, Promises
from modelstitch.measures.scale import require_spread
from modelstitch.measures.spaces import Space, leading, leading_by_moments, spanned, spanned_by_moments
from modelstitch.moments import Moments

# Whitening multiplies the rounding of the moments, about 1e-15, by at most the 1e9 of the floor; a hundred times that
# for sums over many channels.
_ROUNDING = 1e-4
_KEPT = 0.99


def mean_cca(x: RowsLike, y: RowsLike) -> float:
    """The mean canonical correlation, ``(ρ₁ + … + ρ_r) / r`` with ``r`` the smaller of both sides' ranks.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A similarity in [0, 1], without unit. Invariant to every invertible linear map of the channels of either side
        and to translation. Others report the mean of squares, ``1 -`` the mean as a distance, the mean over the
        channels of one side, or, as Google's svcca code, the mean over the leading correlations that make up 98 % of
        their sum.

    Raises:
        DataError: rows that do not pair, or one side fills all ``n - 1`` dimensions of the centred rows.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: ``n - 1 < rank x + rank y``; it says how many correlations are 1 whatever the data.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 0.0], [5.0, 1.0]])
        >>> round(mean_cca(x, x @ torch.tensor([[1.0, 9.0], [0.0, 2.0]])), 12)
        1.0
    """
    return CCA(x, y)


def svcca(x: RowsLike, y: RowsLike, *, variance: float = _KEPT) -> float:
    """The mean canonical correlation of each side's fewest principal components that hold 99 % of its variance.

    The components are those of the centred channels as they are, not scaled to unit variance. If two of them have the
    same variance and only one is kept, the value depends on rounding.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.
        variance: the share of each side's variance to keep at least, between 0 and 1.

    Returns:
        A similarity in [0, 1], without unit. Invariant to orthogonal maps, permutations, one common scale and
        translation of the channels of either side; not to invertible linear maps. Others keep a fixed number of
        components, or a share of the sum of singular values in place of their squares.

    Raises:
        SettingError: ``variance`` is not between 0 and 1.
        DataError: rows that do not pair, or the components kept of one side fill all ``n - 1`` dimensions.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: ``n - 1`` is less than the numbers of components kept together.

    Reference:
        Raghu et al. 2017, section 2.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 0.1], [5.0, -0.1], [-6.0, 0.1], [8.0, 0.2]])
        >>> round(svcca(x, x[:, :1]), 3) == 1, round(svcca(x, x[:, 1:]), 3) == 1
        (True, False)
    """
    return _svcca(variance)(x, y)


def pwcca(x: RowsLike, y: RowsLike) -> float:
    """The mean of the canonical correlations, each weighted by how much of ``x`` its direction accounts for.

    ``Σ αᵢ ρᵢ / Σ αᵢ`` with ``αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩|``, where ``hᵢ`` are the canonical variables of ``x`` and ``xⱼ`` its
    centred channels, over the ``min(rank x, rank y)`` directions that have a correlation. Where some correlations are
    equal and others not, the weights within the equal ones are not determined, and the value depends on rounding.

    Args:
        x: rows of the first network's activations, which give the weights; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A similarity in [0, 1], without unit; swapping the sides changes it. Invariant to permutations, one common scale
        and translation of the channels of either side, and to every invertible linear map of those of ``y``. Google's
        svcca code takes the weights from the side with fewer channels, whichever that is, and adds the channels' means
        to the directions before it weighs; others report ``1 -`` the value as a distance.

    Raises:
        DataError: rows that do not pair, or one side fills all ``n - 1`` dimensions of the centred rows.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: ``n - 1 < rank x + rank y``; it says how many correlations are 1 whatever the data.

    Reference:
        Morcos et al. 2018, section 2, "projection weighted CCA".

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 0.0], [5.0, 1.0]])
        >>> round(pwcca(x, x @ torch.tensor([[1.0, 9.0], [0.0, 2.0]])), 12)
        1.0
    """
    return PWCCA(x, y)


def mean_cca_from_moments(moments: Moments) -> float:
    """`mean_cca` of all rows that the moments have seen; errors as there.

    Args:
        moments: of paired rows.

    Returns:
        A similarity in [0, 1], without unit.
    """
    x, y = _spaces(CCA, moments)
    return _mean(CCA.title, moments.n, x.basis.T @ moments.xy @ y.basis)


def svcca_from_moments(moments: Moments, *, variance: float = _KEPT) -> float:
    """`svcca` of all rows that the moments have seen; errors as there.

    Args:
        moments: of paired rows.
        variance: the share of each side's variance to keep at least, between 0 and 1.

    Returns:
        A similarity in [0, 1], without unit.
    """
    measure = _svcca(variance)
    _check(measure, moments)
    x, y = (leading_by_moments(scatter, variance) for scatter in (moments.xx, moments.yy))
    return _mean(measure.title, moments.n, x.T @ moments.xy @ y)


def pwcca_from_moments(moments: Moments) -> float:
    """`pwcca` of all rows that the moments have seen; errors as there.

    Args:
        moments: of paired rows.

    Returns:
        A similarity in [0, 1], without unit.
    """
    x, y = _spaces(PWCCA, moments)
    return _weighted(moments.n, x.basis.T @ moments.xy @ y.basis, x.loadings)


def _spaces(measure: Measure, moments: Moments) -> tuple[Space, Space]:
    _check(measure, moments)
    return spanned_by_moments(moments.xx, moments.varies_x), spanned_by_moments(moments.yy, moments.varies_y)


def _mean_between(x: Space, y: Space) -> float:
    return _mean(CCA.title, len(x.basis), x.basis.T @ y.basis)


def _leading_between(x: Float64[Tensor, "n k"], y: Float64[Tensor, "n l"]) -> float:
    return _mean(SVCCA.title, len(x), x.T @ y)


def _weighted_between(x: Space, y: Space) -> float:
    return _weighted(len(x.basis), x.basis.T @ y.basis, x.loadings)


def _mean(title: str, n: int, shared: Float64[Tensor, "r s"]) -> float:
    _require_rows(title, n, shared)
    return float(_correlations(title, torch.linalg.svdvals(shared)).mean())


def _weighted(n: int, shared: Float64[Tensor, "r s"], loadings: Float64[Tensor, "r live"]) -> float:
    _require_rows(PWCCA.title, n, shared)
    variables, values, _ = torch.linalg.svd(shared, full_matrices=False)
    weights = (variables.T @ loadings).abs().sum(1)
    return PWCCA.promises.within(PWCCA.title, float(weights @ _correlations(PWCCA.title, values) / weights.sum()))


def _require_rows(title: str, n: int, shared: Tensor) -> None:
    p, q = shared.shape
    # Centred rows fill n - 1 dimensions; two spaces that together need more have some in common whatever the data.
    forced = p + q - (n - 1)
    if forced >= min(p, q):
        found = f"{n} rows that fill {p} and {q} dimensions: any two such sets agree perfectly"
        do = f"give more than {max(p, q) + 1} rows, better more than {p + q}, or pool the maps, or take cka_debiased"
        raise DataError(title, found, do)
    if forced > 0:
        some = f"{forced} of the {min(p, q)} correlations {'is' if forced == 1 else 'are'} 1 whatever the data"
        advice = f"{some}; give more than {p + q} rows, or take cka_debiased"
        warnings.warn(f"{title} of {n} rows that fill {p} and {q} dimensions: {advice}", TooFewRows, stacklevel=3)


def _correlations(title: str, values: Float64[Tensor, " r"]) -> Float64[Tensor, " r"]:
    # Also False where a value is nan. The clamp is for rounding alone: more than that is no correlation.
    if not bool((values <= 1 + _ROUNDING).all()):
        raise NumericalFailure(
            asked=title,
            found=f"a largest correlation of {float(values.max())}",
            do="make the moments of both sides from the same rows, in float64",
        )
    return values.clamp(max=1.0)


def _check(measure: Measure, moments: Moments) -> None:
    check_rows(measure.title, measure.promises, moments.n, len(moments.mean_x), len(moments.mean_y))
    require_spread(measure.title, moments, by_channel=measure.name != "svcca")


def _promises(symmetric: bool, *more: Invariance) -> Promises:
    return Promises(
        range=(0.0, 1.0),
        higher_is_more_similar=True,
        symmetric=symmetric,
        metric=False,
        invariances=frozenset({"isotropic_scale", "translation", "permutation", *more}),
        least_rows=3,
        rows_per_channel="required",
    )


def _svcca(variance: float) -> Measure:
    if not 0.0 < variance < 1.0:
        do = "give a share such as 0.99; mean_cca takes all of it"
        raise SettingError("SVCCA", f"variance={variance!r}, which is not between 0 and 1", do)
    return Measure(
        name="svcca",
        title="SVCCA",
        promises=_promises(True, "orthogonal"),
        side=partial(leading, variance=variance),
        between=_leading_between,
        from_moments=partial(svcca_from_moments, variance=variance),
    )


CCA = Measure(
    name="cca",
    title="mean CCA",
    promises=_promises(True, "orthogonal", "invertible_linear"),
    side=spanned,
    between=_mean_between,
    from_moments=mean_cca_from_moments,
)
"""`mean_cca` as an object."""

SVCCA = _svcca(_KEPT)
"""`svcca` as an object, with 99 % of the variance."""

PWCCA = Measure(
    name="pwcca",
    title="PWCCA",
    promises=_promises(False),
    side=spanned,
    between=_weighted_between,
    from_moments=pwcca_from_moments,
)
"""`pwcca` as an object."""

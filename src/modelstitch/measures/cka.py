"""Linear centred kernel alignment: do two sets of activations hold the same distances between examples?

Reference: Kornblith, Norouzi, Lee & Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019.
Beware: this is the biased estimate. With fewer rows than channels it is large even for unrelated activations; use many
more rows than channels before reading anything into the value. It is blind to what happens in directions of little
variance, which a network may still use.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure
from modelstitch.measures.promises import Promises
from modelstitch.moments import Moments, varying


def linear_cka(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> float:
    """Linear CKA of two sets of rows, ``‖YᵀX‖²_F / (‖XᵀX‖_F · ‖YᵀY‖_F)`` with every channel centred.

    Computed in float64, from channels × channels products or, when either side has more channels than rows, from the
    rows × rows Gram matrices, which give the same value.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.

    Returns:
        A similarity in [0, 1], without unit. Invariant to orthogonal maps, permutations, one common scale and
        translation of the channels of either side; not to invertible linear maps.

    Raises:
        DataError: fewer than two rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or one side is constant and has no similarity to anything.

    Reference:
        Kornblith et al. 2019, eq. 4 with a linear kernel, and table 1.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> round(linear_cka(x, 5 - 2 * x.flip(1)), 12)
        1.0
    """
    _require_pairs(len(x), len(y))
    if max(x.shape[1], y.shape[1]) > len(x):
        return _from_grams(_gram("x", x), _gram("y", y))
    moments = Moments()
    moments.update(x, y)
    return linear_cka_from_moments(moments)


def linear_cka_from_moments(moments: Moments) -> float:
    """Linear CKA from streamed moments: `linear_cka` of all rows that the moments have seen.

    Args:
        moments: of paired rows.

    Returns:
        A similarity in [0, 1], without unit.

    Raises:
        DataError: fewer than two rows were seen.
        NumericalFailure: one side is constant.
    """
    _require_pairs(moments.n, moments.n)
    _require_varying("x", moments.varies_x)
    _require_varying("y", moments.varies_y)
    trace_x, trace_y = moments.xx.trace(), moments.yy.trace()
    # Divided by the traces first, so that squaring neither overflows nor underflows at any scale of the activations.
    shared = moments.xy / trace_x.sqrt() / trace_y.sqrt()
    norms = torch.linalg.matrix_norm(moments.xx / trace_x) * torch.linalg.matrix_norm(moments.yy / trace_y)
    return _within_range(shared.square().sum() / norms)


class LinearCKA:
    """Linear CKA of rows that come in batches: the value of `linear_cka` on all of them at once.

    Memory is ``p² + p·q + q²`` numbers, independent of the number of rows.

    Example:
        >>> cka = LinearCKA()
        >>> for batch in torch.arange(12.0).reshape(3, 2, 2).square():
        ...     cka.update(batch, -batch)
        >>> round(cka.compute(), 12)
        1.0
    """

    promises: ClassVar[Promises] = Promises(
        range=(0.0, 1.0),
        higher_is_more_similar=True,
        symmetric=True,
        metric=False,
        invariances=frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"}),
    )

    def __init__(self) -> None:
        self._moments = Moments()

    def update(self, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> None:
        """Take one more batch of paired rows; errors as in `modelstitch.moments.Moments.update`."""
        self._moments.update(x, y)

    def compute(self) -> float:
        """The similarity of all rows so far; errors as in `linear_cka_from_moments`."""
        return linear_cka_from_moments(self._moments)


def _gram(name: str, rows: Tensor) -> Tensor:
    rows = rows.detach().cpu().double()
    if not bool(torch.isfinite(rows).all()):
        raise NumericalFailure(
            asked="linear CKA",
            found=f"values of {name} that are not finite",
            do="look for the first layer that returns inf or nan",
        )
    mean = rows.mean(0)
    centred = rows - mean
    _require_varying(name, varying(mean, centred.square().sum(0), len(rows)))
    # Unit Frobenius norm, for the same reason as the traces above.
    centred = centred / torch.linalg.matrix_norm(centred)
    gram: Tensor = centred @ centred.T
    return gram


def _from_grams(a: Tensor, b: Tensor) -> float:
    return _within_range((a * b).sum() / (torch.linalg.matrix_norm(a) * torch.linalg.matrix_norm(b)))


def _within_range(value: Tensor) -> float:
    # The Cauchy-Schwarz inequality keeps the exact value in [0, 1]; only rounding leaves it, by 1e-16.
    return float(value.clamp(0.0, 1.0))


def _require_pairs(n: int, m: int) -> None:
    if n != m or n < 2:
        raise DataError(
            asked="linear CKA",
            found=f"{n} rows of x and {m} rows of y",
            do="give both networks the same examples, at least two, in the same order",
        )


def _require_varying(name: str, varies: Tensor) -> None:
    if not bool(varies.any()):
        raise NumericalFailure(
            asked="linear CKA",
            found=f"{name} is constant: the same activations for every row",
            do="cut elsewhere, or look at why the layer is dead",
        )

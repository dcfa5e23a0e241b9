"""CKA with a Gaussian kernel: do two sets of activations have the same neighbours?

Near rows decide the value, far ones count as equally far; with a wide kernel it comes close to linear CKA.

Reference: Kornblith, Norouzi, Lee & Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019,
section 4.
Beware: this is the biased estimate, large for unrelated activations too if there are few rows for many channels, and
the more so the narrower the kernel: where it is so narrow that each row is alone, any two sides agree perfectly. All
rows are needed at once, with a few matrices of n × n numbers in memory: each takes 32 MB for 2,000 rows, and 3 GB for
20,000.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure
from modelstitch.measures.promises import Promises
from modelstitch.measures.scale import largest, power

_TITLE = "RBF CKA"
_BANDWIDTH = 0.8
# Squared distances by ‖x‖² + ‖y‖² - 2 x·y keep an error of 1e-16 of the largest ‖x‖²: below this share of the median
# it moves no entry of the kernel by more than 1e-9.
_SPREAD = 1e6


def rbf_cka(x: RowsLike, y: RowsLike, *, bandwidth: float = _BANDWIDTH) -> float:
    """CKA with the kernel ``exp(-d² / (2 σ²))``: ``⟨HKH, HLH⟩ / (‖HKH‖_F · ‖HLH‖_F)``, with ``H`` the centring matrix.

    ``d`` is the Euclidean distance of two rows and ``σ`` the bandwidth times the median of that side's distances,
    each pair of different rows once. The default of 0.8 is a rather wide kernel, because narrow ones raise the value of
    unrelated activations.

    Args:
        x: rows of the first network's activations; see `modelstitch.tensors.rows`.
        y: the same rows of the second network's.
        bandwidth: σ as a share of the median distance, positive.

    Returns:
        A similarity in [0, 1], without unit. Invariant to orthogonal maps, permutations, one common scale and
        translation of the channels of either side; not to invertible linear maps. The published code of Kornblith et
        al. takes the median of all n² squared distances, the n zeros of rows with themselves included, which is a
        little less, and a bandwidth of 1 by default; others fix σ, so that the scale matters, or leave out the 2.

    Raises:
        SettingError: a bandwidth that is not positive.
        DataError: fewer than three rows (two are always a perfect match), or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, one side is constant, or more than half of its pairs of rows are
            equal, so that the median distance is 0.

    Warns:
        TooFewRows: no more rows than channels.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> round(rbf_cka(x, 5 - 2 * x.flip(1)), 12)
        1.0
    """
    return _rbf(bandwidth)(x, y)


def _side(x: Float64[Tensor, "n p"], bandwidth: float) -> Float64[Tensor, "n n"]:
    """The centred kernel, of unit norm."""
    squares = _squared_distances(x - x.mean(0))
    pairs = squares[torch.ones_like(squares, dtype=torch.bool).triu(1)]
    median = float(np.median(pairs.sqrt().numpy()))
    if median == 0.0:
        raise NumericalFailure(
            asked=_TITLE,
            found="more than half of the pairs of rows are equal, so that the median distance is 0",
            do="leave out repeated rows, cut elsewhere, or take linear CKA, which needs no bandwidth",
        )
    kernel = torch.exp(-squares / (2 * (bandwidth * median) ** 2))
    kernel = kernel - kernel.mean(0)
    kernel = kernel - kernel.mean(1, keepdim=True)
    unit: Tensor = kernel / torch.linalg.matrix_norm(kernel)
    return unit


def _squared_distances(centred: Float64[Tensor, "n p"]) -> Float64[Tensor, "n n"]:
    # Divided by a power of two first, which rounds nothing: tiny activations would underflow.
    centred = centred / power(largest(centred))
    lengths = centred.square().sum(1)
    squares = (lengths + lengths[:, None] - 2 * centred @ centred.T).clamp(min=0.0)
    if float(lengths.max()) > _SPREAD * float(squares.median()):
        # A few rows far from all others, or many that are equal: differences taken one by one keep all digits.
        squares = torch.cdist(centred, centred, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squares


def _between(x: Float64[Tensor, "n n"], y: Float64[Tensor, "n n"]) -> float:
    return float(x.flatten() @ y.flatten())


def _rbf(bandwidth: float) -> Measure:
    if not 0.0 < bandwidth < math.inf:
        raise SettingError(_TITLE, f"bandwidth={bandwidth!r}", f"give a positive share of the median, as {_BANDWIDTH}")
    return Measure(
        name="cka_rbf",
        title=_TITLE,
        promises=Promises(
            range=(0.0, 1.0),
            higher_is_more_similar=True,
            symmetric=True,
            metric=False,
            invariances=frozenset({"orthogonal", "isotropic_scale", "translation", "permutation"}),
            least_rows=3,
            rows_per_channel="advised",
        ),
        side=partial(_side, bandwidth=bandwidth),
        between=_between,
    )


CKA_RBF = _rbf(_BANDWIDTH)
"""`rbf_cka` as an object, with a bandwidth of 0.8."""

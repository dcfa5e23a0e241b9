"""What a measure says when nothing pairs: the same rows with the pairing shuffled.

A similarity of 0.3 may be a lot or nothing at all, depending on the measure, the number of rows and of channels. The
shuffled values are what this very pair of activations gives by chance.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from modelstitch.errors import SettingError, TooFewRows, did_you_mean
from modelstitch.measures.catalogue import MEASURES
from modelstitch.measures.door import RowsLike
from modelstitch.measures.measure import Measure, paired
from modelstitch.seeding import generator

_QUANTILES = (0.05, 0.5, 0.95)
# Values nearer than this share of the measure's range are equal: shuffles that give the same value by the mathematics
# differ by rounding, at 1e-14. What is counted too much by it makes p larger, never smaller.
_TIE = 1e-10


@dataclass(frozen=True)
class Null:
    """A value beside what chance gives.

    Attributes:
        measure: its name.
        value: of the rows as they are paired.
        low: 5 % quantile of the shuffled values.
        median: their median.
        high: their 95 % quantile.
        p: share of pairings, the true one counted among them, that make the sides at least as similar as they are.
        permutations: how many shuffles.
        n: how many rows.
    """

    measure: str
    value: float
    low: float
    median: float
    high: float
    p: float
    permutations: int
    n: int


def permutation_null(
    measure: str | Measure,
    x: RowsLike,
    y: RowsLike,
    *,
    permutations: int = 100,
    seed: int = 0,
) -> Null:
    """Calibrate a measure: its value, and its values when the rows of ``y`` are shuffled.

    ``p = (1 + #{shuffled at least as similar}) / (1 + permutations)``, which is never 0: with 100 shuffles the least is
    1/101. A shuffled value within 1e-10 of the measure's range counts as equal: ties are common where activations take
    few values, and rounding must not break them. Both sides keep their own geometry; only what pairs them is lost.

    Args:
        measure: a measure, or its name in `MEASURES`.
        x: rows of the first network's activations; one row an independent example, for positions of one image are not.
        y: the same rows of the second network's.
        permutations: how many shuffles, 1 or more.
        seed: of the shuffles.

    Returns:
        The value and its null.

    Raises:
        SettingError: no measure of that name, or no shuffles.
        StitchError: as the measure itself.

    Reference:
        Phipson & Smyth, "Permutation P-values Should Never Be Zero", 2010, for the 1 added.

    Example:
        >>> x = torch.arange(20.0).reshape(10, 2).square()
        >>> permutation_null("cka", x, 3 * x, permutations=9).p
        0.1
    """
    one = _named(measure) if isinstance(measure, str) else measure
    if permutations < 1:
        raise SettingError(f"a null of {permutations} shuffles", "nothing to compare with", "ask for 1 or more")
    a, b = paired(one.title, one.promises, x, y)
    side = one.side(a)
    value = one.between(side, one.side(b))
    shuffles = (torch.randperm(len(b), generator=generator("null", seed, k)) for k in range(permutations))
    with warnings.catch_warnings():
        # The value itself has warned.
        warnings.simplefilter("ignore", TooFewRows)
        null = np.array([one.between(side, one.side(b[order])) for order in shuffles])
    low, high = one.promises.range
    tie = _TIE * (high - low)
    as_similar = null >= value - tie if one.promises.higher_is_more_similar else null <= value + tie
    low, median, high = np.quantile(null, _QUANTILES).tolist()
    p = (1 + int(as_similar.sum())) / (1 + permutations)
    return Null(one.name, value, low, median, high, p, permutations, len(a))


def _named(name: str) -> Measure:
    if name not in MEASURES:
        do = did_you_mean(name, MEASURES, f"choose among {', '.join(MEASURES)}")
        raise SettingError(f"the null of {name!r}", "no measure of that name", do)
    return MEASURES[name]

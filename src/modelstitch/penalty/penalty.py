"""How much worse a stitched network is than the network that lent its top, by any score, with its paired interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.support.seeding import numpy_generator
from modelstitch.tasks import Outcome, Score, Task, require_same_examples

RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)
# Draws at a time: 32 MB of counts, whatever the number of examples.
_DRAWN_AT_ONCE = 2**22


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Penalty:
    """What stitching costs by one score; positive where the stitched network is worse than the top's own.

    Args:
        score: by what.
        value: ``±(stitched - top)``, in the score's unit.
        interval: its 95 % percentile interval under resampling of the test examples.
        stitched: the stitched network's score.
        top: that of the top's own network.
        n: how many test examples were compared.
    """

    score: Score
    value: float
    interval: Interval
    stitched: float
    top: float
    n: int

    def __repr__(self) -> str:
        low, high = self.interval.low, self.interval.high
        unit = f", unit={self.score.unit!r}" if self.score.unit else ""
        return f"Penalty(value={self.value:+z.2f}, interval=({low:+z.2f}, {high:+z.2f}){unit}, n={self.n})"


def penalties_of(
    stitched: Outcome, top: Outcome, task: Task, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Penalty]:
    """The penalty by each of a task's scores, from two outcomes on the same examples.

    The intervals are the 2.5th and 97.5th percentiles of the paired bootstrap: test examples are drawn with
    replacement, each with what both networks add to the score, and the score is taken of their sums. The draws are the
    same for every score and every pair of networks on as many examples. Equal outcomes give exactly 0 with the interval
    (0, 0).

    Args:
        stitched: outcome of the stitched network.
        top: outcome of the network that lent its top.
        task: by whose scores.
        seed: of the resampling.
        resamples: how often the test examples are redrawn.

    Returns:
        By the name of the score, the first of which gives *the* penalty.

    Raises:
        DataError: the outcomes are not of the same examples, or of none.
        SettingError: fewer than one resample.
        NumericalFailure: a score is not finite.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    """
    require_same_examples(stitched, top)
    if resamples < 1:
        raise SettingError(
            asked=f"an interval from {resamples} resamples", found="fewer than one", do="draw 1000 or more"
        )
    drawn = _drawn_sums(stitched, top, seed, resamples)
    return {score.name: _penalty(score, stitched, top, drawn[score.name]) for score in task.scores}


def _penalty(score: Score, stitched: Outcome, top: Outcome, drawn: NDArray[np.float64]) -> Penalty:
    ours, theirs = stitched.sums[score.name], top.sums[score.name]
    found = Penalty(
        score=score,
        value=score.difference(ours, theirs),
        interval=_percentiles(_differences(score, drawn)),
        stitched=score.value(ours),
        top=score.value(theirs),
        n=stitched.n,
    )
    numbers = (found.value, found.interval.low, found.interval.high, found.stitched, found.top)
    if not all(map(np.isfinite, numbers)):
        asked, told = f"the penalty by {score.title}", ", ".join(map(str, numbers))
        raise NumericalFailure(asked, f"numbers that are not finite: {told}", "look at the outputs and targets")
    return found


def _differences(score: Score, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The penalty of each redrawn set, from the sums ``(2, resamples, k)`` of both networks."""
    sign = 1.0 if score.better == "lower" else -1.0
    if score.of is None:
        # Sums of ones are whole numbers, so that equal examples cancel exactly.
        ours, theirs = (side[:, 0] / side[:, 1] for side in drawn)
        return np.asarray(sign * score.scale * (ours - theirs) + 0.0)
    ours, theirs = (np.array([score.number(torch.from_numpy(row)) for row in side]) for side in drawn)
    # Adding 0 takes the sign off a zero, as in `Score.difference`.
    return np.asarray(sign * (ours - theirs) + 0.0)


def _drawn_sums(stitched: Outcome, top: Outcome, seed: int, resamples: int) -> Mapping[str, NDArray[np.float64]]:
    """By score, the sums of both networks over each redrawn set of examples: ``(2, resamples, k)``."""
    columns = {
        name: np.concatenate([stitched.sums[name].numpy(), top.sums[name].numpy()], axis=1) for name in stitched.sums
    }
    table = np.concatenate(list(columns.values()), axis=1)
    sums = np.concatenate([counts.astype(np.float64) @ table for counts in _counts(stitched.n, seed, resamples)])
    found, begin = {}, 0
    for name, both in columns.items():
        width = both.shape[1]
        ours, theirs = np.split(sums[:, begin : begin + width], 2, axis=1)
        # Equal numbers have equal sums; a product of matrices may round them by the place of their column.
        equal = np.equal(*np.split(both, 2, axis=1)).all(axis=0)
        found[name] = np.stack([ours, np.where(equal, ours, theirs)])
        begin += width
    return found


@lru_cache(maxsize=1)
def _counts(n: int, seed: int, resamples: int) -> tuple[NDArray[np.uint16], ...]:
    """How often each redrawn set holds each example, some sets at a time; shared by all penalties on as many."""
    random = numpy_generator("bootstrap", seed)
    at_once = max(1, _DRAWN_AT_ONCE // n)
    sizes = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    return tuple(_counted(random.integers(n, size=(size, n)), n) for size in sizes)


def _counted(drawn: NDArray[np.int64], n: int) -> NDArray[np.uint16]:
    size = len(drawn)
    flat = drawn + np.arange(size)[:, None] * n
    return np.bincount(flat.ravel(), minlength=size * n).reshape(size, n).astype(np.uint16)


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, _PERCENTILES)
    return Interval(float(low), float(high))

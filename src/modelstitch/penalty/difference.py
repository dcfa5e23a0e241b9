"""The difference between two networks' test errors and losses, with its paired interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from modelstitch.cut.frozen import frozen_view, standard_attention
from modelstitch.data.samples import Samples
from modelstitch.errors import SettingError
from modelstitch.penalty.outcome import Network, Outcome, evaluate, require_same_examples
from modelstitch.seeding import numpy_generator

_PERCENTILES = (2.5, 97.5)
# 32 MB of drawn positions at a time, whatever the number of test examples.
_DRAWN_AT_ONCE = 2**22


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Penalty:
    """What stitching costs; positive where the stitched network is worse than the top's own.

    Args:
        value: difference of the test errors, in percentage points.
        interval: its 95 % percentile interval under resampling of the test examples.
        loss_value: difference of the mean test losses, in nats.
        loss_interval: its 95 % percentile interval.
        n: how many test examples were compared.
        error: test error of the stitched network, in percent.
        error_top: test error of the top's own network, in percent.
    """

    value: float
    interval: Interval
    loss_value: float
    loss_interval: Interval
    n: int
    error: float
    error_top: float

    def __repr__(self) -> str:
        low, high = self.interval.low, self.interval.high
        return f"Penalty(value={self.value:+z.2f}, interval=({low:+z.2f}, {high:+z.2f}), n={self.n})"


def penalty(stitched: Network, top_network: Network, samples: Samples, *, seed: int = 0) -> Penalty:
    """The penalty ``L(B>m ∘ s ∘ A≤l) - L(B)``, for error and for loss, with paired intervals.

    Args:
        stitched: the stitched network.
        top_network: the whole network ``B`` whose top it uses.
        samples: test examples that neither the networks nor the stitch have seen.
        seed: of the resampling behind the intervals.

    Returns:
        Percentage points of error and nats of loss, positive where the stitched network is worse.

    Raises:
        ClassMismatch: a network does not answer with one row of ``samples.classes`` scores for each example.
        DataError: there are no examples.
        NumericalFailure: a logit is not finite.
    """
    if isinstance(top_network, nn.Module):
        # The halves are frozen and use the standard attention; weights that take gradients, and the fused one, round
        # differently, so that a network could differ from its own halves in the last digits of its loss.
        top_network = frozen_view(top_network)
    with standard_attention():
        return penalty_of(evaluate(stitched, samples), evaluate(top_network, samples), seed=seed)


def penalty_of(stitched: Outcome, top: Outcome, *, seed: int = 0, resamples: int = 2000) -> Penalty:
    """The penalty from two outcomes on the same examples.

    The intervals are the 2.5th and 97.5th percentiles of the paired bootstrap: test examples are drawn with
    replacement, each with both answers. Equal outcomes give exactly 0 with the interval (0, 0).

    Args:
        stitched: outcome of the stitched network.
        top: outcome of the network that lent its top.
        seed: of the resampling.
        resamples: how often the test examples are redrawn.

    Returns:
        Percentage points of error and nats of loss, positive where the stitched network is worse.

    Raises:
        DataError: the outcomes are not of the same examples in the same order, or of none.
        SettingError: fewer than one resample.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    """
    require_same_examples(stitched, top)
    if resamples < 1:
        raise SettingError(
            asked=f"an interval from {resamples} resamples", found="fewer than one", do="draw 1000 or more"
        )
    random = numpy_generator("bootstrap", seed)
    changes = stitched.wrong.long() - top.wrong.long()
    loss_changes = (stitched.loss - top.loss).numpy()
    return Penalty(
        value=100 * int(changes.sum()) / stitched.n,
        interval=_percentiles(_resampled_errors(changes.numpy(), resamples, random)),
        loss_value=float(loss_changes.mean()),
        loss_interval=_percentiles(_resampled_means(loss_changes, resamples, random)),
        n=stitched.n,
        error=stitched.error,
        error_top=top.error,
    )


def _resampled_errors(changes: NDArray[np.int64], resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    # Drawing n examples with replacement and counting how many got worse and better is one multinomial draw.
    n = len(changes)
    worse, better = int((changes > 0).sum()), int((changes < 0).sum())
    drawn = random.multinomial(n, [worse / n, better / n, (n - worse - better) / n], size=resamples)
    return 100 * (drawn[:, 0] - drawn[:, 1]) / n


def _resampled_means(changes: NDArray[np.float64], resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    n = len(changes)
    at_once = max(1, _DRAWN_AT_ONCE // n)
    sizes = [min(at_once, resamples - done) for done in range(0, resamples, at_once)]
    return np.concatenate([changes[random.integers(n, size=(size, n))].mean(axis=1) for size in sizes])


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, _PERCENTILES)
    return Interval(float(low), float(high))

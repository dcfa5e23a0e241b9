"""One fit: a family, a bottom, a top and the train set go in, the best stitch comes out.

Batch-norm modes, for networks that have batch norms:

- ``frozen``: bottom and top run in eval mode, on the statistics that the networks were trained with.
- ``batch``: as in the code of Bansal, Nakkiran and Barak (2021), the whole stitched network is in train mode while the
  stitch is fitted: batch statistics are used, and running statistics re-estimated. Here that happens on clones.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import torch

from modelstitch.cut import Bottom, Top
from modelstitch.data import Samples, as_samples
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.matching import closed_form
from modelstitch.matching.gradient import descend, reestimate
from modelstitch.matching.statistics import paired_moments
from modelstitch.moments import Moments
from modelstitch.seeding import seeded
from modelstitch.stitched import Stitched
from modelstitch.stitches import Family, Stitch

BatchNorm = Literal["frozen", "batch"]
Start = Literal["least_squares", "identity", "random"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNorm)
STARTS: tuple[str, ...] = get_args(Start)


@dataclass(frozen=True)
class Direct:
    """Match the top's own activations in closed form: least squares, Procrustes or assignment, as the family asks.

    Args:
        ridge: strength of the penalty on an affine map, without unit; 0 is plain least squares.
    """

    ridge: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < math.inf:
            raise SettingError(f"direct matching with ridge={self.ridge}", "no such strength", "choose 0 or more")


@dataclass(frozen=True)
class TaskLoss:
    """Minimise the stitched network's cross-entropy on the train set: Adam, cosine to zero.

    Args:
        epochs: passes over the train set. From a least-squares start one or two do; from a random start, tens.
        learning_rate: at the beginning.
        batch_size: examples a step.
        start: ``least_squares`` (the family's closed form), ``identity``, or ``random``.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    start: Start = "least_squares"

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 2), ("learning_rate", 0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= low):
                raise SettingError(f"task loss with {name}={value}", "no such matching", f"choose {low} or more")
        if self.start not in get_args(Start):
            known = ", ".join(get_args(Start))
            raise SettingError(f"task loss with start={self.start!r}", "no such start", f"choose one of {known}")


Matching = Direct | TaskLoss


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found.

    Attributes:
        stitched: the stitched network, in eval mode.
        residual: share of the target's variance that the closed form leaves on the train set; None without one.
        curve: mean train loss of each epoch, in nats; empty for direct matching.
        seconds: how long it took.
    """

    stitched: Stitched
    residual: float | None
    curve: tuple[float, ...]
    seconds: float

    @property
    def stitch(self) -> Stitch:
        """The stitch alone."""
        return self.stitched.stitch


def fit(
    family: Family,
    bottom: Bottom,
    top: Top,
    train: object,
    *,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    moments: Moments | None = None,
) -> Fit:
    """Choose the stitch from its family: ``argmin over s in S`` of the distance or of the task loss.

    The networks are never changed: bottom and top hold their weights as buffers without gradients.

    Args:
        family: the set S.
        bottom: the layers of A up to a cut.
        top: the layers of B after a cut.
        train: the examples to fit on, or what `modelstitch.data.as_samples` takes; never those to measure on.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        batch_norm: ``frozen`` or ``batch``.
        seed: keys a random start and the order of the examples.
        moments: of the rows at the two cuts over ``train``, where they are known already.

    Returns:
        The stitched network and how it was reached.

    Raises:
        ShapeMismatch: the family cannot map the one cut onto the other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
        NumericalFailure: a constant target, or a loss that is not finite.
    """
    by = TaskLoss() if by is None else by
    examples = as_samples(train)
    _check(family, by, batch_norm)
    begun = time.perf_counter()
    with seeded("stitch", seed):
        stitch = family.build(bottom.cut, top.cut)
    # A half at an end point may hold no weights; the other one does.
    device = str(next(chain(bottom.buffers(), top.buffers()), torch.zeros(0)).device)
    residual = _start(family, stitch, bottom, top, examples, by, moments, device)
    stitch.to(device)
    if batch_norm == "batch":
        bottom, top = bottom.with_batch_statistics(), top.with_batch_statistics()
    stitched = Stitched(bottom, stitch, top)
    curve: tuple[float, ...] = ()
    if isinstance(by, TaskLoss) and family.trainable:
        curve = descend(
            stitched, examples, by.epochs, by.learning_rate, by.batch_size, seed, batch_norm == "batch", device
        )
    elif batch_norm == "batch":
        reestimate(stitched, examples, seed, device)
    return Fit(stitched.eval().requires_grad_(False), residual, curve, time.perf_counter() - begun)


def _check(family: Family, by: Matching, batch_norm: str) -> None:
    if batch_norm not in BATCH_NORM_MODES:
        found = f"modes {', '.join(BATCH_NORM_MODES)}"
        raise SettingError(f"a fit with batch_norm={batch_norm!r}", found, "choose one of them")
    if isinstance(by, TaskLoss) and not family.trainable and family.closed_form != "none":
        found = "a family that cannot be followed downhill"
        raise SettingError(f"{family} fitted by task loss", found, "fit it by Direct(), or use Orthogonal or Affine")


def _start(
    family: Family,
    stitch: Stitch,
    bottom: Bottom,
    top: Top,
    train: Samples,
    by: Matching,
    moments: Moments | None,
    device: str,
) -> float | None:
    """Put the stitch where the matching begins (or, direct, ends); give the closed form's residual."""
    start = "least_squares" if isinstance(by, Direct) else by.start
    if family.closed_form == "none" or start == "random":
        return None
    if start == "identity":
        _start_at_identity(stitch, bottom, top)
        return None
    if moments is None:
        pair = (bottom.cut, top.cut)
        (moments,) = paired_moments(bottom.capture, top.capture, [pair], train, device=device)
    solution = _solve(family, by, moments)
    stitch.assign(solution.weight, solution.bias, moments.mean_x, moments.xx / moments.n)
    return solution.residual


def _solve(family: Family, by: Matching, moments: Moments) -> closed_form.Solution:
    if family.closed_form == "assignment":
        return closed_form.assignment(moments)
    if family.closed_form == "procrustes":
        return closed_form.procrustes(moments)
    return closed_form.ridge(moments, by.ridge if isinstance(by, Direct) else 0.0)


def _start_at_identity(stitch: Stitch, bottom: Bottom, top: Top) -> None:
    channels = bottom.cut.channels
    if channels is None or channels != top.cut.channels:
        found = f"{channels} channels below and {top.cut.channels} above"
        raise ShapeMismatch(f"a start at the identity from {bottom.cut} to {top.cut}", found, "start at least_squares")
    zeros = torch.zeros(channels)
    stitch.assign(torch.eye(channels), zeros, zeros, torch.eye(channels))

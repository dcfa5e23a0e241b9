"""One fit: a family, a bottom, a top and the train set go in, the best stitch comes out.

Batch-norm modes, for networks that have batch norms:

- ``frozen``: bottom and top run in eval mode, on the statistics that the networks were trained with.
- ``batch``: as in the code of Bansal, Nakkiran and Barak (2021), the whole stitched network is in train mode while the
  stitch is fitted: batch statistics are used, and running statistics re-estimated. Here that happens on clones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from modelstitch.cut import Bottom, Top
from modelstitch.data import Samples, as_samples
from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch
from modelstitch.matching import closed_form
from modelstitch.matching.engine import Descent, descend, reestimate
from modelstitch.matching.how import BATCH_NORM_MODES, BatchNorm, Direct, Matching, TaskLoss, starts_in_closed_form
from modelstitch.matching.statistics import moments_or_failures
from modelstitch.moments import Moments
from modelstitch.seeding import seeded
from modelstitch.stitched import Stitched
from modelstitch.stitches import Family, Stitch


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
    (found,) = fit_all(family, [(bottom, top)], train, by=by, batch_norm=batch_norm, seed=seed, moments=[moments])
    if isinstance(found, NumericalFailure):
        raise found
    return found


def fit_all(
    family: Family,
    halves: Sequence[tuple[Bottom, Top]],
    train: object,
    *,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    moments: Sequence[Moments | NumericalFailure | None] | None = None,
) -> list[Fit | NumericalFailure]:
    """Choose many stitches at once: what `fit` gives for each alone, with one run of the bottom network for all.

    Args:
        family: the set S.
        halves: bottoms of one captured network, each with the top of another (or the same) to join it to.
        train: as in `fit`.
        by: as in `fit`.
        batch_norm: as in `fit`.
        seed: as in `fit`; the same for all.
        moments: of the rows at each pair of cuts over ``train``, where they are known already.

    Returns:
        For each what was found, or why there is nothing; a failure stops no other.

    Raises:
        ShapeMismatch: the family cannot map a cut onto its other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
    """
    by = TaskLoss() if by is None else by
    examples = as_samples(train)
    _check(family, by, batch_norm)
    begun = time.perf_counter()
    # A half at an end point may hold no weights; another does.
    tensors = chain.from_iterable(half.buffers() for pair in halves for half in pair)
    device = str(next(tensors, torch.zeros(0)).device)
    # Built before anything runs: a family that cannot map two cuts says so at once.
    stitches = [_build(family, *pair, seed) for pair in halves]
    known = _moments(family, halves, examples, by, moments, device)
    begins = [
        _begin(family, stitch, *pair, by, batch_norm, sums, device)
        for stitch, pair, sums in zip(stitches, halves, known, strict=True)
    ]
    curves = _follow(
        family, [one.stitched for one in begins if isinstance(one, _Begin)], examples, by, batch_norm, seed, device
    )
    seconds = (time.perf_counter() - begun) / len(begins)
    found: list[Fit | NumericalFailure] = []
    for one in begins:
        if isinstance(one, NumericalFailure):
            found.append(one)
            continue
        curve = next(curves)
        if isinstance(curve, NumericalFailure):
            found.append(curve)
        else:
            found.append(Fit(one.stitched.eval().requires_grad_(False), one.residual, curve, seconds))
    return found


@dataclass(frozen=True, eq=False)
class _Begin:
    """A stitched network where its matching begins (or, direct, ends)."""

    stitched: Stitched
    residual: float | None


def _build(family: Family, bottom: Bottom, top: Top, seed: int) -> Stitch:
    with seeded("stitch", seed):
        return family.build(bottom.cut, top.cut)


def _begin(
    family: Family,
    stitch: Stitch,
    bottom: Bottom,
    top: Top,
    by: Matching,
    batch_norm: BatchNorm,
    moments: Moments | NumericalFailure | None,
    device: str,
) -> _Begin | NumericalFailure:
    try:
        residual = _start(family, stitch, bottom, top, by, moments)
    except NumericalFailure as failure:
        return failure
    stitch.to(device)
    if batch_norm == "batch":
        bottom, top = bottom.with_batch_statistics(), top.with_batch_statistics()
    return _Begin(Stitched(bottom, stitch, top), residual)


def _follow(
    family: Family,
    stitched: Sequence[Stitched],
    train: Samples,
    by: Matching,
    batch_norm: BatchNorm,
    seed: int,
    device: str,
) -> Iterator[tuple[float, ...] | NumericalFailure]:
    """Go downhill from where the stitches begin, where the matching asks for it and the family can."""
    if stitched and isinstance(by, TaskLoss) and family.trainable:
        how = Descent(by.epochs, by.learning_rate, by.batch_size, by.patience)
        return iter(descend(stitched, train, how, seed, batch_norm == "batch", device))
    if batch_norm == "batch":
        for one in stitched:
            reestimate(one, train, seed, device)
    return iter([()] * len(stitched))


def _moments(
    family: Family,
    halves: Sequence[tuple[Bottom, Top]],
    train: Samples,
    by: Matching,
    known: Sequence[Moments | NumericalFailure | None] | None,
    device: str,
) -> Sequence[Moments | NumericalFailure | None]:
    """What the closed form needs, from one pass for all pairs; those already known are taken as they are."""
    known = known or [None] * len(halves)
    if family.closed_form == "none" or not starts_in_closed_form(by) or None not in known:
        return known
    missing = [(bottom.cut, top.cut) for (bottom, top), one in zip(halves, known, strict=True) if one is None]
    bottom, top = halves[0]
    found = iter(moments_or_failures(bottom.capture, top.capture, missing, train, device=device))
    return [next(found) if one is None else one for one in known]


def _check(family: Family, by: Matching, batch_norm: str) -> None:
    if batch_norm not in BATCH_NORM_MODES:
        found = f"modes {', '.join(BATCH_NORM_MODES)}"
        raise SettingError(f"a fit with batch_norm={batch_norm!r}", found, "choose one of them")
    if isinstance(by, TaskLoss) and not family.trainable and family.closed_form != "none":
        found = "a family that cannot be followed downhill"
        raise SettingError(f"{family} fitted by task loss", found, "fit it by Direct(), or use Orthogonal or Affine")


def _start(
    family: Family, stitch: Stitch, bottom: Bottom, top: Top, by: Matching, moments: Moments | NumericalFailure | None
) -> float | None:
    """Put the stitch where the matching begins (or, direct, ends); give the closed form's residual."""
    if family.closed_form == "none":
        return None
    if not starts_in_closed_form(by):
        if isinstance(by, TaskLoss) and by.start == "identity":
            _start_at_identity(stitch, bottom, top)
        return None
    if isinstance(moments, NumericalFailure):
        raise moments
    assert moments is not None
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

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

from modelstitch.budget import Budget
from modelstitch.cut import Bottom, Top, capture_of
from modelstitch.cut.frozen import batch_norm_by
from modelstitch.data import Samples, as_samples
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.matching.engine import descend, reestimate
from modelstitch.matching.how import BATCH_NORM_MODES, BatchNorm, FineTune, Matching, TaskLoss, starts_in_closed_form
from modelstitch.matching.start import put_at_start
from modelstitch.matching.statistics import moments_or_failures
from modelstitch.matching.thaw import thawed
from modelstitch.memory import kept_memory
from modelstitch.moments import Moments
from modelstitch.parallel import ranks
from modelstitch.parallel.norm import whole_batch_norm
from modelstitch.seeding import seeded
from modelstitch.stitched import Stitched
from modelstitch.stitches import Family, Stitch

Halves = Sequence[tuple[Bottom, Top]]
Known = Sequence[Moments | NumericalFailure | None]


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
    budget: Budget | None = None,
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
        budget: room for activations; it changes no result.

    Returns:
        The stitched network and how it was reached.

    Raises:
        ShapeMismatch: the family cannot map the one cut onto the other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
        NumericalFailure: a constant target, or a loss that is not finite.
    """
    halves = [(bottom, top)]
    (found,) = fit_all(family, halves, train, by=by, batch_norm=batch_norm, seed=seed, moments=[moments], budget=budget)
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
    budget: Budget | None = None,
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
        budget: room for activations; it changes no result. Where one batch of them at all cuts would not fit, the
            bottom network runs once for each of several runs of cuts.

    Returns:
        For each what was found, or why there is nothing; a failure stops no other.

    Raises:
        ShapeMismatch: the family cannot map a cut onto its other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
    """
    job = _Job(family, as_samples(train), by or TaskLoss(), batch_norm, seed, _device_of(halves), budget or Budget())
    job.check()
    # Built before anything runs: a family that cannot map two cuts says so at once.
    stitches = [job.built(*pair) for pair in halves]
    known = moments or [None] * len(halves)
    found: list[Fit | NumericalFailure] = []
    # A process that holds a part of each batch still normalises by the whole of it.
    with kept_memory(), batch_norm_by(whole_batch_norm if ranks().several else None):
        for part in job.parts(halves):
            found += job.fit(halves[part], stitches[part], known[part])
    return found


def _device_of(halves: Halves) -> str:
    # A half at an end point may hold no weights; another does.
    tensors = chain.from_iterable(half.buffers() for pair in halves for half in pair)
    return str(next(tensors, torch.zeros(0)).device)


@dataclass(frozen=True)
class _Begin:
    """A stitched network where its matching begins (or, direct, ends)."""

    stitched: Stitched
    residual: float | None


@dataclass(frozen=True)
class _Job:
    """What all fits of one call have in common; arguments as of `fit_all`."""

    family: Family
    train: Samples
    by: Matching
    batch_norm: str
    seed: int
    device: str
    budget: Budget

    def check(self) -> None:
        """Refuse settings that cannot be fitted."""
        if self.batch_norm not in BATCH_NORM_MODES:
            found = f"modes {', '.join(BATCH_NORM_MODES)}"
            raise SettingError(f"a fit with batch_norm={self.batch_norm!r}", found, "choose one of them")
        if isinstance(self.by, TaskLoss) and not self.family.trainable and self.family.closed_form != "none":
            found, do = "a family that cannot be followed downhill", "fit it by Direct(), or use Orthogonal or Affine"
            raise SettingError(f"{self.family} fitted by task loss", found, do)
        if ranks().several and isinstance(self.by, FineTune):
            found = "a top that trains along, whose batch norms would see a part of each batch"
            raise SettingError(f"a fit over {ranks().count} processes", found, "fine-tune with one process")
        if ranks().several and self.budget.folder is not None:
            found = "activations kept in a folder, which one process fills"
            raise SettingError(f"a fit over {ranks().count} processes", found, "leave the folder out")

    def built(self, bottom: Bottom, top: Top) -> Stitch:
        with seeded("stitch", self.seed):
            return self.family.build(bottom.cut, top.cut)

    def parts(self, halves: Halves) -> list[slice]:
        """The runs of stitches that are fitted together: as many as one batch of activations leaves room for."""
        batch = self.by.batch_size if isinstance(self.by, TaskLoss) else 1
        return self.budget.chunks([batch * bottom.cut.bytes(self.train.longest) for bottom, _ in halves])

    def fit(self, halves: Halves, stitches: Sequence[Stitch], known: Known) -> list[Fit | NumericalFailure]:
        """Fit these in one pass."""
        begun = time.perf_counter()
        begins = [
            self._begin(stitch, *pair, sums)
            for stitch, pair, sums in zip(stitches, halves, self._moments(halves, known), strict=True)
        ]
        curves = self._follow([one.stitched for one in begins if isinstance(one, _Begin)])
        seconds = (time.perf_counter() - begun) / len(begins)
        found: list[Fit | NumericalFailure] = []
        for one in begins:
            curve = one if isinstance(one, NumericalFailure) else next(curves)
            if isinstance(one, _Begin) and not isinstance(curve, NumericalFailure):
                found.append(Fit(one.stitched.eval().requires_grad_(False), one.residual, curve, seconds))
            else:
                assert isinstance(curve, NumericalFailure)
                found.append(curve)
        return found

    def _begin(
        self, stitch: Stitch, bottom: Bottom, top: Top, moments: Moments | NumericalFailure | None
    ) -> _Begin | NumericalFailure:
        try:
            residual = put_at_start(self.family, stitch, bottom.cut, top.cut, self.by, moments)
        except NumericalFailure as failure:
            return failure
        stitch.to(self.device)
        own_statistics = self.batch_norm == "batch"
        bottom = bottom.with_batch_statistics() if own_statistics else bottom
        if isinstance(self.by, FineTune):
            top = thawed(top, self.by.top, self.seed)
        elif own_statistics:
            top = top.with_batch_statistics()
        return _Begin(Stitched(bottom, stitch, top), residual)

    def _follow(self, stitched: Sequence[Stitched]) -> Iterator[tuple[float, ...] | NumericalFailure]:
        """Go downhill from where the stitches begin, where the matching asks for it and the family can."""
        own_statistics = self.batch_norm == "batch"
        if stitched and isinstance(self.by, TaskLoss) and (self.family.trainable or isinstance(self.by, FineTune)):
            return iter(
                descend(
                    stitched,
                    self.train,
                    self.by,
                    self.seed,
                    batch_statistics=own_statistics,
                    device=self.device,
                    budget=self.budget,
                )
            )
        if own_statistics:
            for one in stitched:
                reestimate(one, self.train, self.seed, self.device)
        return iter([()] * len(stitched))

    def _moments(self, halves: Halves, known: Known) -> Known:
        """What the closed form needs, those already known taken as they are; one pass for each network of tops."""
        if self.family.closed_form == "none" or not starts_in_closed_form(self.by):
            return known
        found = list(known)
        missing = [index for index, one in enumerate(found) if one is None]
        for network in dict.fromkeys(capture_of(halves[index][1]) for index in missing):
            of_it = [index for index in missing if capture_of(halves[index][1]) is network]
            pairs = [(halves[index][0].cut, halves[index][1].cut) for index in of_it]
            bottom = capture_of(halves[of_it[0]][0])
            made = moments_or_failures(bottom, network, pairs, self.train, device=self.device, budget=self.budget)
            for index, one in zip(of_it, made, strict=True):
                found[index] = one
        return found

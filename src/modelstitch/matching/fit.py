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
from functools import partial

import torch

from modelstitch.activations import Activations, OwnStatistics, Sources, moments_or_failures
from modelstitch.activations.moments import BATCH
from modelstitch.compute import exact_float32
from modelstitch.cut import Bottom, Top, capture_of
from modelstitch.cut.frozen import batch_norm_by
from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch
from modelstitch.matching.descent import descend, reestimate
from modelstitch.matching.matching import BATCH_NORM_MODES, BatchNorm, Descent, Matching
from modelstitch.matching.trainable_top import thawed
from modelstitch.moments import Moments
from modelstitch.parallel import ranks
from modelstitch.parallel.norm import whole_batch_norm
from modelstitch.stitched import Stitched
from modelstitch.stitches import Family, Stitch
from modelstitch.support.memory import kept_memory
from modelstitch.support.seeding import seeded
from modelstitch.tasks import Task

Halves = Sequence[tuple[Bottom, Top]]
Known = Sequence[Moments | NumericalFailure | None]
Curve = tuple[float, ...] | NumericalFailure


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found.

    Attributes:
        stitched: the stitched network, in eval mode.
        residual: share of the target's variance that the closed form leaves on the train set; None without one.
        curve: mean train loss of each epoch, in the task's unit; empty for direct matching.
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


@dataclass(frozen=True)
class Job:
    """What all fits of one call have in common.

    Args:
        family: the set S.
        by: how to match.
        task: what outputs are judged by; None where nothing is followed downhill.
        sources: the examples to fit on, and what networks give over them.
        batch_norm: ``frozen`` or ``batch``.
        seed: keys a random start and the order of the examples; the same for all.
    """

    family: Family
    by: Matching
    task: Task | None
    sources: Sources
    batch_norm: BatchNorm = "frozen"
    seed: int = 0

    def check(self) -> None:
        """Refuse settings that cannot be fitted.

        Raises:
            SettingError: the matching cannot fit the family, or no such batch-norm mode.
        """
        if self.batch_norm not in BATCH_NORM_MODES:
            found = f"modes {', '.join(BATCH_NORM_MODES)}"
            raise SettingError(f"a fit with batch_norm={self.batch_norm!r}", found, "choose one of them")
        self.by.check(self.family)
        if ranks().several and self.descent and self.descent.trains_top:
            found = "a top that trains along, whose batch norms would see a part of each batch"
            raise SettingError(f"a fit over {ranks().count} processes", found, "fine-tune with one process")
        if ranks().several and self.sources.compute.folder is not None:
            found = "activations kept in a folder, which one process fills"
            raise SettingError(f"a fit over {ranks().count} processes", found, "leave the folder out")

    @property
    def descent(self) -> Descent | None:
        """The way downhill, where the matching has one and something moves on it."""
        descent = self.by.descent
        return descent if descent and descent.moves(self.family) else None

    def source(self, bottom: Bottom) -> Activations:
        """What the network that a bottom is a half of gives over the examples, while stitches are fitted."""
        precision = self.descent.precision if self.descent else "float32"
        return self.sources.of(capture_of(bottom), precision=precision)

    def fit_all(self, halves: Halves, moments: Known | None = None) -> list[Fit | NumericalFailure]:
        """Choose many stitches at once, with one run of the bottom network for all.

        Args:
            halves: bottoms of one captured network, each with the top of another (or the same) to join it to.
            moments: of the rows at each pair of cuts, where they are known already.

        Returns:
            For each what was found, or why there is nothing; a failure stops no other.
        """
        self.check()
        # Built before anything runs: a family that cannot map two cuts says so at once.
        stitches = [self._built(*pair) for pair in halves]
        known = moments or [None] * len(halves)
        found: list[Fit | NumericalFailure] = []
        # A process that holds a part of each batch still normalises by the whole of it.
        norms = batch_norm_by(whole_batch_norm if ranks().several else None)
        with kept_memory(), exact_float32(), norms:
            for part in self._parts(halves):
                found += self._fit(halves[part], stitches[part], known[part])
        return found

    def _built(self, bottom: Bottom, top: Top) -> Stitch:
        with seeded("stitch", self.seed):
            stitch = self.family.build(bottom.cut, top.cut)
        # Between networks in float64 it is fitted in it; between all others in float32, also where they are in less.
        return stitch.to(torch.float64 if torch.float64 in (bottom.dtype, top.dtype) else torch.float32)

    def _parts(self, halves: Halves) -> list[slice]:
        """The runs of stitches that are fitted together: as many as one batch of activations leaves room for."""
        batch = max((one.batch_size for one in self.by.descents), default=1) if self.descent else 1
        longest = self.sources.examples.longest
        return self.sources.compute.chunks([batch * bottom.cut.bytes(longest) for bottom, _ in halves])

    def _fit(self, halves: Halves, stitches: Sequence[Stitch], known: Known) -> list[Fit | NumericalFailure]:
        """Fit these in one pass."""
        begun = time.perf_counter()
        self._want(halves)
        begins = [
            self._begin(stitch, *pair, sums)
            for stitch, pair, sums in zip(stitches, halves, self._moments(halves, known), strict=True)
        ]
        curves = self._follow([one[0] for one in begins if not isinstance(one, NumericalFailure)])
        seconds = (time.perf_counter() - begun) / len(begins)
        found: list[Fit | NumericalFailure] = []
        for one in begins:
            curve = one if isinstance(one, NumericalFailure) else next(curves)
            if isinstance(curve, NumericalFailure):
                found.append(curve)
            elif not isinstance(one, NumericalFailure):
                stitched, residual = one
                found.append(Fit(stitched.eval().requires_grad_(False), residual, curve, seconds))
        return found

    def _want(self, halves: Halves) -> None:
        """Say what will be read more than once, so that each network runs once an example."""
        if self.descent is None or self.batch_norm == "batch":
            return
        source, cuts = self.source(halves[0][0]), [bottom.cut for bottom, _ in halves]
        epochs = sum(one.settled(len(self.sources.examples)).epochs or 1 for one in self.by.descents)
        again = self.by.solves(self.family) and self.descent.precision == "float32"
        # A folder has a use for them afterwards.
        if epochs > 1 or again or self.sources.compute.folder is not None:
            for size in {one.batch_size for one in self.by.descents}:
                source.want(cuts, size)
        if again:
            source.want(cuts, BATCH)

    def _begin(
        self, stitch: Stitch, bottom: Bottom, top: Top, moments: Moments | NumericalFailure | None
    ) -> tuple[Stitched, float | None] | NumericalFailure:
        """The stitched network where its matching begins (or, direct, ends), and the closed form's residual."""
        if isinstance(moments, NumericalFailure) and self.by.solves(self.family):
            return moments
        try:
            residual = self._put_at_start(stitch, bottom, top, moments)
        except NumericalFailure as failure:
            return failure
        stitch.to(self.source(bottom).device)
        own_statistics = self.batch_norm == "batch"
        bottom = bottom.with_batch_statistics() if own_statistics else bottom
        descent = self.by.descent
        if descent and descent.trains_top:
            top = thawed(top, descent.top, self.seed)
        elif own_statistics:
            top = top.with_batch_statistics()
        return Stitched(bottom, stitch, top), residual

    def _put_at_start(
        self, stitch: Stitch, bottom: Bottom, top: Top, moments: Moments | NumericalFailure | None
    ) -> float | None:
        if not self.family.fitted:
            return None
        if self.by.start == "identity":
            _put_at_identity(stitch, bottom, top)
        if not self.by.solves(self.family):
            return None
        assert isinstance(moments, Moments)
        solution = self.family.solve(moments, self.by.ridge)
        assert solution is not None
        stitch.assign(solution.weight, solution.bias, moments.mean_x, moments.xx / moments.n)
        return solution.residual

    def _follow(self, stitched: Sequence[Stitched]) -> Iterator[Curve]:
        """Go downhill from where the stitches begin, where the matching asks for it and something moves."""
        own_statistics = self.batch_norm == "batch"
        if stitched and self.descent and self.task:
            curves: list[Curve] = [()] * len(stitched)
            for descent in self.by.descents:
                curves = self._followed(stitched, descent, self.task, curves)
            return iter(curves)
        if own_statistics:
            for one in stitched:
                reestimate(one, self._own(one, None), self.seed)
        return iter([()] * len(stitched))

    def _followed(
        self, stitched: Sequence[Stitched], descent: Descent, task: Task, before: Sequence[Curve]
    ) -> list[Curve]:
        """The learning curves after one more descent; what has failed stays where it is."""
        own_statistics = self.batch_norm == "batch"
        going = [index for index, one in enumerate(before) if not isinstance(one, NumericalFailure)]
        source = self._own(stitched[0], descent) if own_statistics else self.source(stitched[0].bottom)
        live = [stitched[index] for index in going]
        lenders = {capture_of(one.top) for one in live} if descent.objective.against == "top" else set()
        references = {one: self.sources.of(one) for one in lenders}
        follow = partial(descend, batch_statistics=own_statistics, references=references)
        curves = list(before)
        for index, more in zip(going, follow(live, source, descent, task, self.seed) if live else (), strict=True):
            so_far = before[index]
            curves[index] = more if isinstance(more, NumericalFailure) else (*so_far, *more)  # type: ignore[misc]
        return curves

    def _own(self, stitched: Stitched, descent: Descent | None) -> OwnStatistics:
        return OwnStatistics(self.source(stitched.bottom), descent.precision if descent else "float32")

    def _moments(self, halves: Halves, known: Known) -> Known:
        """What the closed form needs, those already known taken as they are; one pass for each network of tops."""
        if not self.by.solves(self.family):
            return known
        found = list(known)
        missing = [index for index, one in enumerate(found) if one is None]
        for network in dict.fromkeys(capture_of(halves[index][1]) for index in missing):
            of_it = [index for index in missing if capture_of(halves[index][1]) is network]
            pairs = [(halves[index][0].cut, halves[index][1].cut) for index in of_it]
            bottom = self.sources.of(capture_of(halves[of_it[0]][0]))
            made = moments_or_failures(bottom, self.sources.of(network), pairs)
            for index, one in zip(of_it, made, strict=True):
                found[index] = one
        return found


def _put_at_identity(stitch: Stitch, bottom: Bottom, top: Top) -> None:
    below, above = bottom.cut, top.cut
    channels = below.channels
    if channels is None or channels != above.channels:
        found = f"{channels} channels below and {above.channels} above"
        raise ShapeMismatch(f"a start at the identity from {below} to {above}", found, "start at least_squares")
    zeros = torch.zeros(channels)
    stitch.assign(torch.eye(channels), zeros, zeros, torch.eye(channels))

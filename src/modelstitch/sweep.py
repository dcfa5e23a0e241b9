"""The main job: two networks, every matching cut, both directions, with controls and a measure beside each penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from modelstitch import controls
from modelstitch.cut import Cut
from modelstitch.data import Samples, as_samples, check_disjoint
from modelstitch.errors import NetworkNotFound, NumericalFailure, ShapeMismatch, did_you_mean
from modelstitch.matching import BatchNorm, Matching, TaskLoss, paired_moments
from modelstitch.measures import linear_cka_from_moments
from modelstitch.moments import Moments
from modelstitch.pairs import Pair, matching_cuts
from modelstitch.progress import track
from modelstitch.records import Record, RecordFile, Records
from modelstitch.stitches import Affine, Family, Identity
from modelstitch.stitching import (
    Prepared,
    Setting,
    Stitching,
    asked,
    check_classes,
    check_identity,
    key_of,
    measure,
    prepare,
)


def stitch_all(
    a: nn.Module,
    b: nn.Module,
    train: object,
    test: object,
    *,
    names: tuple[str, str] = ("A", "B"),
    family: Family | None = None,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    every: bool = False,
    with_controls: bool = True,
    seed: int = 0,
    device: str | None = None,
    store: RecordFile | None = None,
) -> Records:
    """Stitch two networks at every matching cut, in both directions.

    For each pair of cuts a stitch is fitted on ``train`` and measured on ``test``; linear CKA of the same activations,
    channel by channel over all positions, stands beside it. Controls: each network with itself by the identity, and an
    untrained bottom in place of each trained one.

    Args:
        a: a network; neither is changed.
        b: another, with the same classes; it need not have the same architecture.
        train: examples to fit on: what `modelstitch.data.as_samples` takes.
        test: examples to measure on, none of them in ``train``.
        names: what to call the two in records.
        family: the set of stitches; `Affine` unless told otherwise.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        batch_norm: ``frozen`` or ``batch``.
        every: all legal cuts instead of one a block.
        with_controls: whether to measure the controls.
        seed: of the untrained bottoms, the matching and the intervals.
        device: where to compute; by default where ``a`` is.
        store: a file that takes each record as soon as it is measured; what it already holds is not measured again.

    Returns:
        The records, stitchings first, then controls.

    Raises:
        ClassMismatch: the networks or the data disagree about the classes.
        ShapeMismatch: no cut of one can be mapped onto a cut of the other.
        DataError: examples that no honest number can come from, or that are in both sets.
    """
    fit_on, measure_on = _data(train, test)
    setting = Setting(family or Affine(), by or TaskLoss(), batch_norm, seed)
    check_classes(list(zip(names, (a, b), strict=True)), measure_on)
    first = prepare(a, names[0], measure_on, device=device)
    second = prepare(b, names[1], measure_on, device=first.device)
    job = _Job(fit_on, measure_on, setting, every)
    plans = list(job.directions(first, second, both=True))
    if not plans:
        found = "no two cuts with the same positions and kind"
        raise ShapeMismatch(f"to stitch {names[0]} and {names[1]}", found, "compare networks that take the same input")
    if with_controls:
        plans += [*job.selves(first), *job.selves(second)]
        plans += [*job.untrained(first, second), *job.untrained(second, first)]
    return _run(plans, store)


def stitch(
    stitching: str | Stitching,
    networks: Mapping[str, nn.Module],
    train: object,
    test: object,
    *,
    family: Family | None = None,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    device: str | None = None,
    store: RecordFile | None = None,
) -> Record:
    """One stitching: ``stitch("A@layer2.1 -> B@layer2.1", {"A": A, "B": B}, train, test)``.

    Args:
        stitching: the notation.
        networks: the networks that it names.
        train: examples to fit on.
        test: examples to measure on, none of them in ``train``.
        family: as in `stitch_all`.
        by: as in `stitch_all`.
        batch_norm: as in `stitch_all`.
        seed: as in `stitch_all`.
        device: as in `stitch_all`.
        store: as in `stitch_all`.

    Raises:
        NotationError: not a stitching.
        NetworkNotFound: it names a network that was not given.
        CutNotFound: no such place.
        IllegalCut: more than one tensor crosses there.
        ShapeMismatch: the family cannot map the one cut onto the other.
    """
    stitching = Stitching.parse(stitching) if isinstance(stitching, str) else stitching
    for name in (stitching.bottom, stitching.top):
        if name not in networks:
            known = ", ".join(networks)
            do = did_you_mean(name, networks, f"name one of {known}")
            raise NetworkNotFound(f"the stitching {str(stitching)!r}", f"no network {name!r}, but {known}", do)
    fit_on, measure_on = _data(train, test)
    pair = [(name, networks[name]) for name in dict.fromkeys((stitching.bottom, stitching.top))]
    check_classes(pair, measure_on)
    ready = {name: prepare(network, name, measure_on, device=device) for name, network in pair}
    bottom, top = ready[stitching.bottom], ready[stitching.top]
    check_identity(bottom, [bottom.captured.find(stitching.bottom_cut)], measure_on)
    check_identity(top, [top.captured.find(stitching.top_cut)], measure_on)
    job = (stitching, bottom, top, fit_on, measure_on, Setting(family or Affine(), by or TaskLoss(), batch_norm, seed))
    return _run([_Plan(key_of(asked(*job)), lambda: measure(*job))], store)[0]


def compare(
    a: nn.Module, b: nn.Module, data: object, *, names: tuple[str, str] = ("A", "B"), device: str | None = None
) -> list[tuple[Cut, Cut, float]]:
    """Linear CKA at every pair of matching cuts, in one pass over each network.

    Maps and tokens are taken position by position: a row is one position of one example, a column one channel.

    Args:
        a: a network.
        b: another.
        data: examples; labels are not used.
        names: what to call the two in errors.
        device: where to compute; by default where ``a`` is.

    Returns:
        (cut of a, cut of b, CKA), in the order of ``b``'s cuts.
    """
    samples = as_samples(data)
    first = prepare(a, names[0], samples, device=device)
    second = prepare(b, names[1], samples, device=first.device)
    pairs = matching_cuts(first.captured.blocks, second.captured.blocks, Affine())
    moments = paired_moments(first.captured, second.captured, pairs, samples, device=first.device)
    return [(x, y, linear_cka_from_moments(sums)) for (x, y), sums in zip(pairs, moments, strict=True)]


class _Statistics:
    """Moments of two networks at several pairs of cuts, streamed when first asked for, and once."""

    def __init__(self, a: Prepared, b: Prepared, pairs: Sequence[Pair], samples: Samples) -> None:
        self._a, self._b, self._samples = a, b, samples
        self._pairs = list(dict.fromkeys(pairs))
        self._moments: dict[Pair, Moments] | None = None

    def between(self, bottom: Prepared, pair: Pair) -> Moments | None:
        """From the bottom's cut to the top's, whichever network lends the bottom; None where they cannot be shared."""
        if self._moments is None:
            try:
                found = paired_moments(
                    self._a.captured, self._b.captured, self._pairs, self._samples, device=self._a.device
                )
            except NumericalFailure:
                # At one cut; each stitching then makes its own moments, and those at other cuts go on.
                found = []
            self._moments = dict(zip(self._pairs, found, strict=False))
        if not self._moments:
            return None
        return self._moments[pair] if bottom is self._a else self._moments[pair[1], pair[0]].swapped()


@dataclass(frozen=True, eq=False)
class _Plan:
    """One record to be: its key, to know it when it is there already, and how to measure it."""

    key: str
    measure: Callable[[], Record]


@dataclass(frozen=True, eq=False)
class _Job:
    """What all stitchings of one call have in common."""

    train: Samples
    test: Samples
    setting: Setting
    every: bool

    def pairs(self, bottom: Prepared, top: Prepared) -> list[Pair]:
        """The cuts to stitch at, each checked to give its network bit for bit."""
        below, above = (p.captured.cuts[1:-1] if self.every else p.captured.blocks for p in (bottom, top))
        found = matching_cuts(below, above, self.setting.family)
        check_identity(bottom, [x for x, _ in found], self.test)
        check_identity(top, [y for _, y in found], self.test)
        return found

    def directions(self, a: Prepared, b: Prepared, *, both: bool, control: str = "") -> Iterator[_Plan]:
        """Every stitching from a to b and, with ``both``, from b to a."""
        ways = [(a, b, self.pairs(a, b))] + ([(b, a, self.pairs(b, a))] if both else [])
        together = [pair if bottom is a else (pair[1], pair[0]) for bottom, _, pairs in ways for pair in pairs]
        fits, tests = (_Statistics(a, b, together, samples) for samples in (self.train, self.test))
        for bottom, top, pairs in ways:
            for pair in pairs:
                yield self._plan(bottom, top, pair, control, fits, tests)

    def _plan(
        self, bottom: Prepared, top: Prepared, pair: Pair, control: str, fits: _Statistics, tests: _Statistics
    ) -> _Plan:
        stitching = Stitching(bottom.name, pair[0].name, top.name, pair[1].name)

        def run() -> Record:
            return measure(
                stitching,
                bottom,
                top,
                self.train,
                self.test,
                self.setting,
                control=control,
                fit_moments=fits.between(bottom, pair),
                test_moments=tests.between(bottom, pair),
            )

        return _Plan(key_of(asked(stitching, bottom, top, self.train, self.test, self.setting, control)), run)

    def selves(self, one: Prepared) -> Iterator[_Plan]:
        """The network with itself by the identity, at every cut."""
        identity = Setting(Identity(), seed=self.setting.seed)
        statistics = _Statistics(one, one, pairs := self.pairs(one, one), self.test)
        for pair in pairs:
            cut = pair[0]
            stitching = Stitching(one.name, cut.name, one.name, cut.name)
            columns = asked(stitching, one, one, self.train, self.test, identity, "self")

            def run(pair: Pair = pair) -> Record:
                moments = statistics.between(one, pair)
                return controls.self_stitch(one, pair[0], self.train, self.test, self.setting.seed, moments)

            yield _Plan(key_of(columns), run)

    def untrained(self, bottom: Prepared, top: Prepared) -> Iterator[_Plan]:
        """The bottom's architecture with fresh weights, under the same tops."""
        fresh = controls.untrained(bottom.network, seed=self.setting.seed)
        ready = prepare(fresh, bottom.name, self.test, device=bottom.device)
        return self.directions(ready, top, both=False, control="untrained")


def _run(plans: Sequence[_Plan], store: RecordFile | None) -> Records:
    records = []
    for plan in track(plans, "stitchings", len(plans)):
        # Looked up anew each time: another process may be filling the same store from the other end.
        record = _stored(store, plan.key)
        if record is None:
            record = plan.measure()
            if store:
                store.append(record)
        records.append(record)
    return Records(records)


def _stored(store: RecordFile | None, key: str) -> Record | None:
    """The record of that key, if it is there and no failure."""
    found = store.records().only(key=key, status="ok") if store else Records()
    return found[0] if found else None


def _data(train: object, test: object) -> tuple[Samples, Samples]:
    fit_on = as_samples(train)
    # A test set may lack the last classes; the train set says how many there are.
    measure_on = as_samples(test, classes=fit_on.classes)
    check_disjoint(fit_on, measure_on)
    return fit_on, measure_on

"""Groups of stitchings that share a bottom network and a top network, and so one pass over each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from modelstitch import controls
from modelstitch.budget import Budget
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.matching import moments_or_failures
from modelstitch.memory import kept_memory
from modelstitch.moments import Moments
from modelstitch.pairs import Pair, matching_cuts
from modelstitch.parallel import ranks
from modelstitch.progress import track
from modelstitch.records import Record, RecordFile, Records
from modelstitch.stitches import Identity
from modelstitch.stitching import Place, Prepared, Setting, Stitching, asked, check_identity, key_of, measure, prepare


class _Statistics:
    """Moments of two networks at several pairs of cuts, streamed when first asked for, and once."""

    def __init__(self, a: Prepared, b: Prepared, pairs: Sequence[Pair], samples: Samples, budget: Budget) -> None:
        self._a, self._b, self._samples, self._budget = a, b, samples, budget
        self._pairs = list(dict.fromkeys(pairs))

    @cached_property
    def _moments(self) -> dict[Pair, Moments | NumericalFailure]:
        a, b = self._a, self._b
        places = (a.captured, b.captured, self._pairs)
        found = moments_or_failures(*places, self._samples, device=a.device, budget=self._budget)
        return dict(zip(self._pairs, found, strict=True))

    def between(self, bottom: Prepared, pair: Pair) -> Moments | NumericalFailure:
        """From the bottom's cut to the top's, whichever network lends the bottom."""
        if bottom is self._a:
            return self._moments[pair]
        found = self._moments[pair[1], pair[0]]
        return found if isinstance(found, NumericalFailure) else found.swapped()


@dataclass(frozen=True, eq=False)
class Job:
    """What all stitchings of one call have in common.

    Args:
        train: to fit on.
        test: to measure on.
        setting: how to choose the stitches.
        every: all legal cuts instead of one a block.
        budget: room for activations; it changes no record.
    """

    train: Samples
    test: Samples
    setting: Setting
    every: bool
    budget: Budget = Budget()  # noqa: RUF009 - a frozen dataclass

    def pairs(self, bottom: Prepared, top: Prepared) -> list[Pair]:
        """The cuts to stitch at, each checked to give its network bit for bit."""
        below, above = (p.captured.cuts[1:-1] if self.every else p.captured.blocks for p in (bottom, top))
        found = matching_cuts(below, above, self.setting.family)
        check_identity(bottom, [x for x, _ in found], self.test)
        check_identity(top, [y for _, y in found], self.test)
        return found

    def group(self, bottom: Prepared, top: Prepared, pairs: Sequence[Pair], control: str = "") -> Group:
        """Stitchings of one pair of networks one way."""
        fits, tests = (_Statistics(bottom, top, pairs, samples, self.budget) for samples in (self.train, self.test))
        return Group(self, bottom, top, pairs, control, fits, tests)

    def directions(self, a: Prepared, b: Prepared, *, both: bool, control: str = "") -> list[Group]:
        """Every stitching from a to b and, with ``both``, from b to a; both ways share their moments."""
        ways = [(a, b, self.pairs(a, b))] + ([(b, a, self.pairs(b, a))] if both else [])
        together = [pair if bottom is a else (pair[1], pair[0]) for bottom, _, pairs in ways for pair in pairs]
        fits, tests = (_Statistics(a, b, together, samples, self.budget) for samples in (self.train, self.test))
        return [Group(self, bottom, top, pairs, control, fits, tests) for bottom, top, pairs in ways]

    def self_stitches(self, one: Prepared) -> Group:
        """The network with itself by the identity, at every cut."""
        identity = replace(self, setting=Setting(Identity(), seed=self.setting.seed))
        return identity.group(one, one, identity.pairs(one, one), "self")

    def untrained(self, bottom: Prepared, top: Prepared) -> list[Group]:
        """The bottom's architecture with fresh weights, under the same tops."""
        fresh = controls.untrained(bottom.network, seed=self.setting.seed)
        ready = prepare(fresh, bottom.name, self.test, device=bottom.device)
        return self.directions(ready, top, both=False, control="untrained")


@dataclass(frozen=True, eq=False)
class Group:
    """The stitchings of one pair of networks one way: fitted and measured in one pass.

    Args:
        job: what they have in common with others.
        bottom: the network that lends its bottoms.
        top: the network that lends its tops.
        pairs: the cuts of each.
        control: ``self``, ``untrained``, or empty.
        fits: moments over the examples to fit on.
        tests: moments over the examples to measure on.
    """

    job: Job
    bottom: Prepared
    top: Prepared
    pairs: Sequence[Pair]
    control: str
    fits: _Statistics
    tests: _Statistics

    def key(self, pair: Pair) -> str:
        """What identifies the record of these cuts."""
        job, stitching = self.job, self._stitching(pair)
        return key_of(asked(stitching, self.bottom, self.top, job.train, job.test, job.setting, self.control))

    def measure(self, pairs: Sequence[Pair]) -> list[Record]:
        """The records of some of the pairs."""
        job = self.job
        closed = job.setting.starts_in_closed_form
        places = [
            Place(
                self._stitching(pair),
                self.fits.between(self.bottom, pair) if closed else None,
                self.tests.between(self.bottom, pair),
            )
            for pair in pairs
        ]
        data = (job.train, job.test, job.setting)
        return measure(places, self.bottom, self.top, *data, control=self.control, budget=job.budget)

    def _stitching(self, pair: Pair) -> Stitching:
        return Stitching(self.bottom.name, pair[0].name, self.top.name, pair[1].name)


def run(groups: Sequence[Group], store: RecordFile | None) -> Records:
    """Measure what the store does not hold, each group in one pass, and put it there.

    Args:
        groups: in the order that the records shall have.
        store: gets every record of a group as soon as the group is done; None to keep nothing.

    Returns:
        All records, those found in the store among them.
    """
    records = []
    # The keys hash weights, data and settings: all that could set two processes to different work.
    ranks().check_same("a sweep", [group.key(pair) for group in groups for pair in group.pairs])
    for group in track(groups, "pairs of networks", len(groups)):
        # Looked up anew each time: another process may be filling the same store from the other end.
        keys = [group.key(pair) for pair in group.pairs]
        found = ranks().from_first(partial(_stored, store, keys))
        missing = [pair for pair in group.pairs if group.key(pair) not in found]
        with kept_memory():
            made = group.measure(missing) if missing else []
        for record in made:
            if store and ranks().first:
                store.append(record)
            found[record.key] = record
        records += [found[group.key(pair)] for pair in group.pairs]
    return Records(records)


def _stored(store: RecordFile | None, keys: Sequence[str]) -> dict[str, Record]:
    """The records of these keys that are there and no failures."""
    there = store.records().only(status="ok") if store else Records()
    return {record.key: record for record in there if record.key in set(keys)}

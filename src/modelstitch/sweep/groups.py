"""Groups of stitchings that share a bottom network and a top network, and so one pass over each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from modelstitch import controls
from modelstitch.budget import Budget
from modelstitch.cut import Cut
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.matching import moments_or_failures
from modelstitch.memory import kept_memory
from modelstitch.moments import Moments
from modelstitch.networks import stem_reset, untrained
from modelstitch.pairs import Pair, matching_cuts
from modelstitch.parallel import ranks
from modelstitch.progress import track
from modelstitch.records import Record, Records
from modelstitch.stitches import Family, Identity
from modelstitch.stitching import (
    Measured,
    Place,
    Prepared,
    Setting,
    Stitching,
    asked,
    check_identity,
    key_of,
    measure,
    prepare,
)

Cuts = Literal["blocks", "all", "grid"] | Sequence[str]
"""Where to stitch: one cut a block, all legal cuts, every block's bottom below every block's top, or cuts by name."""


class _Statistics:
    """Moments of two networks at several pairs of cuts, streamed when first asked for, and once."""

    def __init__(
        self,
        a: Prepared,
        b: Prepared,
        pairs: Sequence[Pair],
        samples: Samples,
        budget: Budget,
        partners: Samples | None = None,
    ) -> None:
        self._a, self._b, self._samples, self._budget, self._partners = a, b, samples, budget, partners
        self._pairs = list(dict.fromkeys(pairs))

    @cached_property
    def _moments(self) -> dict[Pair, Moments | NumericalFailure]:
        a, b = self._a, self._b
        streamed = (a.captured, b.captured, self._pairs, self._samples)
        found = moments_or_failures(*streamed, partners=self._partners, device=a.device, budget=self._budget)
        return dict(zip(self._pairs, found, strict=True))

    def between(self, bottom: Prepared, pair: Pair) -> Moments | NumericalFailure:
        """From the bottom's cut to the top's, whichever network lends the bottom."""
        if bottom is self._a:
            return self._moments[pair]
        found = self._moments[pair[1], pair[0]]
        return found if isinstance(found, NumericalFailure) else found.swapped()


@dataclass(frozen=True, eq=False)
class Shared:
    """What all stitchings of one call have in common.

    Args:
        train: to fit on.
        test: to measure on.
        setting: how to choose the stitches.
        cuts: where.
        budget: room for activations; it changes no record.
    """

    train: Samples
    test: Samples
    setting: Setting
    cuts: Cuts = "blocks"
    budget: Budget = Budget()  # noqa: RUF009 - a frozen dataclass

    def pairs(self, bottom: Prepared, top: Prepared) -> list[Pair]:
        """The cuts to stitch at, each checked to give its network bit for bit."""
        below, above = (_cuts_of(one, self.cuts) for one in (bottom, top))
        found = pairs_at(self.cuts, below, above, self.setting.family)
        check_identity(bottom, [x for x, _ in found], self.test)
        check_identity(top, [y for _, y in found], self.test)
        return found

    def group(self, bottom: Prepared, top: Prepared, pairs: Sequence[Pair], control: str = "") -> Group:
        """Stitchings of one pair of networks one way."""
        fits, tests = (_Statistics(bottom, top, pairs, samples, self.budget) for samples in (self.train, self.test))
        return Group(self, bottom, top, pairs, control, fits, tests)

    def directions(self, a: Prepared, b: Prepared, *, both: bool) -> list[Group]:
        """Every stitching from a to b and, with ``both``, from b to a; both ways share their moments."""
        ways = [(a, b, self.pairs(a, b))] + ([(b, a, self.pairs(b, a))] if both else [])
        together = [pair if bottom is a else (pair[1], pair[0]) for bottom, _, pairs in ways for pair in pairs]
        fits, tests = (_Statistics(a, b, together, samples, self.budget) for samples in (self.train, self.test))
        return [Group(self, bottom, top, pairs, "", fits, tests) for bottom, top, pairs in ways]

    def self_stitches(self, one: Prepared) -> Group:
        """The network with itself by the identity, at every cut."""
        identity = replace(self, setting=Setting(Identity(), seed=self.setting.seed))
        return identity.group(one, one, identity.pairs(one, one), "self")

    def controls(self, names: Sequence[str], bottom: Prepared, top: Prepared) -> list[Group]:
        """Those of these controls that stand beside the stitchings of one pair one way, under the same tops."""
        ways = {
            "untrained": self._untrained,
            "stem_reset": self._stem_reset,
            "noise": self._noise,
            "shuffled": self._shuffled,
        }
        return [make(bottom, top) for name, make in ways.items() if name in names]

    def _untrained(self, bottom: Prepared, top: Prepared) -> Group:
        return self._fresh(untrained(bottom.network, seed=self.setting.seed), bottom, top, "untrained")

    def _stem_reset(self, _: Prepared, top: Prepared) -> Group:
        return self._fresh(stem_reset(top.network, seed=self.setting.seed), top, top, "stem_reset")

    def _fresh(self, network: nn.Module, of: Prepared, top: Prepared, control: str) -> Group:
        ready = prepare(network, of.name, self.test, device=of.device)
        return self.group(ready, top, self.pairs(ready, top), control)

    def _noise(self, bottom: Prepared, top: Prepared) -> Group:
        pairs = self.pairs(bottom, top)
        cuts = [below for below, _ in pairs]
        nothing = controls.noise(bottom, cuts, self.train, seed=self.setting.seed, budget=self.budget)
        return self.group(nothing, top, pairs, "noise")

    def _shuffled(self, bottom: Prepared, top: Prepared) -> Group:
        train, partners = controls.shuffled(self.train, seed=self.setting.seed)
        plain = replace(self, train=train).group(bottom, top, self.pairs(bottom, top), "shuffled")
        return replace(plain, fits=_Statistics(bottom, top, plain.pairs, train, self.budget, partners))


@dataclass(frozen=True, eq=False)
class Group:
    """The stitchings of one pair of networks one way: fitted and measured in one pass.

    Args:
        shared: what they have in common with others.
        bottom: the network that lends its bottoms.
        top: the network that lends its tops.
        pairs: the cuts of each.
        control: one of `modelstitch.vocabulary.CONTROLS`, or empty.
        fits: moments over the examples to fit on.
        tests: moments over the examples to measure on.
    """

    shared: Shared
    bottom: Prepared
    top: Prepared
    pairs: Sequence[Pair]
    control: str
    fits: _Statistics
    tests: _Statistics

    def key(self, pair: Pair) -> str:
        """What identifies the record of these cuts."""
        shared, stitching = self.shared, self._stitching(pair)
        return key_of(asked(stitching, self.bottom, self.top, shared.train, shared.test, shared.setting, self.control))

    def measure(self, pairs: Sequence[Pair]) -> list[Measured]:
        """Some of the pairs, fitted and measured."""
        shared = self.shared
        closed = shared.setting.starts_in_closed_form
        places = [
            Place(
                self._stitching(pair),
                self.fits.between(self.bottom, pair) if closed else None,
                self.tests.between(self.bottom, pair),
            )
            for pair in pairs
        ]
        data = (shared.train, shared.test, shared.setting)
        return measure(places, self.bottom, self.top, *data, control=self.control, budget=shared.budget)

    def _stitching(self, pair: Pair) -> Stitching:
        return Stitching(self.bottom.name, pair[0].name, self.top.name, pair[1].name)


def _cuts_of(one: Prepared, cuts: Cuts) -> Sequence[Cut]:
    if cuts == "all":
        return one.captured.cuts[1:-1]
    return one.captured.blocks if isinstance(cuts, str) else [one.captured.find(name) for name in cuts]


def pairs_at(cuts: Cuts, below: Sequence[Cut], above: Sequence[Cut], family: Family) -> list[Pair]:
    """The pairs of cuts that are asked for and that the family can map.

    Args:
        cuts: where.
        below: the cuts of the bottom to choose from.
        above: those of the top.
        family: of the stitches.
    """
    if cuts == "grid":
        return [(x, y) for y in above for x in below if family.obstacle(x, y) is None]
    return matching_cuts(below, above, family)


@runtime_checkable
class Keeper(Protocol):
    """What takes records as they are made: a `Store`, or, in a worker, `Collected`."""

    def finished(self, keys: Iterable[str]) -> Mapping[str, Record | None]:
        """Of these keys, those that need not be measured again; None where the record lies elsewhere."""

    def append(self, record: Record, stitch: bytes | None = None) -> None:
        """Take a record, and what its stitch has learnt."""


def run(groups: Sequence[Group], store: Keeper | None) -> Records:
    """Measure what the store does not hold, each group in one pass, and put it there.

    Args:
        groups: in the order that the records shall have.
        store: gets every record of a group as soon as the group is done; None to keep nothing.

    Returns:
        All records, those found in the store among them.
    """
    # The keys hash weights, data and settings: all that could set two processes to different work.
    ranks().check_same("a sweep", [group.key(pair) for group in groups for pair in group.pairs])
    records: list[Record | None] = []
    for group in track(groups, "pairs of networks", len(groups)):
        keys = [group.key(pair) for pair in group.pairs]
        # Looked up anew each time: another process may be filling the same store from the other end.
        found = dict(store.finished(keys)) if store else {}
        missing = [pair for pair, key in zip(group.pairs, keys, strict=True) if key not in found]
        with kept_memory():
            made = group.measure(missing) if missing else []
        for one in made:
            if store:
                store.append(one.record, one.stitch)
            found[one.record.key] = one.record
        records += [found[key] for key in keys]
    return Records(record for record in records if record)

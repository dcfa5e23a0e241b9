"""One pair of networks one way: the bottoms of one, the tops of the other, and what their stitchings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from modelstitch.activations import Sources, answered, moments_or_failures
from modelstitch.activations.moments import BATCH as MOMENTS_BATCH
from modelstitch.compute import exact_float32
from modelstitch.cut import Capture, Cut
from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.matching import BatchNorm, Job, Matching, TaskLoss
from modelstitch.moments import Moments
from modelstitch.networks import Network
from modelstitch.penalty import BATCH, judged
from modelstitch.records import LeftOut
from modelstitch.stitches import Affine, Family, Identity
from modelstitch.stitching.checks import check_identity
from modelstitch.stitching.notation import Stitching
from modelstitch.stitching.places import Cuts, Pair, cuts_of, obstacles_at, pairs_at
from modelstitch.stitching.provenance import key_of
from modelstitch.support.settings import spelled
from modelstitch.support.tensors import call, called
from modelstitch.tasks import Outcome, Task, joined_outcome


@dataclass(frozen=True)
class Setting:
    """How stitches are chosen: everything about a stitching but its networks, cuts, data and task.

    Args:
        family: the set of maps.
        by: the matching.
        batch_norm: ``frozen`` or ``batch``.
        seed: of the matching and of the interval.
    """

    family: Family = Affine()  # noqa: RUF009 - a frozen dataclass
    by: Matching = TaskLoss()  # noqa: RUF009 - a frozen dataclass
    batch_norm: BatchNorm = "frozen"
    seed: int = 0

    def matching(self, examples: int) -> Matching | None:
        """How the stitch is chosen, every number told, so that the default and the same by hand are one."""
        descent = self.by.descent
        chooses = self.family.fitted or (descent is not None and descent.trains_top)
        return self.by.settled(examples) if chooses else None


class Statistics:
    """Moments of two networks at several pairs of cuts, streamed when first asked for, and once.

    Args:
        a: the one network.
        b: the other.
        pairs: cuts of each.
        sources: the examples.
        partners: what network b sees in their place, example by example; the same by default.
    """

    def __init__(
        self, a: Network, b: Network, pairs: Sequence[Pair], sources: Sources, partners: Sources | None = None
    ) -> None:
        self._a, self._b, self._sources, self._partners = a, b, sources, partners or sources
        self._pairs = list(dict.fromkeys(pairs))

    @cached_property
    def _moments(self) -> dict[Pair, Moments | NumericalFailure]:
        ours, theirs = self._sources.of(self._a.captured), self._partners.of(self._b.captured)
        return dict(zip(self._pairs, moments_or_failures(ours, theirs, self._pairs), strict=True))

    def between(self, bottom: Network, pair: Pair) -> Moments | NumericalFailure:
        """From the bottom's cut to the top's, whichever network lends the bottom."""
        if bottom is self._a:
            return self._moments[pair]
        found = self._moments[pair[1], pair[0]]
        return found if isinstance(found, NumericalFailure) else found.swapped()


@dataclass(frozen=True, eq=False)
class Pairing:
    """The stitchings of one pair of networks one way, fitted and measured in one pass.

    Args:
        bottom_of: the network that lends its bottoms.
        top_of: the network that lends its tops.
        pairs: the cuts of each.
        train: to fit on.
        test: to measure on.
        task: what outputs are judged by.
        setting: how to choose the stitches.
        control: one of `modelstitch.vocabulary.CONTROLS`, or empty.
        fits: moments over the examples to fit on; streamed here where others have none to share.
        tests: moments over the examples to measure on.
    """

    bottom_of: Network
    top_of: Network
    pairs: Sequence[Pair]
    train: Sources
    test: Sources
    task: Task
    setting: Setting
    control: str = ""
    fits: Statistics | None = None
    tests: Statistics | None = None

    def stitching(self, pair: Pair) -> Stitching:
        """How a stitching of this pair is written."""
        return Stitching(self.bottom_of.name, pair[0].name, self.top_of.name, pair[1].name)

    def asked(self, pair: Pair) -> dict[str, object]:
        """The columns of a record that are known before anything is measured."""
        train, test, setting = self.train.examples, self.test.examples, self.setting
        matching = setting.matching(len(train))
        return {
            "stitching": str(self.stitching(pair)),
            "control": self.control,
            "bottom_network": self.bottom_of.name,
            "top_network": self.top_of.name,
            "bottom_weights": self.bottom_of.weights,
            "top_weights": self.top_of.weights,
            "bottom_graph": self.bottom_of.graph,
            "top_graph": self.top_of.graph,
            "bottom_cut": pair[0].name,
            "top_cut": pair[1].name,
            "bottom_kind": called(pair[0].kind),
            "top_kind": called(pair[1].kind),
            "data": train.name,
            "fit_data": train.fingerprint,
            "test_data": test.fingerprint,
            "task": spelled(self.task),
            "family": spelled(setting.family),
            "matching": "" if matching is None else spelled(matching.parts if matching.parts[1:] else matching),
            "batch_norm": setting.batch_norm,
            "seed": setting.seed,
        }

    def key(self, pair: Pair) -> str:
        """What identifies the record of these cuts."""
        return key_of(self.asked(pair))

    def job(self) -> Job:
        """Its fits."""
        setting = self.setting
        return Job(setting.family, setting.by, self.task, self.judged_on(self.train), setting.batch_norm, setting.seed)

    def judged_on(self, sources: Sources) -> Sources:
        """Examples with the targets that the task reads: their own, or the answers of the network of the tops."""
        if not self.task.answers_are_targets:
            return sources
        top, key = self.top_of.captured.whole, ("answers", self.top_of.captured.whole)
        if key not in sources.remembered:
            found = answered(sources.examples, top.top("input"), label=f"answers of {self.top_of.name}")
            sources.remembered[key] = sources.with_targets_of(found)
        found_sources: Sources = sources.remembered[key]
        return found_sources

    def outcome(self, network: Network) -> Outcome:
        """A whole network, tested by the task."""
        sources, captured = self.judged_on(self.test), network.captured.whole
        key = ("outcome", captured, spelled(self.task))
        if key not in sources.remembered:
            sources.remembered[key] = _whole_outcome(captured, sources, self.task)
        found: Outcome = sources.remembered[key]
        return found

    def bottom_outcome(self) -> Outcome | None:
        """The network of the bottoms whole, by the task; None where its answers do not suit it: it may lack a head."""
        try:
            return self.outcome(self.bottom_of)
        except TaskMismatch:
            return None

    def fit_moments(self, pair: Pair) -> Moments | NumericalFailure | None:
        """What a closed form needs, where the matching asks for one."""
        if not self.setting.by.solves(self.setting.family):
            return None
        return (self.fits or self._statistics(self.train)).between(self.bottom_of, pair)

    def test_moments(self, pair: Pair) -> Moments | NumericalFailure:
        """What the measures come from."""
        return (self.tests or self._statistics(self.test)).between(self.bottom_of, pair)

    def _statistics(self, sources: Sources) -> Statistics:
        key = ("moments", self.bottom_of.captured, self.top_of.captured, tuple(self.pairs))
        if key not in sources.remembered:
            sources.remembered[key] = Statistics(self.bottom_of, self.top_of, self.pairs, sources)
        found: Statistics = sources.remembered[key]
        return found

    def want(self) -> None:
        """Say what will be read more than once, so that each network runs once an example."""
        for network, cuts in ((self.bottom_of, [x for x, _ in self.pairs]), (self.top_of, [y for _, y in self.pairs])):
            captured = network.captured
            source = self.test.of(captured)
            source.want([*cuts, *(captured.cuts[-1:] if _answers_at_last(captured) else [])], BATCH)
            source.want(cuts, MOMENTS_BATCH)
            if self.setting.by.solves(self.setting.family):
                # Its controls are solved from the same activations of the top's network.
                self.train.of(captured).want(cuts, MOMENTS_BATCH)


@exact_float32()
def _whole_outcome(captured: Capture, sources: Sources, task: Task) -> Outcome:
    """A whole network over examples: by its last cut, which may be kept, where it answers with one tensor."""
    if not _answers_at_last(captured):
        return judged(captured.top("input"), sources.examples, task)
    source, outcomes, order = sources.of(captured), [], sources.examples.order()
    with source.opened():
        for index, (outputs,), batch in source.batches([captured.cuts[-1]], BATCH, order, share="all"):
            if len(index) < BATCH:
                outputs = _unfilled(captured, sources.examples.batch(index).to(source.device))
            task.check(outputs, batch)
            outcomes.append(task.judge(outputs, batch))
    return joined_outcome(outcomes).take(order.argsort())


@torch.no_grad()
@exact_float32()
def _unfilled(captured: Capture, batch: Batch) -> Any:
    """A network's answers to a short batch as it is, which is how tops see one.

    What is kept was found in a batch filled up to its size. A last layer with one output rounds by the size of the
    batch, so that a network would differ from its own halves in the last digit.
    """
    return call(captured.top("input"), batch.inputs)


def _answers_at_last(captured: Capture) -> bool:
    """Whether a network's last cut is its whole answer."""
    return captured.whole is captured and captured.plain and captured.cuts[-1].name == "output"


@dataclass(frozen=True)
class Pairings:
    """Makes the pairings of one call: everything that they have in common.

    Args:
        train: to fit on.
        test: to measure on.
        task: what outputs are judged by.
        setting: how to choose the stitches.
        cuts: where.
        headless: names of networks without a head, which lend bottoms alone: all of such a network is one, too.
    """

    train: Sources
    test: Sources
    task: Task
    setting: Setting
    cuts: Cuts = "blocks"
    headless: Sequence[str] = ()

    def pairs(self, bottom: Network, top: Network) -> list[Pair]:
        """The cuts to stitch at, each checked to give its network bit for bit."""
        below, above = self._cuts(bottom), self._cuts(top)
        found = pairs_at(self.cuts, below, above, self.setting.family)
        check_identity(bottom, [x for x, _ in found], self.test.examples)
        check_identity(top, [y for _, y in found], self.test.examples)
        return found

    def _cuts(self, one: Network, *, unknown: bool = False) -> Sequence[Cut]:
        return cuts_of(one.captured, self.cuts, unknown=unknown, headless=one.name in self.headless)

    def left_out(self, bottom: Network, top: Network) -> list[LeftOut]:
        """What `pairs` leaves out, and why."""
        below, above = self._cuts(bottom, unknown=True), self._cuts(top, unknown=True)
        return [
            LeftOut(str(Stitching(bottom.name, x.name if x else "", top.name, y.name)), reason)
            for x, y, reason in obstacles_at(self.cuts, below, above, self.setting.family)
        ]

    def pairing(self, bottom: Network, top: Network, pairs: Sequence[Pair], control: str = "") -> Pairing:
        """The stitchings of one pair of networks one way."""
        return Pairing(bottom, top, pairs, self.train, self.test, self.task, self.setting, control)

    def directions(self, a: Network, b: Network, *, both: bool) -> list[Pairing]:
        """Every stitching from a to b and, with ``both``, from b to a; both ways share their moments."""
        ways = [(a, b, self.pairs(a, b))] + ([(b, a, self.pairs(b, a))] if both else [])
        together = [pair if bottom is a else (pair[1], pair[0]) for bottom, _, pairs in ways for pair in pairs]
        fits, tests = (Statistics(a, b, together, sources) for sources in (self.train, self.test))
        return [replace(self.pairing(*way), fits=fits, tests=tests) for way in ways]

    def self_stitches(self, one: Network) -> Pairing:
        """The network with itself by the identity, at every cut; between two of its cuts it is another network."""
        identity = replace(self, setting=Setting(Identity(), seed=self.setting.seed))
        whole = [(below, above) for below, above in identity.pairs(one, one) if below == above]
        return identity.pairing(one, one, whole, "self")

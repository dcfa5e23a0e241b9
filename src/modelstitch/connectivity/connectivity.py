"""The call: the chain, three paths, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.compute import Compute
from modelstitch.connectivity.chain import chain
from modelstitch.connectivity.curve import bent, shares_on_curve
from modelstitch.connectivity.result import Connectivity, Point, Way
from modelstitch.connectivity.weights import estimate_statistics, match_units, mixed
from modelstitch.data import both_sets
from modelstitch.errors import NotCuttable, NumericalFailure, SettingError, ShapeMismatch
from modelstitch.matching import Matching, TaskLoss
from modelstitch.networks import AnyNetwork, Network, both_networks
from modelstitch.penalty import judged, penalties_of
from modelstitch.pretraining import Schedule
from modelstitch.stitches import Affine, Family
from modelstitch.stitching import (
    Pairing,
    Setting,
    check_identity,
    pairings,
    provenance,
    settled_task,
)
from modelstitch.support.progress import track
from modelstitch.support.settings import spelled
from modelstitch.tasks import Outcome, Score, Task

Weights = Mapping[str, Tensor]
Mix = Callable[[float], Sequence[tuple[float, Weights]]]
_POINTS = 5.0


def connectivity(
    a: AnyNetwork,
    b: AnyNetwork,
    train: object,
    test: object,
    *,
    task: Task | None = None,
    threshold: float | None = None,
    names: tuple[str, str] | None = None,
    family: Family | None = None,
    by: Matching | None = None,
    curve: Schedule | None = None,
    points: int = 11,
    seed: int = 0,
    compute: Compute | None = None,
) -> Connectivity:
    """Ask whether two networks of one architecture are stitching-connected, and what lies between their weights.

    The chain ``S_0 … S_L`` has the layers up to the i-th block cut from A, the rest from B, and a stitch between.
    Beside it three paths from B to A: the straight line ``(1-x) θ_B + x θ_A``; the same after the units of A were
    matched to those of B; and a Bezier curve with a trained middle. Batch-norm statistics between the ends are
    estimated on ``train`` at each point. Every point is tested in eval mode against the worse of A and B by the task's
    first score.

    Args:
        a: a network, or a reference to one (`modelstitch.load_network`); neither is changed.
        b: another of the same architecture.
        train: examples to fit on: what `modelstitch.data.as_examples` takes.
        test: examples to measure on, none of them in ``train``.
        task: what outputs are judged by; guessed where it can only be one. Without targets it is `Imitation`: all is
            judged by B's own answers.
        threshold: how much worse than the worse network still counts as connected, in the unit of the task's first
            score; 5 where that is points of error. Bansal, Nakkiran and Barak (2021) call networks connected whose
            penalties reach 4.8 points.
        names: what to call the two; by default a reference by itself, and modules A and B.
        family: the set of stitches; `Affine` unless told otherwise.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        curve: how to train the middle of the curve; by default five epochs.
        points: places on each path, ends included.
        seed: of the matching, the curve and the intervals.
        compute: where, by default where ``a`` is, and room for activations; room changes no result.

    Returns:
        Every point, the barriers and the verdict; a point without a number is a failure with its reason.

    Raises:
        SettingError: a threshold below 0, or none where the score is not in points; fewer than three places; or the
            task cannot be guessed.
        ShapeMismatch: the networks are not of one architecture, or have no cut.
        TaskMismatch: outputs, targets and task do not belong together.
        DataError: examples that no honest number can come from, or that are in both sets.

    Reference:
        Bansal, Nakkiran & Barak, "Revisiting Model Stitching to Compare Neural Representations", 2021, section 4.
    """
    one, other = both_networks(a, b, names)
    _check(one.module, other.module, points)
    fit_on, measure_on = both_sets(train, test)
    task = settled_task(task, [(one.name, one.module), (other.name, other.module)], measure_on)
    limit = _limit(threshold, task.scores[0])
    place = compute or Compute()
    first = one.ready(measure_on.example, place)
    second = other.ready(measure_on.example, replace(place, device=first.device))
    setting = Setting(family or Affine(), by or TaskLoss(), seed=seed)
    made = pairings(fit_on, measure_on, task, setting, place)
    between = _Between(made.pairing(first, second, _pairs(first, second)))
    for each in (first, second):
        check_identity(each, each.captured.blocks, measure_on)
    schedule = curve or Schedule(epochs=5)
    found = [between.point("stitching", x, outcome, cut, fold) for x, cut, outcome, fold in chain(between.pairing)]
    places = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    for way, mix in between.ways(schedule):
        found += between.path(way, places, mix)
    asked = {**between.asked(), "curve": str(schedule)}
    names = (first.name, second.name)
    return Connectivity(names, tuple(found), task.scores, limit, asked, provenance(Compute(first.device)))


def _check(a: nn.Module, b: nn.Module, points: int) -> None:
    if points < 3:
        raise SettingError(f"connectivity with points={points}", "no place between the ends", "choose 3 or more")
    shapes = [{name: t.shape for name, t in network.state_dict().items()} for network in (a, b)]
    if type(a) is not type(b) or shapes[0] != shapes[1]:
        found = f"{type(a).__name__} and {type(b).__name__}, with other weights by name or shape"
        raise ShapeMismatch("to connect two networks", found, "give two networks of one architecture")


def _limit(threshold: float | None, score: Score) -> float:
    """The threshold that was given, or the one that goes without saying."""
    if threshold is None:
        if score.unit != "points":
            found = f"a score in {score.unit}" if score.unit else "a score without unit"
            do = "say how much worse still counts as connected: threshold=…"
            raise SettingError(f"connectivity by {score.title}", f"{found}, and no threshold", do)
        return _POINTS
    if not 0 <= threshold < float("inf"):
        raise SettingError(f"connectivity with threshold={threshold}", "no such penalty", "choose 0 or more")
    return threshold


def _pairs(a: Network, b: Network) -> list[tuple[Any, Any]]:
    """Every block cut of both."""
    if not b.captured.blocks:
        raise ShapeMismatch(f"a chain from {b.name} to {a.name}", "no cut", "use networks of two layers or more")
    return [(a.captured.find(cut.name), cut) for cut in b.captured.blocks]


@dataclass(frozen=True)
class _Between:
    """Two networks, and how to test what lies between them.

    Args:
        pairing: from A to B.
    """

    pairing: Pairing

    def asked(self) -> dict[str, Any]:
        """What was asked; task, family and matching as JSON."""
        pairing, train = self.pairing, self.pairing.train.examples
        return {
            "data": train.name,
            "n_fit": len(train),
            "n_test": len(pairing.test.examples),
            "task": spelled(pairing.task),
            "family": spelled(pairing.setting.family),
            "matching": spelled(pairing.setting.by.settled(len(train))),
            "seed": pairing.setting.seed,
            "weights": {"A": pairing.bottom_of.weights, "B": pairing.top_of.weights},
        }

    def point(self, way: Way, x: float, outcome: Outcome | NumericalFailure, cut: str = "", fold: str = "") -> Point:
        """A network that was tested, against the worse of the two."""
        if isinstance(outcome, NumericalFailure):
            return Point(way, x, cut, status="failed", reason=str(outcome))
        pairing = self.pairing
        try:
            found = penalties_of(outcome, self._worse(), pairing.task, seed=pairing.setting.seed)
        except NumericalFailure as failure:
            return Point(way, x, cut, status="failed", reason=str(failure))
        return Point(way, x, cut, tuple(found.values()), fold)

    def _worse(self) -> Outcome:
        score = self.pairing.task.scores[0]
        of_a, of_b = (self.pairing.outcome(one) for one in (self.pairing.bottom_of, self.pairing.top_of))
        return of_b if score.difference(of_b.sums[score.name], of_a.sums[score.name]) > 0 else of_a

    def ways(self, schedule: Schedule) -> Iterator[tuple[Way, Mix | NumericalFailure | NotCuttable]]:
        """Each path: what goes into the network at a place, or why there is no such path."""
        a, b, seed = self.pairing.bottom_of, self.pairing.top_of, self.pairing.setting.seed
        at_0, at_1 = b.module.state_dict(), a.module.state_dict()
        yield "linear", partial(_straight, at_0, at_1)
        try:
            matched = match_units(a.captured, b.captured, seed=seed)
            yield "permuted", partial(_straight, at_0, matched)
        except NotCuttable as reason:
            yield "permuted", reason
        try:
            train = self.pairing.judged_on(self.pairing.train).examples
            middle = bent(b.module, at_0, at_1, train, self.pairing.task, schedule, seed)
            yield "curve", lambda x: shares_on_curve(x, at_0, middle, at_1)
        except NumericalFailure as reason:
            yield "curve", reason

    def path(self, way: Way, places: Sequence[float], mix: Mix | NumericalFailure | NotCuttable) -> Iterator[Point]:
        """Test the networks along a path; its ends are the two as they are."""
        ends = (self.pairing.top_of, self.pairing.bottom_of)
        for x in track(places, f"{way} path", len(places)):
            if x in (0, 1):
                yield self.point(way, x, self.pairing.outcome(ends[int(x)]))
            elif isinstance(mix, NumericalFailure | NotCuttable):
                yield Point(way, x, status="failed", reason=str(mix))
            else:
                yield self.point(way, x, self._tested(mix(x)))

    def _tested(self, parts: Sequence[tuple[float, Weights]]) -> Outcome | NumericalFailure:
        pairing = self.pairing
        network = mixed(pairing.top_of.module, parts)
        estimate_statistics(network, pairing.train.examples)
        try:
            return judged(network, pairing.judged_on(pairing.test).examples, pairing.task)
        except NumericalFailure as failure:
            return failure


def _straight(at_0: Weights, at_1: Weights, x: float) -> Sequence[tuple[float, Weights]]:
    return [(1 - x, at_0), (x, at_1)]

"""The call: the chain, three paths, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.compute import Budget
from modelstitch.connectivity.chain import chain
from modelstitch.connectivity.curve import bent, shares_on_curve
from modelstitch.connectivity.found import Connectivity, Point, Way
from modelstitch.connectivity.weights import estimate_statistics, match_units, mixed
from modelstitch.data import Samples, as_samples, check_disjoint
from modelstitch.errors import NotCuttable, NumericalFailure, SettingError, ShapeMismatch
from modelstitch.matching import Matching, TaskLoss
from modelstitch.penalty import Outcome, evaluate, penalty_of
from modelstitch.pretraining import Schedule
from modelstitch.progress import track
from modelstitch.stitches import Affine, Family
from modelstitch.stitching import Prepared, Setting, check_classes, check_identity, prepare, provenance

Weights = Mapping[str, Tensor]
Mix = Callable[[float], Sequence[tuple[float, Weights]]]


def connectivity(
    a: nn.Module,
    b: nn.Module,
    train: object,
    test: object,
    *,
    threshold: float = 5.0,
    names: tuple[str, str] = ("A", "B"),
    family: Family | None = None,
    by: Matching | None = None,
    curve: Schedule | None = None,
    points: int = 11,
    seed: int = 0,
    device: str | None = None,
    budget: Budget | None = None,
) -> Connectivity:
    """Ask whether two networks of one architecture are stitching-connected, and what lies between their weights.

    The chain ``S_0 … S_L`` has the layers up to the i-th block cut from A, the rest from B, and a stitch between.
    Beside it three paths from B to A: the straight line ``(1-x) θ_B + x θ_A``; the same after the units of A were
    matched to those of B; and a Bezier curve with a trained middle. Batch-norm statistics between the ends are
    estimated on ``train`` at each point. Every point is tested in eval mode against the worse of A and B.

    Args:
        a: a network; neither is changed.
        b: another of the same architecture.
        train: examples to fit on: what `modelstitch.data.as_samples` takes.
        test: examples to measure on, none of them in ``train``.
        threshold: points of test error above the worse network that count as connected. Bansal, Nakkiran and Barak
            (2021) call networks connected whose penalties reach 4.8.
        names: what to call the two.
        family: the set of stitches; `Affine` unless told otherwise.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        curve: how to train the middle of the curve; by default five epochs.
        points: places on each path, ends included.
        seed: of the matching, the curve and the intervals.
        device: where to compute; by default where ``a`` is.
        budget: room for activations; it changes no result.

    Returns:
        Every point, the barriers and the verdict; a point without a number is a failure with its reason.

    Raises:
        SettingError: a threshold below 0, or fewer than three places.
        ShapeMismatch: the networks are not of one architecture, or have no cut.
        TaskMismatch: the networks or the data disagree about the classes.
        DataError: examples that no honest number can come from, or that are in both sets.

    Reference:
        Bansal, Nakkiran & Barak, "Revisiting Model Stitching to Compare Neural Representations", 2021, section 4.
    """
    _check(a, b, threshold, points)
    fit_on = as_samples(train)
    measure_on = as_samples(test, classes=fit_on.classes)
    check_disjoint(fit_on, measure_on)
    setting = Setting(family or Affine(), by or TaskLoss(), seed=seed)
    between = _ready(list(zip(names, (a, b), strict=True)), fit_on, measure_on, seed, device)
    schedule = curve or Schedule(epochs=5)
    links = chain(between.a, between.b, fit_on, measure_on, setting, budget or Budget())
    found = [between.point("stitching", x, outcome, cut, fold) for x, cut, outcome, fold in links]
    places = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    for way, mix in between.ways(schedule):
        found += between.path(way, places, mix)
    asked = {**between.asked(setting), "curve": str(schedule)}
    return Connectivity(names, tuple(found), threshold, asked, provenance(between.a.device))


def _check(a: nn.Module, b: nn.Module, threshold: float, points: int) -> None:
    if not 0 <= threshold < float("inf"):
        raise SettingError(f"connectivity with threshold={threshold}", "no number of points", "choose 0 or more")
    if points < 3:
        raise SettingError(f"connectivity with points={points}", "no place between the ends", "choose 3 or more")
    shapes = [{name: t.shape for name, t in network.state_dict().items()} for network in (a, b)]
    if type(a) is not type(b) or shapes[0] != shapes[1]:
        found = f"{type(a).__name__} and {type(b).__name__}, with other weights by name or shape"
        raise ShapeMismatch("to connect two networks", found, "give two networks of one architecture")


def _ready(
    networks: Sequence[tuple[str, nn.Module]], train: Samples, test: Samples, seed: int, device: str | None
) -> _Between:
    """Both networks captured, tested whole, and checked at every cut."""
    check_classes(networks, test)
    (name_a, a), (name_b, b) = networks
    first = prepare(a, name_a, test, device=device)
    second = prepare(b, name_b, test, device=first.device)
    if not second.captured.blocks:
        raise ShapeMismatch(f"a chain from {name_b} to {name_a}", "no cut", "use networks of two layers or more")
    for one in (first, second):
        check_identity(one, one.captured.blocks, test)
    return _Between(first, second, train, test, seed)


@dataclass(frozen=True)
class _Between:
    """Two networks, and how to test what lies between them."""

    a: Prepared
    b: Prepared
    train: Samples
    test: Samples
    seed: int

    def asked(self, setting: Setting) -> dict[str, Any]:
        """What was asked, in words and numbers."""
        by = setting.by.over(len(self.train)) if isinstance(setting.by, TaskLoss) else setting.by
        return {
            "data": self.train.name,
            "n_fit": len(self.train),
            "n_test": len(self.test),
            "family": str(setting.family),
            "matching": str(by),
            "seed": self.seed,
            "weights": {"A": self.a.weights, "B": self.b.weights},
        }

    def point(self, way: Way, x: float, outcome: Outcome | NumericalFailure, cut: str = "", fold: str = "") -> Point:
        """A network that was tested, against the worse of the two."""
        if isinstance(outcome, NumericalFailure):
            return Point(way, x, cut, status="failed", reason=str(outcome))
        worse = max((self.a.outcome, self.b.outcome), key=lambda one: one.error)
        penalty = penalty_of(outcome, worse, seed=self.seed)
        return Point(
            way,
            x,
            cut,
            outcome.error,
            outcome.mean_loss,
            penalty.value,
            penalty.interval.low,
            penalty.interval.high,
            penalty.loss_value,
            penalty.loss_interval.low,
            penalty.loss_interval.high,
            fold,
        )

    def ways(self, schedule: Schedule) -> Iterator[tuple[Way, Mix | NumericalFailure | NotCuttable]]:
        """Each path: what goes into the network at a place, or why there is no such path."""
        at_0, at_1 = self.b.network.state_dict(), self.a.network.state_dict()
        yield "linear", partial(_straight, at_0, at_1)
        try:
            matched = match_units(self.a.captured, self.b.captured, seed=self.seed)
            yield "permuted", partial(_straight, at_0, matched)
        except NotCuttable as reason:
            yield "permuted", reason
        try:
            middle = bent(self.b.network, at_0, at_1, self.train, schedule, self.seed)
            yield "curve", lambda x: shares_on_curve(x, at_0, middle, at_1)
        except NumericalFailure as reason:
            yield "curve", reason

    def path(self, way: Way, places: Sequence[float], mix: Mix | NumericalFailure | NotCuttable) -> Iterator[Point]:
        """Test the networks along a path; its ends are the two as they are."""
        for x in track(places, f"{way} path", len(places)):
            if x in (0, 1):
                yield self.point(way, x, (self.b, self.a)[int(x)].outcome)
            elif isinstance(mix, NumericalFailure | NotCuttable):
                yield Point(way, x, status="failed", reason=str(mix))
            else:
                yield self.point(way, x, self._tested(mix(x)))

    def _tested(self, parts: Sequence[tuple[float, Weights]]) -> Outcome | NumericalFailure:
        network = mixed(self.b.network, parts)
        estimate_statistics(network, self.train)
        try:
            return evaluate(network, self.test)
        except NumericalFailure as failure:
            return failure


def _straight(at_0: Weights, at_1: Weights, x: float) -> Sequence[tuple[float, Weights]]:
    return [(1 - x, at_0), (x, at_1)]

"""What was found between two networks: points on a chain and on paths, their barriers, and the verdict.

Beware: every interval covers the choice of test examples for its own point, not for all points together, and says
nothing of other seeds. A verdict of False says that this matching found no good stitch, not that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelstitch.penalty import Penalty

if TYPE_CHECKING:
    import altair
    import pandas

    from modelstitch.tasks import Score

Way = Literal["stitching", "linear", "permuted", "curve"]
WAYS: tuple[Way, ...] = ("stitching", "linear", "permuted", "curve")
Barrier = dict[str, float]
"""By score, how much worse a path gets than the straight line between the values at its ends; 0 where it never does."""


@dataclass(frozen=True)
class Point:
    """One network between the two, tested; penalties are against the worse of the two, by the first score.

    Attributes:
        way: ``stitching`` for the chain; ``linear``, ``permuted`` and ``curve`` for paths through the weights.
        x: 0 for the network B, 1 for A; on the chain the number of the cut over their number plus one.
        cut: where the chain is cut; empty on paths, ``input`` and ``output`` at the ends of the chain.
        scores: for each score of the task its value (``stitched``), that of the worse of the two (``top``), and the
            penalty with its 95 % paired bootstrap interval; the first gives *the* penalty. None where it failed.
        fold: how the stitched network folds into one of the architecture: ``same architecture``, ``projection at …``,
            or why not; empty on paths.
        status: ``ok``, or ``failed`` where there is no value.
        reason: of a failure.
    """

    way: Way
    x: float
    cut: str = ""
    scores: tuple[Penalty, ...] = ()
    fold: str = ""
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""

    def score(self, name: str) -> Penalty | None:
        """What was found by one score; None where there is no value."""
        return next((one for one in self.scores if one.score.name == name), None)

    @property
    def value(self) -> float | None:
        """The first score."""
        return self.scores[0].stitched if self.scores else None

    @property
    def penalty(self) -> float | None:
        """How much worse than the worse of the two networks, by the first score and in its unit."""
        return self.scores[0].value if self.scores else None

    @property
    def penalty_low(self) -> float | None:
        """The lower end of the penalty's interval."""
        return self.scores[0].interval.low if self.scores else None

    @property
    def penalty_high(self) -> float | None:
        """The upper end of the penalty's interval."""
        return self.scores[0].interval.high if self.scores else None

    def row(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Everything in one line: each score, ``penalty`` by the first with its ends, ``NAME_penalty`` by each other.

        Args:
            names: of the scores, so that a point without values has the same columns.
        """
        found = {name: self.score(name) for name in names}
        row: dict[str, Any] = {"way": self.way, "x": self.x, "cut": self.cut}
        row |= {name: one and one.stitched for name, one in found.items()}
        for name, one in found.items():
            column = "penalty" if name == names[0] else f"{name}_penalty"
            row[column] = one and one.value
            row |= {f"{column}_low": one and one.interval.low, f"{column}_high": one and one.interval.high}
        return row | {"fold": self.fold, "status": self.status, "reason": self.reason}


@dataclass(frozen=True)
class Connectivity:
    """Two networks of one architecture and what lies between them.

    Attributes:
        names: of A and B.
        points: the chain first, then each path, from B to A.
        scores: of the task, the one that judges first.
        threshold: how much worse than the worse network still counts as connected, in the unit of the first score.
        asked: data, sizes, task, family, matching, curve, seed.
        provenance: device, threads, versions, commit, time.
    """

    names: tuple[str, str]
    points: tuple[Point, ...]
    scores: tuple[Score, ...]
    threshold: float
    asked: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def way(self, way: Way) -> tuple[Point, ...]:
        """The points of one way, from B to A."""
        return tuple(point for point in self.points if point.way == way)

    @property
    def connected(self) -> bool | None:
        """Whether the two are stitching-connected, as far as the test examples can tell.

        True when the interval of every penalty on the chain ends at or below the threshold, False when one of them
        begins above it, None (cannot tell) when neither holds: an interval straddles the threshold, or a stitching
        failed.
        """
        inner = [point for point in self.way("stitching") if 0 < point.x < 1]
        intervals = [point.scores[0].interval for point in inner if point.scores]
        if any(one.low > self.threshold for one in intervals):
            return False
        within = [one for one in intervals if one.high <= self.threshold]
        return True if len(within) == len(inner) else None

    @property
    def verdict(self) -> str:
        """`connected` in words."""
        said = {True: "stitching-connected", False: "not stitching-connected", None: "cannot tell"}[self.connected]
        return f"{said} at {self.threshold:g} {self.scores[0].unit}".rstrip()

    def barrier(self, way: Way) -> Barrier | None:
        """``max over x of L(x) - ((1 - x) L(0) + x L(1))`` by each score; None where a point failed.

        Of a score of which more is better the sign is turned, so that a barrier is never negative.
        """
        points = self.way(way)
        if not points or any(point.status == "failed" for point in points):
            return None
        return {score.name: _rise(points, score) for score in self.scores}

    def to_pandas(self) -> pandas.DataFrame:
        """One row a point, with everything that `Point` tells."""
        import pandas

        names = tuple(score.name for score in self.scores)
        frame = pandas.DataFrame([point.row(names) for point in self.points])
        words = ("way", "cut", "fold", "status", "reason")
        return frame.astype({name: "float64" for name in frame.columns if name not in words})

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, words and lists, to be written as JSON."""
        names = tuple(score.name for score in self.scores)
        told = ("name", "title", "unit", "better")
        return {
            "networks": {"A": self.names[0], "B": self.names[1]},
            "scores": [{one: getattr(score, one) for one in told} for score in self.scores],
            "connected": self.connected,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "barriers": {way: self.barrier(way) for way in dict.fromkeys(point.way for point in self.points)},
            "asked": dict(self.asked),
            **self.provenance,
            "points": [point.row(names) for point in self.points],
        }

    def plot(self) -> altair.HConcatChart:
        """The first score along the chain and along the paths, from B to A."""
        from modelstitch.figures import connectivity_curves

        return connectivity_curves(self.to_pandas(), self.to_dict())


def _rise(points: tuple[Point, ...], score: Score) -> float:
    values = [found.stitched for point in points if (found := point.score(score.name))]
    line = [(1 - point.x) * values[0] + point.x * values[-1] for point in points]
    sign = 1.0 if score.better == "lower" else -1.0
    return max(sign * (found - straight) for found, straight in zip(values, line, strict=True))

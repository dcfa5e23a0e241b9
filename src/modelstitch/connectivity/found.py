"""What was found between two networks: points on a chain and on paths, their barriers, and the verdict.

Beware: every interval covers the choice of test examples for its own point, not for all points together, and says
nothing of other seeds. A verdict of False says that this matching found no good stitch, not that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import altair
    import pandas

Way = Literal["stitching", "linear", "permuted", "curve"]
WAYS: tuple[Way, ...] = ("stitching", "linear", "permuted", "curve")


@dataclass(frozen=True)
class Point:
    """One network between the two, tested; penalties are against the worse of the two, by test error.

    Attributes:
        way: ``stitching`` for the chain; ``linear``, ``permuted`` and ``curve`` for paths through the weights.
        x: 0 for the network B, 1 for A; on the chain the number of the cut over their number plus one.
        cut: where the chain is cut; empty on paths, ``input`` and ``output`` at the ends of the chain.
        error: test error in percent; None where there is none.
        loss: mean test loss in nats.
        penalty: points of test error above the worse of the two networks.
        penalty_low: lower end of its 95 % paired bootstrap interval.
        penalty_high: upper end.
        loss_penalty: nats of test loss above the same network.
        loss_penalty_low: lower end of its interval.
        loss_penalty_high: upper end.
        fold: how the stitched network folds into one of the architecture: ``same architecture``, ``projection at …``,
            or why not; empty on paths.
        status: ``ok``, or ``failed`` where there is no value.
        reason: of a failure.
    """

    way: Way
    x: float
    cut: str = ""
    error: float | None = None
    loss: float | None = None
    penalty: float | None = None
    penalty_low: float | None = None
    penalty_high: float | None = None
    loss_penalty: float | None = None
    loss_penalty_low: float | None = None
    loss_penalty_high: float | None = None
    fold: str = ""
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Barrier:
    """How high a path rises above the straight line between the values at its ends; 0 where it never does.

    Attributes:
        error: in points of test error.
        loss: in nats.
    """

    error: float
    loss: float


@dataclass(frozen=True)
class Connectivity:
    """Two networks of one architecture and what lies between them.

    Attributes:
        names: of A and B.
        points: the chain first, then each path, from B to A.
        threshold: points of test error above the worse network that still count as connected.
        asked: data, sizes, family, matching, curve, seed.
        provenance: device, threads, versions, commit, time.
    """

    names: tuple[str, str]
    points: tuple[Point, ...]
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
        known = [p for p in inner if p.penalty_low is not None and p.penalty_high is not None]
        if any(p.penalty_low > self.threshold for p in known if p.penalty_low is not None):
            return False
        within = [p for p in known if p.penalty_high is not None and p.penalty_high <= self.threshold]
        return True if len(within) == len(inner) else None

    @property
    def verdict(self) -> str:
        """`connected` in words."""
        said = {True: "stitching-connected", False: "not stitching-connected", None: "cannot tell"}[self.connected]
        return f"{said} at {self.threshold:g} points"

    def barrier(self, way: Way) -> Barrier | None:
        """``max over x of L(x) - ((1 - x) L(0) + x L(1))``, for error and for loss; None where a point failed."""
        points = self.way(way)
        if not points or any(point.status == "failed" for point in points):
            return None
        return Barrier(_rise(points, "error"), _rise(points, "loss"))

    def to_pandas(self) -> pandas.DataFrame:
        """One row a point, with everything that `Point` tells."""
        import pandas

        frame = pandas.DataFrame([asdict(point) for point in self.points], columns=list(Point.__dataclass_fields__))
        numbers = [name for name, field in Point.__dataclass_fields__.items() if field.type == "float | None"]
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, words and lists, to be written as JSON."""
        barriers = {way: self.barrier(way) for way in dict.fromkeys(point.way for point in self.points)}
        return {
            "networks": {"A": self.names[0], "B": self.names[1]},
            "connected": self.connected,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "barriers": {way: asdict(barrier) if barrier else None for way, barrier in barriers.items()},
            "asked": dict(self.asked),
            **self.provenance,
            "points": [asdict(point) for point in self.points],
        }

    def plot(self) -> altair.HConcatChart:
        """Test error along the chain and along the paths, from B to A."""
        from modelstitch.figures import connectivity_curves

        return connectivity_curves(self.to_pandas(), self.to_dict())


def _rise(points: tuple[Point, ...], value: Literal["error", "loss"]) -> float:
    values = [float(getattr(point, value)) for point in points]
    line = [(1 - point.x) * values[0] + point.x * values[-1] for point in points]
    return max(found - straight for found, straight in zip(values, line, strict=True))

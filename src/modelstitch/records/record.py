"""One stitching's record: what was asked, what was found, and where it ran.

What was asked, and where, are columns. What was found are rows: of scores, of measures, and of the learning curve. So a
new score or measure is a new row, and no column changes.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.vocabulary import CONTROLS

_CHOICES = {
    "control": ("", *CONTROLS),
    "batch_norm": ("frozen", "batch"),
    "status": ("ok", "failed"),
}
_BETTER = ("lower", "higher")


@dataclass(frozen=True)
class ScoreRow:
    """One score of a stitched network beside those of the two whole networks.

    Attributes:
        score: its name, such as ``error``.
        unit: of the penalty, such as ``points``; empty for a number without unit.
        better: ``lower`` or ``higher``: which side is the better one.
        stitched: the score of the stitched network.
        top: of the top network whole.
        bottom: of the bottom network whole; None where it has none.
        penalty: how much worse than the top network the stitched one is; positive is worse, whichever side is better.
        low: lower end of the penalty's 95 % paired bootstrap interval.
        high: upper end of it.
    """

    score: str
    unit: str
    better: str
    stitched: float
    top: float
    bottom: float | None
    penalty: float
    low: float
    high: float


@dataclass(frozen=True)
class MeasureRow:
    """One measure of a stitching.

    Attributes:
        measure: its name, such as ``cka``.
        value: None where there is none.
        note: why there is none, or what to beware of.
    """

    measure: str
    value: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One stitching: what was asked, what was found, and where it ran.

    Attributes:
        key: 16 hex digits, the hash of what was asked.
        stitching: the notation, such as ``A@layer2.1 -> B@layer2.1``.
        control: empty, or one of `modelstitch.vocabulary.CONTROLS`.
        bottom_network: its name.
        top_network: its name.
        bottom_weights: fingerprint of the bottom network's weights.
        top_weights: fingerprint of the top network's weights.
        bottom_graph: fingerprint of the bottom network's graph; empty where it is not known, as is the next.
        top_graph: fingerprint of the top network's graph.
        bottom_cut: where the bottom ends.
        top_cut: where the top begins.
        bottom_kind: which axis held the channels there: ``map``, ``tokens``, ``vector``, ``axis 1``; empty where it is
            not known, as is the next.
        top_kind: which axis held them above.
        bottom_depth: share (0 to 1) of the bottom network's conv and linear layers that lie in the bottom.
        top_depth: share (0 to 1) of the top network's conv and linear layers that lie below the top.
        data: name of the data.
        fit_data: fingerprint of the examples on which the stitch was fitted.
        test_data: fingerprint of the examples on which it was measured.
        n_fit: how many examples it was fitted on.
        n_test: how many it was measured on.
        task: what judged the outputs, as JSON; so are the next two. `modelstitch.vocabulary.spoken` reads it out.
        family: the set the stitch was chosen from.
        matching: how it was chosen; a list for a chain, empty where there was nothing to choose.
        batch_norm: ``frozen`` (running statistics) or ``batch`` (statistics of the batch).
        seed: of the matching.
        status: ``ok`` or ``failed``.
        reason: why it failed; empty when it did not.
        scores: what the task found; the first gives *the* penalty.
        measures: what was found beside it.
        curve: mean loss per epoch of the matching; empty for a matching in closed form.
        seconds: what the stitching took.
        device: where it ran.
        threads: how many CPU threads it had.
        versions: version of each library that shaped the numbers.
        commit: commit of the modelstitch checkout; empty for an installed release.
        created: ISO 8601 time.

    Raises:
        NumericalFailure: a number is not finite though the status is ``ok``, or there is no score.
        SettingError: a column holds none of its choices, a score or a measure is there twice, a failure lacks its
            reason or carries a value.
    """

    key: str
    stitching: str
    control: str = ""
    bottom_network: str
    top_network: str
    bottom_weights: str
    top_weights: str
    bottom_graph: str
    top_graph: str
    bottom_cut: str
    top_cut: str
    bottom_kind: str
    top_kind: str
    bottom_depth: float
    top_depth: float
    data: str
    fit_data: str
    test_data: str
    n_fit: int
    n_test: int
    task: str
    family: str
    matching: str
    batch_norm: str
    seed: int
    status: str
    reason: str = ""
    scores: tuple[ScoreRow, ...] = ()
    measures: tuple[MeasureRow, ...] = ()
    curve: tuple[float, ...] = ()
    seconds: float
    device: str
    threads: int
    versions: dict[str, str] = field(hash=False)
    commit: str
    created: str

    def __post_init__(self) -> None:
        asked = f"the record of {self.stitching}"
        for column, choices in _CHOICES.items():
            _check_choice(asked, column, getattr(self, column), choices)
        for row in self.scores:
            _check_choice(asked, f"better of {row.score}", row.better, _BETTER)
        for kind, names in (("score", [s.score for s in self.scores]), ("measure", [m.measure for m in self.measures])):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise SettingError(asked, f"the {kind} {twice[0]!r} twice", f"give each {kind} once")
        told = {name: getattr(self, name) for name in ("bottom_depth", "top_depth", "seconds")}
        wrong = [f"{name} is {value}" for name, value in told.items() if not math.isfinite(value)]
        if wrong:
            raise NumericalFailure(asked, ", ".join(wrong), "give a finite number")
        if self.status == "failed":
            self._check_failed()
        else:
            self._check_ok(asked)

    def _check_failed(self) -> None:
        asked = f"the failed record of {self.stitching}"
        carried = [name for name in ("scores", "measures", "curve") if getattr(self, name)]
        if carried:
            do = "leave every measured value out: a failure has no score"
            raise SettingError(asked, f"it carries {', '.join(carried)}", do)
        if not self.reason:
            raise SettingError(asked, "its reason is empty", "say why it failed")

    def _check_ok(self, asked: str) -> None:
        if self.reason:
            do = "set the status to 'failed', or leave the reason out"
            raise SettingError(asked, f"status 'ok' with the reason {self.reason!r}", do)
        wrong = [] if self.scores else ["no score"]
        wrong += [f"{name} of {row.score} is {value}" for row in self.scores for name, value in _endless(row)]
        wrong += [f"{row.measure} is {value}" for row in self.measures for _, value in _endless(row)]
        wrong += [f"curve holds {value}" for value in self.curve if not math.isfinite(value)]
        if wrong:
            do = "look at the learning rate and at the activations at the two cuts, or record the stitching as failed"
            raise NumericalFailure(asked, ", ".join(wrong), do)

    @property
    def penalty(self) -> float | None:
        """The penalty of the first score; None of a failure, as are the ends of its interval."""
        return self.scores[0].penalty if self.scores else None

    @property
    def penalty_low(self) -> float | None:
        """Lower end of the 95 % paired bootstrap interval of the penalty."""
        return self.scores[0].low if self.scores else None

    @property
    def penalty_high(self) -> float | None:
        """Upper end of it."""
        return self.scores[0].high if self.scores else None

    @property
    def unit(self) -> str:
        """The unit of the penalty; empty of a failure and of a number without unit."""
        return self.scores[0].unit if self.scores else ""

    def score(self, name: str) -> ScoreRow | None:
        """The score of that name, or None where there is none."""
        return next((row for row in self.scores if row.score == name), None)

    def measure(self, name: str) -> float | None:
        """The value of the measure of that name, or None where there is none."""
        return next((row.value for row in self.measures if row.measure == name), None)

    def note(self, name: str) -> str:
        """Why the measure of that name has no value, or what to beware of."""
        return next((row.note for row in self.measures if row.measure == name), "")


def _check_choice(asked: str, column: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise SettingError(asked, f"{column} is {value!r}", f"use one of {', '.join(map(repr, choices))}")


def _endless(row: ScoreRow | MeasureRow) -> list[tuple[str, float | None]]:
    """The numbers of a row that are not finite, or are missing where there must be one."""
    kinds = SCORE if isinstance(row, ScoreRow) else MEASURE
    told = [(name, getattr(row, name)) for name, kind in kinds.items() if kind.startswith("float")]
    missing = [(name, value) for name, value in told if value is None and kinds[name] == "float"]
    return missing + [(name, value) for name, value in told if value is not None and not math.isfinite(value)]


# The annotations are strings here, and one spelling each: they decide how a column is read and stored.
def _kinds(one: type) -> dict[str, str]:
    return {column.name: str(column.type) for column in dataclasses.fields(one)}


FOUND = ("scores", "measures", "curve")
"""The fields of a record that are rows."""
COLUMNS = {name: kind for name, kind in _kinds(Record).items() if name not in FOUND}
"""The columns of a record and what they hold: what was asked, whether it was done, and where it ran."""
SCORE, MEASURE = _kinds(ScoreRow), _kinds(MeasureRow)
"""The columns of a row."""

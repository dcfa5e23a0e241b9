"""What a recipe expects, judged by the intervals of the records: it holds, it fails, or this run cannot tell.

One record **holds** when its whole 95 % interval lies within the bounds, both ends included, **fails** when the whole
interval lies outside, and cannot tell when a bound cuts through the interval or when it failed and has no value. Of
many records, ``each`` holds when all hold and fails when one fails; ``some`` holds when one holds and fails when all
fail; ``mean`` is judged as one record whose penalty and interval ends are the means of theirs. That interval is wide
rather than narrow: the records share their test examples, so their errors do not cancel as those of independent ones.

Beware: the intervals speak of test examples. They say nothing of what other seeds or other data would have given.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, runtime_checkable

import pandas as pd

from modelstitch.errors import SettingError, did_you_mean

Answer = Literal["holds", "fails", "cannot tell"]
STATISTICS = ("each", "some", "mean")
RULE = (
    "One stitching holds when its whole 95 % interval lies within the bounds and fails when the whole interval lies "
    "outside; otherwise it cannot tell, as when it failed and has no value. “Each” holds when all hold and fails when "
    "one fails; “some” holds when one holds and fails when all fail; “mean” judges the mean penalty between the means "
    "of the intervals' ends. The intervals are over test examples, not over seeds."
)


@runtime_checkable
class Expected(Protocol):
    """Anything with the attributes of a `Claim`, such as a recipe's own model."""

    @property
    def claim(self) -> str:
        """The sentence."""

    @property
    def bottoms(self) -> str:
        """Pattern on the bottom network's name."""

    @property
    def tops(self) -> str:
        """Pattern on the top network's name."""

    @property
    def cuts(self) -> str:
        """Pattern on the top's cut."""

    @property
    def control(self) -> str:
        """Which records are meant."""

    @property
    def statistic(self) -> str:
        """Each, some or mean."""

    @property
    def at_most(self) -> float | None:
        """Upper bound."""

    @property
    def at_least(self) -> float | None:
        """Lower bound."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is expected of the penalty of some stitchings.

    Args:
        claim: the sentence, for a reader.
        bottoms: pattern on the bottom network's name, as in a shell; ``*`` is any.
        tops: pattern on the top network's name.
        cuts: pattern on the top's cut.
        control: empty for the stitchings proper, else ``self`` or ``untrained``.
        statistic: ``each``, ``some`` or ``mean``.
        at_most: upper bound, percentage points; None for none.
        at_least: lower bound, percentage points; None for none.
    """

    claim: str
    bottoms: str = "*"
    tops: str = "*"
    cuts: str = "*"
    control: str = ""
    statistic: str = "each"
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Verdict:
    """How a claim fared.

    Args:
        claim: the sentence.
        asked: what was asked of which stitchings, in words.
        answer: ``holds``, ``fails`` or ``cannot tell``.
        why: what decided it; where there is no number, why not.
        penalty: the number that decided it, percentage points: the mean, or that of the record nearest to the other
            answer; None where there is none.
        low: lower end of its 95 % interval.
        high: upper end of it.
        n: how many stitchings the claim speaks of, the failed ones included.
        n_test: how many test examples each was measured on, fewest and most; empty where there is none.
        key: of the record that decided; empty for a mean.
    """

    claim: str
    asked: str
    answer: Answer
    why: str
    penalty: float | None
    low: float | None
    high: float | None
    n: int
    n_test: tuple[int, ...]
    key: str


def judge(claim: Expected, records: pd.DataFrame) -> Verdict:
    """Hold a claim against the records.

    Args:
        claim: what is expected.
        records: as `Records.to_pandas` gives them.

    Raises:
        SettingError: the claim has no bound, or a statistic that does not exist.

    Example:
        >>> from modelstitch.records import Records
        >>> judge(Claim(claim="stitching is cheap", at_most=3.0), Records().to_pandas()).answer
        'cannot tell'
    """
    _check(claim)
    meant = _meant(claim, records)
    ok = meant[meant["status"] == "ok"]
    failed = len(meant) - len(ok)
    sizes = tuple(sorted({int(n) for n in ok["n_test"]}))
    n_test = (sizes[0], sizes[-1]) if len(sizes) > 1 else sizes
    if ok.empty:
        why = f"all {len(meant)} stitchings failed" if failed else "no stitching fits the claim"
        return Verdict(claim.claim, _asked(claim), "cannot tell", why, None, None, None, len(meant), n_test, "")
    answer, shown = _mean(claim, ok, failed) if claim.statistic == "mean" else _many(claim, ok, failed)
    why = "over all" if claim.statistic == "mean" else str(shown["stitching"])
    if failed:
        why += f"; {failed} of {len(meant)} failed, without a value"
    numbers = (float(shown["penalty"]), float(shown["penalty_low"]), float(shown["penalty_high"]))
    return Verdict(claim.claim, _asked(claim), answer, why, *numbers, len(meant), n_test, str(shown["key"]))


def _check(claim: Expected) -> None:
    asked = f"a verdict on {claim.claim!r}"
    if claim.at_most is None and claim.at_least is None:
        raise SettingError(asked, "it has no bound", "give `at_most` or `at_least`, in percentage points of penalty")
    if claim.statistic not in STATISTICS:
        do = did_you_mean(claim.statistic, STATISTICS, f"use one of {', '.join(STATISTICS)}")
        raise SettingError(asked, f"the statistic {claim.statistic!r}", do)


def _meant(claim: Expected, records: pd.DataFrame) -> pd.DataFrame:
    patterns = {"bottom_network": claim.bottoms, "top_network": claim.tops, "top_cut": claim.cuts}
    meant = records["control"] == claim.control
    for column, pattern in patterns.items():
        meant &= records[column].map(lambda name, pattern=pattern: fnmatchcase(name, pattern)).astype(bool)
    return records[meant]


def _asked(claim: Expected) -> str:
    bounds = {"at least": claim.at_least, "at most": claim.at_most}
    told = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)
    who = {"": "stitchings", "self": "self-stitchings", "untrained": "untrained bottoms"}.get(claim.control, "")
    where = "" if claim.cuts == "*" else f" at {claim.cuts}"
    pair = "" if claim.bottoms == claim.tops == "*" else f", {claim.bottoms} → {claim.tops}"
    return f"{claim.statistic} {told} points: {who}{pair}{where}"


def _margin(claim: Expected, frame: pd.DataFrame) -> pd.Series[float]:
    """How far inside the bounds a penalty lies, percentage points; below zero it is outside."""
    upper = float("inf") if claim.at_most is None else claim.at_most
    lower = -float("inf") if claim.at_least is None else claim.at_least
    return pd.concat([upper - frame["penalty"], frame["penalty"] - lower], axis=1).min(axis=1)


def _one(claim: Expected, low: float, high: float) -> Answer:
    upper = float("inf") if claim.at_most is None else claim.at_most
    lower = -float("inf") if claim.at_least is None else claim.at_least
    if lower <= low and high <= upper:
        return "holds"
    return "fails" if low > upper or high < lower else "cannot tell"


def _mean(claim: Expected, ok: pd.DataFrame, failed: int) -> tuple[Answer, pd.Series[Any]]:
    mean = ok[["penalty", "penalty_low", "penalty_high"]].mean()
    answer = _one(claim, mean["penalty_low"], mean["penalty_high"])
    mean = mean.astype(object)
    mean["key"] = ""
    return "cannot tell" if failed else answer, mean


def _many(claim: Expected, ok: pd.DataFrame, failed: int) -> tuple[Answer, pd.Series[Any]]:
    """The answer by logic of three values, and the record that decides it."""
    each = [_one(claim, low, high) for low, high in zip(ok["penalty_low"], ok["penalty_high"], strict=True)]
    each += ["cannot tell"] * failed
    decides: Answer = "fails" if claim.statistic == "each" else "holds"
    otherwise: Answer = "holds" if claim.statistic == "each" else "fails"
    answer: Answer = "cannot tell"
    if decides in each:
        answer = decides
    elif set(each) == {otherwise}:
        answer = otherwise
    # The one that decides must be one that says so; of these, the one that says it most.
    says = ok[[one == answer for one in each[: len(ok)]]]
    says = ok if says.empty else says
    margin = _margin(claim, says).to_numpy()
    return answer, says.iloc[int(margin.argmin() if claim.statistic == "each" else margin.argmax())]

"""What a recipe expects, judged by the intervals of the records: it holds, it fails, or this run cannot tell.

One record **holds** when its whole 95 % interval lies within the bounds, both ends included, **fails** when the whole
interval lies outside, and cannot tell when a bound cuts through the interval or when it failed and has no value. Of
many records, ``each`` holds when all hold and fails when one fails; ``some`` holds when one holds and fails when all
fail; ``mean`` is judged as one record. Where the records are of several pairs that differ in their seeds alone, its
interval is Student's over the pairs; else its ends are the means of theirs. That is wide rather than narrow: the
records share their test examples, so their errors do not cancel as those of independent ones.

Beware: all intervals but Student's speak of test examples. They say nothing of what other seeds would have given, and
none says anything of other data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import pandas as pd

from modelstitch.recipe import Claim
from modelstitch.report.seeds import PENALTY, student
from modelstitch.vocabulary import CONTROLS

Answer = Literal["holds", "fails", "cannot tell"]
RULE = (
    "One stitching holds when its whole 95 % interval lies within the bounds and fails when the whole interval lies "
    "outside; otherwise it cannot tell, as when it failed and has no value. “Each” holds when all hold and fails when "
    "one fails; “some” holds when one holds and fails when all fail; “mean” judges the mean penalty: over pairs that "
    "differ in their seeds alone by Student's interval over these pairs, otherwise between the means of the intervals' "
    "ends. All intervals but Student's are over test examples, not over seeds."
)


@dataclass(frozen=True)
class Verdict:
    """How a claim fared.

    Args:
        claim: the sentence.
        asked: what was asked of which stitchings, in words.
        answer: ``holds``, ``fails`` or ``cannot tell``.
        why: what decided it; where there is no number, why not.
        penalty: the number that decided it: the mean, or that of the record nearest to the other answer; None where
            there is none.
        low: lower end of its 95 % interval.
        high: upper end of it.
        n: how many stitchings the claim speaks of, the failed ones included.
        n_test: how many test examples each was measured on, fewest and most; empty where there is none.
        key: of the record that decided; empty for a mean.
        unit: of the penalties; empty for a number without unit, and where there is no record.
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
    unit: str


def judge(claim: Claim, records: pd.DataFrame, kinds: Mapping[str, str] | None = None) -> Verdict:
    """Hold a claim against the records.

    Args:
        claim: what is expected.
        records: as `Records.to_pandas` gives them.
        kinds: what each network is called without its seed; one that is not named is of its own kind.

    Example:
        >>> from modelstitch.recipe import Claim
        >>> from modelstitch.records import Records
        >>> judge(Claim(claim="stitching is cheap", at_most=3.0), Records().to_pandas()).answer
        'cannot tell'
    """
    meant = _meant(claim, records)
    ok = meant[meant["status"] == "ok"]
    failed = len(meant) - len(ok)
    sizes = tuple(sorted({int(n) for n in ok["n_test"]}))
    n_test = (sizes[0], sizes[-1]) if len(sizes) > 1 else sizes
    unit = " or ".join(dict.fromkeys(one for one in meant["unit"] if one))
    asked = _asked(claim, unit)
    if ok.empty:
        why = f"all {len(meant)} stitchings failed" if failed else "no stitching fits the claim"
        return Verdict(claim.claim, asked, "cannot tell", why, None, None, None, len(meant), n_test, "", unit)
    answer, shown = _mean(claim, ok, failed, kinds or {}) if claim.statistic == "mean" else _many(claim, ok, failed)
    why = str(shown["stitching"])
    if failed:
        why += f"; {failed} of {len(meant)} failed, without a value"
    numbers = (float(shown["penalty"]), float(shown["penalty_low"]), float(shown["penalty_high"]))
    return Verdict(claim.claim, asked, answer, why, *numbers, len(meant), n_test, str(shown["key"]), unit)


def _meant(claim: Claim, records: pd.DataFrame) -> pd.DataFrame:
    patterns = {"bottom_network": claim.bottoms, "top_network": claim.tops, "top_cut": claim.cuts}
    meant = records["control"] == claim.control
    for column, pattern in patterns.items():
        meant &= records[column].map(lambda name, pattern=pattern: fnmatchcase(name, pattern)).astype(bool)
    return records[meant]


def _asked(claim: Claim, unit: str) -> str:
    bounds = {"at least": claim.at_least, "at most": claim.at_most}
    told = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)
    told += f" {unit}" if unit else ""
    who = CONTROLS[claim.control].title if claim.control else "stitchings"
    where = "" if claim.cuts == "*" else f" at {claim.cuts}"
    pair = "" if claim.bottoms == claim.tops == "*" else f", {claim.bottoms} → {claim.tops}"
    return f"{claim.statistic} {told}: {who}{pair}{where}"


def _margin(claim: Claim, frame: pd.DataFrame) -> pd.Series[float]:
    """How far inside the bounds a penalty lies; below zero it is outside."""
    upper = float("inf") if claim.at_most is None else claim.at_most
    lower = -float("inf") if claim.at_least is None else claim.at_least
    return pd.concat([upper - frame["penalty"], frame["penalty"] - lower], axis=1).min(axis=1)


def _one(claim: Claim, low: float, high: float) -> Answer:
    upper = float("inf") if claim.at_most is None else claim.at_most
    lower = -float("inf") if claim.at_least is None else claim.at_least
    if lower <= low and high <= upper:
        return "holds"
    return "fails" if low > upper or high < lower else "cannot tell"


def _mean(claim: Claim, ok: pd.DataFrame, failed: int, kinds: Mapping[str, str]) -> tuple[Answer, Mapping[str, Any]]:
    of_pairs = ok.groupby(["bottom_network", "top_network"])["penalty"]
    bottoms, tops = ({kinds.get(name, name) for name in ok[side]} for side in ("bottom_network", "top_network"))
    # Pairs of other kinds differ in more than seeds; and of pairs at other cuts the means are not of one thing.
    if of_pairs.ngroups > 1 and len(bottoms) == len(tops) == 1 and not failed and of_pairs.size().nunique() == 1:
        numbers = student(list(of_pairs.mean()))
        why = f"over all; Student's interval over {of_pairs.ngroups} pairs of seeds"
    else:
        numbers, why = tuple(ok[PENALTY].mean()), "over all"
    shown = {**dict(zip(PENALTY, numbers, strict=True)), "key": "", "stitching": why}
    return "cannot tell" if failed else _one(claim, *numbers[1:]), shown


def _many(claim: Claim, ok: pd.DataFrame, failed: int) -> tuple[Answer, pd.Series[Any]]:
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

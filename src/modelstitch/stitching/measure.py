"""Stitchings of one pairing fitted and measured: everything that their records say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from modelstitch.compute import Compute
from modelstitch.cut import Cut
from modelstitch.errors import NotCuttable, NumericalFailure
from modelstitch.matching import Fit
from modelstitch.measures import MEASURES, noted
from modelstitch.moments import Moments
from modelstitch.penalty import evaluate_all, penalties_of
from modelstitch.records import MeasureRow, Record, ScoreRow
from modelstitch.stitching.pairing import Pairing
from modelstitch.stitching.places import Pair
from modelstitch.stitching.provenance import key_of, provenance
from modelstitch.stitching.stitch_file import stitch_bytes
from modelstitch.tasks import Outcome, agreement


@dataclass(frozen=True, eq=False)
class Measured:
    """One stitching measured.

    Attributes:
        record: what was found.
        stitch: what was learnt, as a safetensors file (`stitch_bytes`); None where nothing was.
    """

    record: Record
    stitch: bytes | None


def measure(pairing: Pairing, pairs: Sequence[Pair]) -> list[Measured]:
    """Fit the stitches of one pairing, all in one pass, and measure them.

    Args:
        pairing: the networks, the data and the setting.
        pairs: where to join them.

    Returns:
        One a pair; a numerical failure is a record too, with its reason and without a value.

    Raises:
        StitchError: anything but a numerical failure.
    """
    begun = time.perf_counter()
    pairing.want()
    bottom, top = pairing.bottom_of.captured, pairing.top_of.captured
    halves = [(bottom.bottom(below), top.top(above)) for below, above in pairs]
    fits = pairing.job().fit_all(halves, [pairing.fit_moments(pair) for pair in pairs])
    # Whole networks first: their last cut is the deepest, so that one run gives all that is kept.
    _ = pairing.bottom_outcome(), pairing.outcome(pairing.top_of)
    fitted = [found.stitched for found in fits if isinstance(found, Fit)]
    outcomes = iter(evaluate_all(fitted, pairing.judged_on(pairing.test), pairing.task))
    results = [
        _found(pairing, pair, fit, next(outcomes) if isinstance(fit, Fit) else fit, pairing.test_moments(pair))
        for fit, pair in zip(fits, pairs, strict=True)
    ]
    share = (time.perf_counter() - begun) / max(1, len(pairs))
    return [_measured(pairing, *each, share) for each in zip(pairs, fits, results, strict=True)]


def _measured(
    pairing: Pairing, pair: Pair, fit: Fit | NumericalFailure, result: dict[str, Any], seconds: float
) -> Measured:
    columns: dict[str, Any] = pairing.asked(pair)
    columns |= {"key": key_of(columns), **_depths(*pair), "seconds": seconds}
    columns |= {"n_fit": len(pairing.train.examples), "n_test": len(pairing.test.examples)}
    record = Record(**columns, **result, **provenance(Compute(pairing.top_of.device)))
    descent = pairing.setting.by.descent
    # A trained top is as large as a network, and its stitch is nothing without it.
    kept = isinstance(fit, Fit) and record.status == "ok" and not (descent and descent.trains_top)
    return Measured(record, stitch_bytes(fit.stitched, record.batch_norm) if kept and isinstance(fit, Fit) else None)


def _depths(below: Cut, above: Cut) -> dict[str, float]:
    return {"bottom_depth": below.depth, "top_depth": above.depth}


def _found(
    pairing: Pairing,
    pair: Pair,
    fit: Fit | NumericalFailure,
    outcome: Outcome | NumericalFailure,
    moments: Moments | NumericalFailure,
) -> dict[str, Any]:
    """The columns of a record that are measured; of a failure, the reason alone."""
    for part in (fit, outcome, moments):
        if isinstance(part, NumericalFailure):
            return {"status": "failed", "reason": str(part)}
    assert isinstance(fit, Fit)
    assert isinstance(outcome, Outcome)
    assert isinstance(moments, Moments)
    try:
        scores = _scores(pairing, outcome)
    except NumericalFailure as failure:
        return {"status": "failed", "reason": str(failure)}
    _check_self(pairing, pair, scores)
    measures = (*_opinions(moments), *_agreements(pairing, outcome), MeasureRow("residual", fit.residual))
    return {"status": "ok", "scores": scores, "measures": measures, "curve": fit.curve}


def _check_self(pairing: Pairing, pair: Pair, scores: Sequence[ScoreRow]) -> None:
    """Stop where a network stitched to itself by the identity does not do exactly as well as it does whole."""
    wrong = [row for row in scores if row.penalty or row.low or row.high] if pairing.control == "self" else []
    if wrong:
        found = (
            f"a penalty of {wrong[0].penalty:.3g} in {wrong[0].score} over the test examples, where it is 0 or wrong"
        )
        do = "cut elsewhere, or leave the network out: its halves do not make it whole on these examples"
        raise NotCuttable(f"the self-stitch {pairing.stitching(pair)}", found, do)


def _scores(pairing: Pairing, outcome: Outcome) -> tuple[ScoreRow, ...]:
    """The stitched network's scores beside those of the two whole networks."""
    bottom, top = pairing.bottom_outcome(), pairing.outcome(pairing.top_of)
    found = penalties_of(outcome, top, pairing.task, seed=pairing.setting.seed)
    return tuple(
        ScoreRow(
            score=name,
            unit=each.score.unit,
            better=each.score.better,
            stitched=each.stitched,
            top=each.top,
            bottom=each.score.value(bottom.sums[name]) if bottom else None,
            penalty=each.value,
            low=each.interval.low,
            high=each.interval.high,
        )
        for name, each in found.items()
    )


def _opinions(moments: Moments) -> list[MeasureRow]:
    """What the activations alone say, by every measure that second moments serve; one may fail and the rest stand."""
    return [
        MeasureRow(name, *noted(partial(each.from_moments, moments)))
        for name, each in MEASURES.items()
        if each.from_moments is not None
    ]


def _agreements(pairing: Pairing, outcome: Outcome) -> list[MeasureRow]:
    """The share of test examples that get the answer which each whole network gives them."""
    whole = {"agreement_top": pairing.outcome(pairing.top_of), "agreement_bottom": pairing.bottom_outcome()}
    shares = {name: agreement(outcome, one) for name, one in whole.items() if one is not None}
    return [MeasureRow(name, share) for name, share in shares.items() if share is not None]

"""Stitchings of one pair of networks fitted and measured: everything that their records say."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from modelstitch.budget import Budget
from modelstitch.cut import Cut
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.matching import (
    BatchNorm,
    FineTune,
    Fit,
    Matching,
    TaskLoss,
    fit_all,
    moments_or_failures,
    starts_in_closed_form,
)
from modelstitch.measures import MEASURES, noted
from modelstitch.moments import Moments
from modelstitch.penalty import Outcome, agreement, evaluate_all, penalty_of
from modelstitch.records import MeasureRow, Record, ScoreRow
from modelstitch.stitches import FAMILIES, Affine, Family
from modelstitch.stitching.kept import stitch_bytes
from modelstitch.stitching.notation import Stitching
from modelstitch.stitching.prepared import Prepared
from modelstitch.stitching.provenance import key_of, provenance


@dataclass(frozen=True)
class Setting:
    """How stitches are chosen: everything about a stitching but its networks, cuts and data.

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

    @property
    def starts_in_closed_form(self) -> bool:
        """Whether the moments over the examples to fit on are needed."""
        return self.family.closed_form != "none" and starts_in_closed_form(self.by)


@dataclass(frozen=True, eq=False)
class Place:
    """Two cuts to stitch at, with the moments of their rows where these are known already.

    Attributes:
        stitching: what to join.
        fit_moments: over the examples to fit on.
        test_moments: over those to measure on; the measures come from them.
    """

    stitching: Stitching
    fit_moments: Moments | NumericalFailure | None = None
    test_moments: Moments | NumericalFailure | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """One stitching measured.

    Attributes:
        record: what was found.
        stitch: what was learnt, as a safetensors file (`stitch_bytes`); None where nothing was.
    """

    record: Record
    stitch: bytes | None


def measure(
    places: Sequence[Place],
    bottom: Prepared,
    top: Prepared,
    train: Samples,
    test: Samples,
    setting: Setting,
    *,
    control: str = "",
    budget: Budget | None = None,
) -> list[Measured]:
    """Fit the stitches of one pair of networks, all in one pass, and measure them.

    Args:
        places: where to join them.
        bottom: the network that lends its bottom.
        top: the network that lends its top.
        train: to fit on.
        test: to measure on; disjoint from ``train`` (`modelstitch.data.check_disjoint`).
        setting: how to choose the stitches.
        control: one of `modelstitch.vocabulary.CONTROLS`, or empty.
        budget: room for activations; it changes no record.

    Returns:
        One a place; a numerical failure is a record too, with its reason and without a value.

    Raises:
        StitchError: anything but a numerical failure.
    """
    begun = time.perf_counter()
    cuts = [(bottom.captured.find(p.stitching.bottom_cut), top.captured.find(p.stitching.top_cut)) for p in places]
    fits = fit_all(
        setting.family,
        [(bottom.captured.bottom(below), top.captured.top(above)) for below, above in cuts],
        train,
        by=setting.by,
        batch_norm=setting.batch_norm,
        seed=setting.seed,
        moments=[place.fit_moments for place in places],
        budget=budget,
    )
    fitted = [found.stitched for found in fits if isinstance(found, Fit)]
    outcomes = iter(evaluate_all(fitted, test, budget=budget))
    moments = _test_moments(places, cuts, bottom, top, test, budget)
    outcome_of = [next(outcomes) if isinstance(fit, Fit) else fit for fit in fits]
    results = [_found(*each, bottom, top, setting) for each in zip(fits, outcome_of, moments, strict=True)]
    share = (time.perf_counter() - begun) / len(places)
    measured = []
    for place, pair, fit, result in zip(places, cuts, fits, results, strict=True):
        columns = asked(place.stitching, bottom, top, train, test, setting, control)
        columns |= {"key": key_of(columns), "bottom_depth": pair[0].depth, "top_depth": pair[1].depth}
        columns |= {"n_fit": len(train), "n_test": len(test), "seconds": share}
        record = Record(**columns, **result, **provenance(top.device))
        measured.append(Measured(record, _learnt(fit, record, setting)))
    return measured


def _learnt(fit: Fit | NumericalFailure, record: Record, setting: Setting) -> bytes | None:
    # A fine-tuned top is as large as a network, and its stitch is nothing without it.
    if isinstance(fit, NumericalFailure) or record.status == "failed" or isinstance(setting.by, FineTune):
        return None
    return stitch_bytes(fit.stitched, record.batch_norm)


def asked(
    stitching: Stitching,
    bottom: Prepared,
    top: Prepared,
    train: Samples,
    test: Samples,
    setting: Setting,
    control: str = "",
) -> dict[str, Any]:
    """The columns of a record that are known before anything is measured; arguments as of `measure`."""
    below, above = bottom.captured.find(stitching.bottom_cut), top.captured.find(stitching.top_cut)
    return {
        "stitching": str(stitching),
        "control": control,
        "bottom_network": bottom.name,
        "top_network": top.name,
        "bottom_weights": bottom.weights,
        "top_weights": top.weights,
        "bottom_graph": "",
        "top_graph": "",
        "bottom_cut": below.name,
        "top_cut": above.name,
        "data": train.name,
        "fit_data": train.fingerprint,
        "test_data": test.fingerprint,
        "task": '{"name": "classification"}',
        "family": _spelled(_name_of(setting.family), setting.family),
        "matching": _matching(setting, len(train)),
        "batch_norm": setting.batch_norm,
        "seed": setting.seed,
    }


def _matching(setting: Setting, examples: int) -> str:
    """How the stitch is chosen, with the number of epochs told, so that the default and the same by hand are one."""
    if setting.family.closed_form == "none" and not isinstance(setting.by, FineTune):
        return ""
    by = setting.by.over(examples) if isinstance(setting.by, TaskLoss) else setting.by
    return _spelled("task" if isinstance(by, TaskLoss) else "direct", by)


_OFF = {"patience": None, "precision": "float32", "ridge": 0.0}


def _name_of(family: Family) -> str:
    return next((name for name, kind in FAMILIES.items() if type(family) is kind), type(family).__name__)


def _spelled(name: str, setting: Family | Matching) -> str:
    """A setting as JSON; what is off leaves no trace, so that a new setting ages no record."""
    told = {field.name: getattr(setting, field.name) for field in fields(setting)}
    return json.dumps({"name": name, **{key: v for key, v in told.items() if key not in _OFF or v != _OFF[key]}})


def _found(
    found: Fit | NumericalFailure,
    outcome: Outcome | NumericalFailure,
    moments: Moments | NumericalFailure,
    bottom: Prepared,
    top: Prepared,
    setting: Setting,
) -> dict[str, Any]:
    """The columns of a record that are measured; of a failure, the reason alone."""
    for part in (found, outcome, moments):
        if isinstance(part, NumericalFailure):
            return {"status": "failed", "reason": str(part)}
    assert isinstance(found, Fit)
    assert isinstance(outcome, Outcome)
    assert isinstance(moments, Moments)
    return {
        "status": "ok",
        "scores": _scores(outcome, bottom.outcome, top.outcome, setting.seed),
        "measures": (
            MeasureRow("agreement_top", agreement(outcome, top.outcome)),
            MeasureRow("agreement_bottom", agreement(outcome, bottom.outcome)),
            *_opinions(moments),
            *([] if found.residual is None else [MeasureRow("residual", found.residual)]),
        ),
        "curve": found.curve,
    }


def _test_moments(
    places: Sequence[Place],
    cuts: Sequence[tuple[Cut, Cut]],
    bottom: Prepared,
    top: Prepared,
    test: Samples,
    budget: Budget | None,
) -> list[Moments | NumericalFailure]:
    """Moments over the test set at each place, those missing made here in one pass."""
    missing = [pair for place, pair in zip(places, cuts, strict=True) if place.test_moments is None]
    made = iter(moments_or_failures(bottom.captured, top.captured, missing, test, device=top.device, budget=budget))
    return [next(made) if place.test_moments is None else place.test_moments for place in places]


def _opinions(moments: Moments) -> list[MeasureRow]:
    """What the activations alone say, by every measure that second moments serve; one may fail and the rest stand."""
    each = [(name, one.from_moments) for name, one in MEASURES.items() if one.from_moments is not None]
    return [MeasureRow(name, *noted(partial(from_moments, moments))) for name, from_moments in each]


def _scores(outcome: Outcome, bottom: Outcome, top: Outcome, seed: int) -> tuple[ScoreRow, ScoreRow]:
    """The stitched network's outcome beside those of the two whole networks."""
    found = penalty_of(outcome, top, seed=seed)
    error = ScoreRow(
        *("error", "points", "lower", outcome.error, top.error, bottom.error),
        *(found.value, found.interval.low, found.interval.high),
    )
    loss = ScoreRow(
        *("loss", "nats", "lower", outcome.mean_loss, top.mean_loss, bottom.mean_loss),
        *(found.loss_value, found.loss_interval.low, found.loss_interval.high),
    )
    return error, loss

"""One stitching fitted and measured: everything that its record says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from modelstitch.cut import Cut
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.matching import BatchNorm, Matching, TaskLoss, fit, paired_moments
from modelstitch.measures import linear_cka_from_moments
from modelstitch.moments import Moments
from modelstitch.penalty import Outcome, agreement, evaluate, penalty_of
from modelstitch.records import Record
from modelstitch.stitches import Affine, Family
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


def measure(
    stitching: Stitching,
    bottom: Prepared,
    top: Prepared,
    train: Samples,
    test: Samples,
    setting: Setting,
    *,
    control: str = "",
    fit_moments: Moments | None = None,
    test_moments: Moments | None = None,
) -> Record:
    """Fit one stitch and measure it.

    Args:
        stitching: what to join.
        bottom: the network that lends its bottom.
        top: the network that lends its top.
        train: to fit on.
        test: to measure on; disjoint from ``train`` (`modelstitch.data.check_disjoint`).
        setting: how to choose the stitch.
        control: ``self``, ``untrained``, or empty.
        fit_moments: of the rows at both cuts over ``train``, where known.
        test_moments: of the rows at both cuts over ``test``, where known; CKA comes from them.

    Returns:
        The record; a numerical failure is a record too, with its reason and without a value.

    Raises:
        StitchError: anything but a numerical failure.
    """
    below, above = bottom.captured.find(stitching.bottom_cut), top.captured.find(stitching.top_cut)
    columns = asked(stitching, bottom, top, train, test, setting, control)
    begun = time.perf_counter()
    try:
        found = _found(below, above, bottom, top, train, test, setting, fit_moments, test_moments)
        status: dict[str, Any] = {"status": "ok", **found}
    except NumericalFailure as failure:
        status = {"status": "failed", "reason": str(failure)}
    return Record(
        key=key_of(columns),
        bottom_depth=below.depth,
        top_depth=above.depth,
        n_fit=len(train),
        n_test=len(test),
        seconds=time.perf_counter() - begun,
        **columns,
        **status,
        **provenance(top.device),
    )


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
        "bottom_cut": below.name,
        "top_cut": above.name,
        "data": train.name,
        "fit_data": train.fingerprint,
        "test_data": test.fingerprint,
        "family": str(setting.family),
        "matching": str(setting.by) if setting.family.closed_form != "none" else "none",
        "batch_norm": setting.batch_norm,
        "seed": setting.seed,
    }


def _found(
    below: Cut,
    above: Cut,
    bottom: Prepared,
    top: Prepared,
    train: Samples,
    test: Samples,
    setting: Setting,
    fit_moments: Moments | None,
    test_moments: Moments | None,
) -> dict[str, Any]:
    fitted = fit(
        setting.family,
        bottom.captured.bottom(below),
        top.captured.top(above),
        train,
        by=setting.by,
        batch_norm=setting.batch_norm,
        seed=setting.seed,
        moments=fit_moments,
    )
    if test_moments is None:
        (test_moments,) = paired_moments(bottom.captured, top.captured, [(below, above)], test, device=top.device)
    outcome = evaluate(fitted.stitched, test)
    return {
        **_scores(outcome, bottom.outcome, top.outcome, setting.seed),
        "cka": linear_cka_from_moments(test_moments),
        "residual": fitted.residual,
        "learning_curve": fitted.curve,
    }


def _scores(outcome: Outcome, bottom: Outcome, top: Outcome, seed: int) -> dict[str, float]:
    """The stitched network's outcome beside those of the two whole networks."""
    penalty = penalty_of(outcome, top, seed=seed)
    return {
        "error": outcome.error,
        "error_top": top.error,
        "error_bottom": bottom.error,
        "loss": outcome.mean_loss,
        "loss_top": top.mean_loss,
        "loss_bottom": bottom.mean_loss,
        "penalty": penalty.value,
        "penalty_low": penalty.interval.low,
        "penalty_high": penalty.interval.high,
        "loss_penalty": penalty.loss_value,
        "loss_penalty_low": penalty.loss_interval.low,
        "loss_penalty_high": penalty.loss_interval.high,
        "agreement_top": agreement(outcome, top),
        "agreement_bottom": agreement(outcome, bottom),
    }

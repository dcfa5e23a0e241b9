"""One stitching's record: what was asked, what was found, and where it ran."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from modelstitch.errors import NumericalFailure, SettingError

_ALWAYS_MEASURED = (
    *("error", "error_top", "error_bottom", "loss", "loss_top", "loss_bottom"),
    *("penalty", "penalty_low", "penalty_high", "loss_penalty", "loss_penalty_low", "loss_penalty_high"),
    *("agreement_top", "agreement_bottom"),
)
_OPINIONS = ("cka", "cka_debiased", "cca", "svcca", "pwcca", "procrustes", "procrustes_angular")
_MEASURED = (*_ALWAYS_MEASURED, *_OPINIONS, "residual")
CONTROLS = ("self", "untrained", "stem_reset", "noise", "shuffled")
"""What a record may be a control of; `modelstitch.controls` says what each is."""
_CHOICES = {
    "control": ("", *CONTROLS),
    "batch_norm": ("frozen", "batch"),
    "status": ("ok", "failed"),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One stitching: what was asked, what was found, and where it ran.

    Attributes:
        key: 16 hex digits, the hash of what was asked.
        stitching: the notation, such as ``A@layer2.1 -> B@layer2.1``.
        control: empty, ``self`` (a network stitched to itself), ``untrained`` (the bottom never saw data),
            ``stem_reset`` (the top network's own bottom with a fresh first layer), ``noise`` (noise in place of the
            bottom's activations) or ``shuffled`` (fitted with examples paired with others).
        bottom_network: its name.
        top_network: its name.
        bottom_weights: fingerprint of the bottom network's weights.
        top_weights: fingerprint of the top network's weights.
        bottom_cut: where the bottom ends.
        top_cut: where the top begins.
        bottom_depth: share (0 to 1) of the bottom network's conv and linear layers that lie in the bottom.
        top_depth: share (0 to 1) of the top network's conv and linear layers that lie below the top.
        data: name of the data.
        fit_data: fingerprint of the examples on which the stitch was fitted.
        test_data: fingerprint of the examples on which it was measured.
        n_fit: how many examples it was fitted on.
        n_test: how many it was measured on.
        family: the set the stitch was chosen from.
        matching: how it was chosen.
        batch_norm: ``frozen`` (running statistics) or ``batch`` (statistics of the batch).
        seed: of the matching.
        status: ``ok`` or ``failed``.
        reason: why it failed; empty when it did not.
        error: of the stitched network, percent of test examples.
        error_top: of the top network whole, percent.
        error_bottom: of the bottom network whole, percent.
        loss: mean cross-entropy of the stitched network, nats.
        loss_top: of the top network whole, nats.
        loss_bottom: of the bottom network whole, nats.
        penalty: ``error - error_top``, percentage points; positive is worse than the top network.
        penalty_low: lower end of its 95% paired bootstrap interval.
        penalty_high: upper end of it.
        loss_penalty: ``loss - loss_top``, nats.
        loss_penalty_low: lower end of its 95% paired bootstrap interval.
        loss_penalty_high: upper end of it.
        agreement_top: share (0 to 1) of test examples given the class that the top network gives.
        agreement_bottom: the same beside the bottom network.
        cka: linear CKA (0 to 1) of the activations at the two cuts, a row for each position; this and the following
            are None where there is no value.
        cka_debiased: the same from unbiased estimates.
        cca: mean canonical correlation (0 to 1).
        svcca: the same of the components that hold 99 % of the variance.
        pwcca: the same weighted by how much of the bottom's activations each direction explains.
        procrustes: distance after the best rotation (0 to √2).
        procrustes_angular: the same as an angle (0 to π/2).
        measure_notes: by measure, why it has no value, or what to beware of.
        residual: share of the target's variance that the direct matching leaves; None when not computed.
        learning_curve: mean loss per epoch of the matching; empty for a matching in closed form.
        seconds: what the stitching took.
        device: where it ran.
        threads: how many CPU threads it had.
        versions: version of each library that shaped the numbers.
        commit: commit of the modelstitch checkout; empty for an installed release.
        created: ISO 8601 time.

    Raises:
        NumericalFailure: a number is missing or not finite though the status is ``ok``.
        SettingError: a column holds none of its choices, a failure lacks its reason or carries a value.
    """

    key: str
    stitching: str
    control: str = ""
    bottom_network: str
    top_network: str
    bottom_weights: str
    top_weights: str
    bottom_cut: str
    top_cut: str
    bottom_depth: float
    top_depth: float
    data: str
    fit_data: str
    test_data: str
    n_fit: int
    n_test: int
    family: str
    matching: str
    batch_norm: str
    seed: int
    status: str
    reason: str = ""
    error: float | None = None
    error_top: float | None = None
    error_bottom: float | None = None
    loss: float | None = None
    loss_top: float | None = None
    loss_bottom: float | None = None
    penalty: float | None = None
    penalty_low: float | None = None
    penalty_high: float | None = None
    loss_penalty: float | None = None
    loss_penalty_low: float | None = None
    loss_penalty_high: float | None = None
    agreement_top: float | None = None
    agreement_bottom: float | None = None
    cka: float | None = None
    cka_debiased: float | None = None
    cca: float | None = None
    svcca: float | None = None
    pwcca: float | None = None
    procrustes: float | None = None
    procrustes_angular: float | None = None
    measure_notes: dict[str, str] = field(hash=False, default_factory=dict)
    residual: float | None = None
    learning_curve: tuple[float, ...] = ()
    seconds: float
    device: str
    threads: int
    versions: dict[str, str] = field(hash=False)
    commit: str
    created: str

    def __post_init__(self) -> None:
        for column, choices in _CHOICES.items():
            if getattr(self, column) not in choices:
                found, do = f"{column} is {getattr(self, column)!r}", f"use one of {', '.join(map(repr, choices))}"
                raise SettingError(f"the record of {self.stitching}", found, do)
        told = {name: getattr(self, name) for name in ("bottom_depth", "top_depth", "seconds")}
        wrong = [f"{name} is {value}" for name, value in told.items() if not math.isfinite(value)]
        if wrong:
            raise NumericalFailure(f"the record of {self.stitching}", ", ".join(wrong), "give a finite number")
        if self.status == "failed":
            self._check_failed()
        else:
            self._check_ok()

    def _check_failed(self) -> None:
        asked = f"the failed record of {self.stitching}"
        scored = [name for name in _MEASURED if getattr(self, name) is not None]
        if scored or self.learning_curve:
            found = f"it carries {', '.join(scored or ['learning_curve'])}"
            raise SettingError(asked, found, "leave every measured value out: a failure has no score")
        if not self.reason:
            raise SettingError(asked, "its reason is empty", "say why it failed")

    def _check_ok(self) -> None:
        if self.reason:
            do = "set the status to 'failed', or leave the reason out"
            raise SettingError(f"the record of {self.stitching}", f"status 'ok' with the reason {self.reason!r}", do)
        measured = {name: getattr(self, name) for name in _MEASURED}
        wrong = [f"{name} is {value}" for name, value in measured.items() if not _fits(name, value)]
        wrong += [f"learning_curve holds {value}" for value in self.learning_curve if not math.isfinite(value)]
        if wrong:
            do = "look at the learning rate and at the activations at the two cuts, or record the stitching as failed"
            raise NumericalFailure(f"the record of {self.stitching}", ", ".join(wrong), do)


def _fits(name: str, value: float | None) -> bool:
    return name not in _ALWAYS_MEASURED if value is None else math.isfinite(value)


# The annotations are strings here, and one spelling each: they decide how a column is read and stored.
COLUMNS: dict[str, str] = {column.name: str(column.type) for column in dataclasses.fields(Record)}

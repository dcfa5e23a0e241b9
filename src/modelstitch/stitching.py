"""One stitching: written ``A@layer2.1 -> B@layer2.1``, measured, and kept as one record."""

from __future__ import annotations

import copy
import datetime
import functools
import hashlib
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut import Capture, Cut, capture
from modelstitch.data import Samples
from modelstitch.errors import ClassMismatch, NotationError, NotCuttable, NumericalFailure
from modelstitch.matching import BatchNorm, Matching, TaskLoss, fit, paired_moments
from modelstitch.measures import linear_cka_from_moments
from modelstitch.moments import Moments
from modelstitch.networks import weights_fingerprint
from modelstitch.penalty import Outcome, agreement, evaluate, penalty_of
from modelstitch.records import Record
from modelstitch.stitches import Affine, Family
from modelstitch.version import VERSION


@dataclass(frozen=True)
class Stitching:
    """The notation: the bottom of one network up to a cut, the top of another after a cut.

    Example:
        >>> str(Stitching.parse("a@layer2.1->b@layer3.0"))
        'a@layer2.1 -> b@layer3.0'
    """

    bottom: str
    bottom_cut: str
    top: str
    top_cut: str

    @classmethod
    def parse(cls, text: str) -> Stitching:
        """Read the notation.

        Raises:
            NotationError: it is not ``NETWORK@CUT -> NETWORK@CUT``.
        """
        sides = [side.strip().rpartition("@") for side in text.split("->")]
        if len(sides) != 2 or not all(name and cut for name, _, cut in sides):
            raise NotationError(
                f"the stitching {text!r}",
                f"{text.count('->')} arrows and {text.count('@')} cuts, where there must be 1 and 2",
                "write 'A@layer2.1 -> B@layer2.1': the bottom of A, then the top of B",
            )
        (bottom, _, bottom_cut), (top, _, top_cut) = sides
        return cls(bottom, bottom_cut, top, top_cut)

    def __str__(self) -> str:
        return f"{self.bottom}@{self.bottom_cut} -> {self.top}@{self.top_cut}"


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


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network ready to be stitched: captured, fingerprinted, and tested whole.

    Attributes:
        name: what records and tables call it.
        network: on its device; the user's own, or a copy where the device differs.
        captured: its cuts.
        weights: fingerprint.
        outcome: of the whole network on the test set.
        device: where it computes.
    """

    name: str
    network: nn.Module
    captured: Capture
    weights: str
    outcome: Outcome
    device: str


def prepare(network: nn.Module, name: str, test: Samples, *, device: str | None = None) -> Prepared:
    """Capture, fingerprint and test a network.

    Args:
        network: any module that answers with one row of class scores an example; untouched.
        name: what to call it.
        test: the test set.
        device: where to compute; by default where the network is.

    Raises:
        ClassMismatch: its outputs are not one score a class of the data.
        ShapeMismatch: it does not accept the data.
        NotCuttable: it can neither be exported nor replayed.
        NumericalFailure: it answers with numbers that are not finite.
    """
    home = str(next((p.device for p in network.parameters()), torch.device("cpu")))
    device = device or home
    here = network if device == home else copy.deepcopy(network).to(device)
    captured = capture(here, test.example.to(device))
    outcome = evaluate(here, test)
    return Prepared(name, here, captured, weights_fingerprint(network), outcome, device)


def check_classes(networks: Sequence[tuple[str, nn.Module]], test: Samples) -> None:
    """Refuse networks that answer about different classes.

    Raises:
        ClassMismatch: the widths of their outputs differ among them or from the data's classes.
    """
    widths = {}
    for name, network in networks:
        logits = evaluate_one(network, test.example)
        widths[name] = logits.shape[-1] if isinstance(logits, Tensor) and logits.ndim == 2 else 0
    if set(widths.values()) != {test.classes}:
        answers = ", ".join(f"{name} with {n} scores" if n else f"{name} with no matrix" for name, n in widths.items())
        raise ClassMismatch(
            f"to stitch {' and '.join(widths)} on {test.name!r}, which has {test.classes} classes",
            f"they answer {answers} an example",
            "stitch networks that were trained on one set of classes, and give data with those classes",
        )


def evaluate_one(network: nn.Module, example: Tensor) -> Any:
    """A network's answer in eval mode, by a frozen view that leaves its mode alone."""
    from modelstitch.cut.part import frozen_view

    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            return frozen_view(network)(example.to(device))
    except RuntimeError:
        return None  # `prepare` says what it does not accept


def check_identity(one: Prepared, cuts: Sequence[Cut], test: Samples) -> None:
    """Before any experiment: each cut, stitched to itself with the identity, gives the network bit for bit.

    Raises:
        NotCuttable: it does not, so no number measured there could be trusted.
    """
    inputs = test.normalised(test.inputs[:64]).to(one.device)
    with torch.no_grad():
        expected = one.captured.top("input")(inputs)
        for cut in cuts:
            found = one.captured.top(cut)(one.captured.bottom(cut)(inputs))
            if not torch.equal(found, expected):
                difference = float((found - expected).abs().max())
                raise NotCuttable(
                    f"cut {cut.name!r} of {one.name} as a self-stitch",
                    f"outputs that differ by up to {difference:.3g}, where none may",
                    "cut elsewhere, and report the network: its halves do not make it whole",
                )


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
    penalty = penalty_of(outcome, top.outcome, seed=setting.seed)
    return {
        "error": outcome.error,
        "error_top": top.outcome.error,
        "error_bottom": bottom.outcome.error,
        "loss": outcome.mean_loss,
        "loss_top": top.outcome.mean_loss,
        "loss_bottom": bottom.outcome.mean_loss,
        "penalty": penalty.value,
        "penalty_low": penalty.interval.low,
        "penalty_high": penalty.interval.high,
        "loss_penalty": penalty.loss_value,
        "loss_penalty_low": penalty.loss_interval.low,
        "loss_penalty_high": penalty.loss_interval.high,
        "agreement_top": agreement(outcome, top.outcome),
        "agreement_bottom": agreement(outcome, bottom.outcome),
        "cka": linear_cka_from_moments(test_moments),
        "residual": fitted.residual,
        "learning_curve": fitted.curve,
    }


def key_of(columns: dict[str, Any]) -> str:
    """16 hex digits of what was asked; names are left out, since weights say which networks they are."""
    science = {k: v for k, v in columns.items() if k not in ("stitching", "bottom_network", "top_network", "data")}
    return hashlib.blake2b(repr(sorted(science.items())).encode(), digest_size=8).hexdigest()


def provenance(device: str) -> dict[str, Any]:
    """Where and with what a record was made."""
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {"modelstitch": VERSION, "torch": torch.__version__, "python": platform.python_version()},
        "commit": _commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _commit() -> str:
    """The commit of the checkout that runs, ``+`` when its sources were edited since; empty for a release."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return ""
    git = ["git", "-C", str(checkout)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        edited = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if edited.stdout else "")

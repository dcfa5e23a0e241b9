"""A network made ready to be stitched, and the checks that come before any number."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelstitch.cut import Capture, Cut, capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.data import Samples
from modelstitch.errors import ClassMismatch, NotCuttable, NumericalFailure
from modelstitch.networks import weights_fingerprint
from modelstitch.parallel import ranks
from modelstitch.penalty import Outcome, evaluate


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
        device: where to compute; by default this process's own where there are several, else where the network is.

    Raises:
        ClassMismatch: its outputs are not one score a class of the data.
        ShapeMismatch: it does not accept the data.
        NotCuttable: it can neither be exported nor replayed.
        NumericalFailure: it answers with numbers that are not finite.
    """
    home = str(next((p.device for p in network.parameters()), torch.device("cpu")))
    device = device or ranks().device or home
    here = network if device == home else copy.deepcopy(network).to(device)
    captured = capture(here, test.example.to(device))
    # The captured network is bit-equal to the one given, and exactly what its halves add up to on any device.
    outcome = evaluate(captured.top("input"), test)
    return Prepared(name, here, captured, weights_fingerprint(network), outcome, device)


def check_classes(networks: Sequence[tuple[str, nn.Module]], test: Samples) -> None:
    """Refuse networks that answer about different classes.

    Raises:
        ClassMismatch: the widths of their outputs differ among them or from the data's classes.
        NumericalFailure: one of them answers with numbers that are not finite.
    """
    widths = {}
    for name, network in networks:
        logits = _answer(network, test.example)
        if logits is None:
            return
        if isinstance(logits, Tensor) and not logits.isfinite().all():
            # Asked before anything is cut: NaN is unequal to itself, so every check of the halves would blame them.
            found = "scores that are not finite"
            raise NumericalFailure(f"to run {name} on {test.name!r}", found, "train it again, or load sound weights")
        widths[name] = logits.shape[-1] if isinstance(logits, Tensor) and logits.ndim == 2 else 0
    if set(widths.values()) != {test.classes}:
        answers = ", ".join(f"{name} with {n} scores" if n else f"{name} with no matrix" for name, n in widths.items())
        raise ClassMismatch(
            f"to stitch {' and '.join(widths)} on {test.name!r}, which has {test.classes} classes",
            f"they answer {answers} an example",
            "stitch networks that were trained on one set of classes, and give data with those classes",
        )


def _answer(network: nn.Module, example: Tensor) -> object:
    """A network's answer in eval mode, by a frozen view that leaves its mode alone; None if it refuses."""
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

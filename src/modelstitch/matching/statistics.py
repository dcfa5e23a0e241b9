"""Moments of two networks' activations at many pairs of cuts, in one pass over each network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from modelstitch.budget import Budget
from modelstitch.cut import Capture, Cut
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.moments import Moments
from modelstitch.parallel import ranks
from modelstitch.progress import track
from modelstitch.tensors import rows

Pair = tuple[Cut, Cut]


def paired_moments(
    a: Capture,
    b: Capture,
    pairs: Sequence[Pair],
    samples: Samples,
    *,
    partners: Samples | None = None,
    device: str = "cpu",
    batch_size: int = 256,
    budget: Budget | None = None,
) -> list[Moments]:
    """Moments of the rows at each pair of cuts: what direct matching and CKA need to know.

    Each network runs once over the samples, whatever the number of pairs (as long as one batch of activations fits the
    budget: else once for each of several runs of pairs); both see the same batch at the same time, so
    rows are paired by example and position. Memory does not grow with the number of samples.

    Args:
        a: the network that the rows ``x`` come from.
        b: the network that the rows ``y`` come from; may be the same.
        pairs: cuts of a and of b, with the same positions.
        samples: the examples.
        partners: what network b sees in their place, example by example; the same unless told otherwise.
        device: where both networks are.
        batch_size: examples per batch; does not change the result beyond rounding.
        budget: room for the activations of a batch; changes no result.

    Returns:
        One `Moments` a pair, in their order.

    Raises:
        NumericalFailure: an activation is not finite, or too large to be squared.
    """
    sizes = [batch_size * (x.bytes(samples.longest) + y.bytes(samples.longest)) for x, y in pairs]
    parts = (budget or Budget()).chunks(sizes)
    both = (samples, partners or samples)
    return [one for part in parts for one in _one_pass(a, b, pairs[part], both, device, batch_size)]


@torch.no_grad()
def _one_pass(
    a: Capture, b: Capture, pairs: Sequence[Pair], both: tuple[Samples, Samples], device: str, batch_size: int
) -> list[Moments]:
    bottom_a, bottom_b = a.bottoms([x for x, _ in pairs]), b.bottoms([y for _, y in pairs])
    moments = [Moments() for _ in pairs]
    label = f"statistics of {len(pairs)} pairs of cuts"
    failure = None
    batches = ranks().turns(zip(*(samples.batches(batch_size) for samples in both), strict=True))
    turns = math.ceil(len(both[0]) / batch_size / ranks().count)
    try:
        for (for_a, _), (for_b, _) in track(batches, label, turns):
            found_a = bottom_a(for_a.to(device))
            found_b = bottom_b(for_b.to(device))
            for sums, (cut, _), x, y in zip(moments, pairs, found_a, found_b, strict=True):
                sums.update(rows(x, cut.kind), rows(y, cut.kind))
    except NumericalFailure as found:
        failure = found
    ranks().fail_alike(failure)
    return [_over_processes(sums) for sums in moments] if ranks().several else moments


def _over_processes(sums: Moments) -> Moments:
    """The moments of the rows of all processes: the same bits on each, since all add them in one order."""
    whole = Moments()
    for one in ranks().gathered(sums.on("cpu")):
        whole.merge(one)
    return whole


def moments_or_failures(
    a: Capture,
    b: Capture,
    pairs: Sequence[Pair],
    samples: Samples,
    *,
    partners: Samples | None = None,
    device: str = "cpu",
    budget: Budget | None = None,
) -> list[Moments | NumericalFailure]:
    """As `paired_moments`, but a pair whose activations have no moments does not cost the others theirs.

    Args:
        a: as in `paired_moments`.
        b: as in `paired_moments`.
        pairs: as in `paired_moments`.
        samples: as in `paired_moments`.
        partners: as in `paired_moments`.
        device: as in `paired_moments`.
        budget: as in `paired_moments`.

    Returns:
        For each pair its moments, or why it has none.
    """
    told: dict[str, Any] = {"partners": partners, "device": device, "budget": budget}
    try:
        return [*paired_moments(a, b, pairs, samples, **told)]
    except NumericalFailure as failure:
        if len(pairs) == 1:
            return [failure]
    return [one for pair in pairs for one in moments_or_failures(a, b, [pair], samples, **told)]

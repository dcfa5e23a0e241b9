"""Moments of two networks' activations at many pairs of cuts, in one pass over each network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from modelstitch.activations.rows import real_rows
from modelstitch.activations.run import Activations
from modelstitch.compute import exact_float32
from modelstitch.cut import Cut
from modelstitch.errors import NumericalFailure
from modelstitch.moments import Moments
from modelstitch.parallel import ranks

Pair = tuple[Cut, Cut]
BATCH = 256
"""Examples a batch, which sets how sums are rounded and nothing else."""


def paired_moments(a: Activations, b: Activations, pairs: Sequence[Pair]) -> list[Moments]:
    """Moments of the rows at each pair of cuts: what direct matching and linear measures need to know.

    Each network runs once over its examples, whatever the number of pairs (as long as one batch of activations fits the
    memory: else once for each of several runs of pairs); both see the same batch at the same time, so rows are paired
    by example and position. Positions that are padding are left out. Memory does not grow with the examples.

    Args:
        a: the network that the rows ``x`` come from, over the examples.
        b: the network that the rows ``y`` come from, over the same examples or over as many partners; may be ``a``.
        pairs: cuts of a and of b, with the same positions.

    Returns:
        One `Moments` a pair, in their order.

    Raises:
        NumericalFailure: an activation is not finite, or too large to be squared.
    """
    longest = (a.examples.longest, b.examples.longest)
    sizes = [BATCH * (x.bytes(longest[0]) + y.bytes(longest[1])) for x, y in pairs]
    parts = a.compute.chunks(sizes)
    with a.opened(), b.opened():
        return [one for part in parts for one in _one_pass(a, b, pairs[part])]


@torch.no_grad()
@exact_float32()
def _one_pass(a: Activations, b: Activations, pairs: Sequence[Pair]) -> list[Moments]:
    moments = [Moments() for _ in pairs]
    label = f"statistics of {len(pairs)} pairs of cuts"
    failure = None
    order = a.examples.order()
    both = zip(
        a.batches([x for x, _ in pairs], BATCH, order, label=label),
        b.batches([y for _, y in pairs], BATCH, order),
        strict=True,
    )
    try:
        for (_, found_a, batch), (_, found_b, _) in both:
            for sums, (x_cut, y_cut), x, y in zip(moments, pairs, found_a, found_b, strict=True):
                sums.update(real_rows(x, x_cut, batch.mask), real_rows(y, y_cut, batch.mask))
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


def moments_or_failures(a: Activations, b: Activations, pairs: Sequence[Pair]) -> list[Moments | NumericalFailure]:
    """As `paired_moments`, but a pair whose activations have no moments does not cost the others theirs.

    Args:
        a: as in `paired_moments`.
        b: as in `paired_moments`.
        pairs: as in `paired_moments`.

    Returns:
        For each pair its moments, or why it has none.
    """
    if not pairs:
        return []
    try:
        return [*paired_moments(a, b, pairs)]
    except NumericalFailure as failure:
        if len(pairs) == 1:
            return [failure]
    return [one for pair in pairs for one in moments_or_failures(a, b, [pair])]

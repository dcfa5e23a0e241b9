"""Stitched networks over one bottom network, tested together: the bottom runs once a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from modelstitch.budget import Budget
from modelstitch.cut import shared_bottoms
from modelstitch.data import Samples
from modelstitch.errors import NumericalFailure
from modelstitch.parallel import ranks
from modelstitch.penalty.outcome import Outcome, joined_outcome, outcome_of
from modelstitch.progress import track
from modelstitch.stitched import Stitched


@torch.no_grad()
def evaluate_all(
    stitched: Sequence[Stitched], samples: Samples, *, batch_size: int = 512, budget: Budget | None = None
) -> list[Outcome | NumericalFailure]:
    """Run stitched networks over test examples: what `modelstitch.penalty.evaluate` gives for each alone.

    Args:
        stitched: in eval mode, with bottoms of one captured network.
        samples: the test examples.
        batch_size: examples per batch; has no influence on the answers beyond rounding.
        budget: room for the activations of a batch at all cuts; where they would take more, the bottom runs again.

    Returns:
        For each its outcome, or why it has none; a failure stops no other.
    """
    sizes = [batch_size * one.bottom.cut.bytes(samples.longest) for one in stitched]
    parts = (budget or Budget()).chunks(sizes)
    return [one for part in parts for one in _one_pass(stitched[part], samples, batch_size)]


def _one_pass(stitched: Sequence[Stitched], samples: Samples, batch_size: int) -> list[Outcome | NumericalFailure]:
    device = next((t.device for one in stitched for t in (*one.buffers(), *one.parameters())), torch.device("cpu"))
    below = shared_bottoms([one.bottom for one in stitched])
    parts: list[list[Outcome]] = [[] for _ in stitched]
    failures: dict[int, NumericalFailure] = {}
    label = f"{len(stitched)} stitched networks on {samples.name}"
    whole = math.ceil(len(samples) / batch_size)
    # Whole batches in turn, not parts of each: kernels may round by the size of a batch, and so answers stay the same.
    for inputs, labels in track(ranks().turns(samples.batches(batch_size)), label, math.ceil(whole / ranks().count)):
        for index, activation in enumerate(below(inputs.to(device))):
            if index in failures:
                continue
            one = stitched[index]
            try:
                parts[index].append(outcome_of(one.top(one.stitch(activation)), labels))
            except NumericalFailure as failure:
                failures[index] = failure
    everyone = ranks().gathered((parts, failures))
    failures = {index: failure for _, found in reversed(everyone) for index, failure in found.items()}
    turn = ranks().count
    return [
        failures.get(i) or joined_outcome([everyone[batch % turn][0][i][batch // turn] for batch in range(whole)])
        for i in range(len(stitched))
    ]

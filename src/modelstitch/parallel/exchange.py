"""What processes exchange within a forward pass, with the gradients that belong to it.

A loss is summed over all processes, so the gradient of what they all have seen is the sum of theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from modelstitch.parallel.ranks import ranks


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def summed(x: Tensor) -> Tensor:
    """The sum of every process's tensor, which all have in one shape."""
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def rows_of_all(x: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes in their order, of which each may have another number, and where this one's are.

    Example:
        >>> rows_of_all(torch.ones(2, 1))[1]
        slice(0, 2, None)
    """
    here = ranks()
    if not here.several:
        return x, slice(0, len(x))
    sizes = torch.zeros(here.count, dtype=torch.long, device=x.device)
    sizes[here.rank] = len(x)
    here.sum([sizes])
    before, after = int(sizes[: here.rank].sum()), int(sizes[here.rank + 1 :].sum())
    # Each row beside zeros: parts differ in length, and not every backend gathers those.
    placed = torch.cat([x.new_zeros(before, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])])
    return summed(placed), slice(before, before + len(x))

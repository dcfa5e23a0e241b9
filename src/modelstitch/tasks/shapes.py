"""What several tasks ask of the shapes and types of outputs and targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def integers(values: Tensor) -> bool:
    """Whether a tensor holds integers; booleans are none.

    Example:
        >>> integers(torch.zeros(2).int()), integers(torch.zeros(2)), integers(torch.zeros(2).bool())
        (True, False, False)
    """
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def zeros_and_ones(values: Tensor) -> bool:
    """Whether a tensor holds no other numbers than 0 and 1.

    Example:
        >>> zeros_and_ones(torch.tensor([0.0, 1.0])), zeros_and_ones(torch.tensor([0, 2]))
        (True, False)
    """
    return values.dtype == torch.bool or bool(((values == 0) | (values == 1)).all())


def one_to_one(outputs: Tensor, targets: Any, n: int) -> bool:
    """Whether ``n`` examples have one target per output, a float: equal shapes, but for axes of length one.

    Example:
        >>> one_to_one(torch.zeros(4, 1), torch.zeros(4), n=4), one_to_one(torch.zeros(4, 2), torch.zeros(4), n=4)
        (True, False)
    """
    if not isinstance(targets, Tensor) or not (outputs.ndim and targets.ndim) or not outputs.is_floating_point():
        return False
    shapes = [[size for size in one.shape[1:] if size != 1] for one in (outputs, targets)]
    return len(outputs) == len(targets) == n and shapes[0] == shapes[1]


def rows_of(values: Tensor) -> Tensor:
    """One row an example, ``(n, ...)`` as ``(n, k)``.

    Example:
        >>> rows_of(torch.zeros(4)).shape, rows_of(torch.zeros(4, 2, 3)).shape
        (torch.Size([4, 1]), torch.Size([4, 6]))
    """
    return values[:, None] if values.ndim == 1 else values.flatten(1)

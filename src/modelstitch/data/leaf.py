"""One array of a user's data as a tensor, whatever it comes as: tensors, arrays, frames, lists, ragged lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Documents:
    """Integers of which examples have different numbers: a 1-D tensor of int64 each."""

    rows: list[Tensor]

    def __len__(self) -> int:
        return len(self.rows)


Leaf = Tensor | Documents
"""What stands for one array, examples on axis 0."""


class Unreadable(ValueError):
    """What stands in a source and cannot be read, in words for the second line of an error, with a third."""

    def __init__(self, found: str, do: str = "") -> None:
        super().__init__(found)
        self.do = do


def as_leaf(value: Any) -> Leaf:
    """One array as a tensor on the CPU without a gradient.

    Arrays of float64 become float32, which networks compute in; tensors keep their type.

    Raises:
        Unreadable: text, objects, or rows of different shapes that are no lists of tokens.
    """
    if isinstance(value, Documents):
        return value
    if isinstance(value, Tensor):
        return _plain(value)
    if isinstance(value, (list, tuple)) and any(isinstance(one, Tensor) for one in value):
        return _rows(value)
    try:
        array = np.asarray(value)
    except ValueError:
        # Rows of different lengths, of which numpy makes no array.
        return _rows(value)
    if array.dtype.kind in "OUS":
        raise Unreadable(*_not_numbers(value, array))
    # torch.tensor and not from_numpy: what an array holds later must not change the data.
    return torch.tensor(array.astype(np.float32) if array.dtype == np.float64 else array)


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_inference():
        with torch.inference_mode(False):
            tensor = tensor.clone()
    return tensor.cpu()


def _rows(rows: Any) -> Leaf:
    """Rows as one tensor where they are of one shape, else as documents."""
    found = [as_leaf(one) for one in rows]
    tensors = [one for one in found if isinstance(one, Tensor)]
    if len(tensors) < len(found):
        raise Unreadable("lists within lists within lists", "give each document as one list of tokens")
    shapes = {one.shape for one in tensors}
    if len(shapes) == 1:
        return torch.stack(tensors)
    # An empty list says nothing of its type.
    if all(one.dim() == 1 and (counts(one) or not one.numel()) for one in tensors):
        return Documents([one.long() for one in tensors])
    raise different_shapes(shapes)


def different_shapes(shapes: Iterable[tuple[int, ...]]) -> Unreadable:
    """The error for examples of which no tensor can be made."""
    told = sorted(tuple(shape) for shape in shapes)
    found = f"examples of different shapes, such as {told[0]} and {told[-1]}"
    return Unreadable(found, "bring them to one shape, or give token ids as integers")


def _not_numbers(value: Any, array: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(repr, list(value)[:4]))}", "name one of them"
    held = {type(one).__name__ for one in array.ravel()[:100]}
    if held <= {"str", "str_", "bytes", "bytes_"}:
        return "text", "turn texts into tokens by a tokenizer, and number the classes from 0"
    return f"objects of type {', '.join(sorted(held))}", ""


def counts(tensor: Tensor) -> bool:
    """Whether a tensor holds integers.

    Example:
        >>> counts(torch.tensor([1])), counts(torch.tensor([True])), counts(torch.tensor([1.0]))
        (True, False, False)
    """
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def is_number(value: Any) -> bool:
    """Whether it is a plain number, or a tensor or array of one number without an axis."""
    return isinstance(value, (Number, np.number)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0)


def is_text(value: Any) -> bool:
    """Whether it is text, or a list of texts."""
    return isinstance(value, (str, bytes)) or (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, (str, bytes)) for one in value)
    )

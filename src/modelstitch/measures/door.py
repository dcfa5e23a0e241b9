"""The one door of the measures: whatever holds rows of numbers becomes a matrix; all else is refused in words.

A matrix is a tensor, a NumPy array (or what converts to one), a data frame, or a list of lists: two axes, one row an
example, one column a channel. Integers and booleans are numbers like any other. What has other axes, no real numbers,
or no numbers at all is refused here, so that the measures need not look.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from modelstitch.errors import DataError

RowsLike: TypeAlias = object
"""What the measures take as rows, ``(n, p)``: a tensor, an array, a data frame, a list of lists."""

_TABLE = "give a tensor, an array, a data frame or a list of lists: one row an example, one column a channel"
_AXES = {
    0: _TABLE,
    1: "give two axes: for one channel x.reshape(-1, 1), for one example more examples",
    3: "make rows of it first: ms.rows(x, 'tokens') for one row a token, or x.flatten(1) for one row an example",
    4: "make rows of it first: ms.rows(x, 'map') for one row a position, or x.flatten(1) for one row an example",
}
_MORE_AXES = "make rows of it first: ms.rows(x, kind) for one row a position, or x.flatten(1) for one row an example"


def as_rows(name: str, which: str, given: object) -> Float64[Tensor, "n p"]:
    """The rows that a user gave, as a float64 matrix on the CPU; errors as `as_matrix`.

    Args:
        name: who asks, for errors.
        which: ``x`` or ``y``, for errors.
        given: a tensor, an array, a data frame, or a list of lists, ``(n, p)``.

    Returns:
        The same numbers. float32 and float16 lose nothing.

    Example:
        >>> as_rows("a measure", "x", [[1, 2], [3, 4]]).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    # To the CPU first: Apple's GPUs have no float64.
    return as_matrix(name, which, given).cpu().double()


def as_matrix(name: str, which: str, given: object) -> Shaped[Tensor, "n p"]:
    """The rows that a user gave, as a matrix of real numbers, where they are; the values are not looked at.

    Args:
        name: who asks, for errors.
        which: ``x`` or ``y``, for errors.
        given: a tensor, an array, a data frame, or a list of lists, ``(n, p)``.

    Raises:
        DataError: not two axes, no columns, or no real numbers.
    """
    numbers = _numbers(name, which, given)
    if numbers.ndim != 2:
        found = f"{which} of shape {tuple(numbers.shape)}, which is no matrix of rows"
        raise DataError(name, found, _AXES.get(numbers.ndim, _MORE_AXES))
    if numbers.shape[1] == 0 and len(numbers):
        raise DataError(name, f"{which} of shape {tuple(numbers.shape)}: no channels", "give at least one column")
    return numbers


def as_labels(name: str, given: object) -> Int64[Tensor, " n"]:
    """The class numbers that a user gave, one an example.

    Args:
        name: who asks, for errors.
        given: a tensor, an array, a series or a list of integers, ``(n,)``.

    Raises:
        DataError: not one axis, or no whole numbers.

    Example:
        >>> as_labels("a measure", [2, 0, 1]).tolist()
        [2, 0, 1]
    """
    numbers, do = _numbers(name, "labels", given), "give one class number an example, counted from 0"
    if numbers.ndim != 1:
        raise DataError(name, f"labels of shape {tuple(numbers.shape)}", do)
    if (numbers.is_floating_point() and len(numbers)) or numbers.dtype == torch.bool:
        raise DataError(name, f"labels of type {str(numbers.dtype).removeprefix('torch.')}", do)
    return numbers.cpu().long()


def _numbers(name: str, which: str, given: object) -> Tensor:
    """A dense tensor of real numbers, of any axes."""
    if isinstance(given, list | tuple) and given and all(isinstance(one, Tensor) for one in given):
        shapes = sorted({tuple(one.shape) for one in given})
        if len(shapes) > 1:
            raise DataError(name, f"{which} of rows that differ in shape: {_few(shapes)}", _TABLE)
        parts = [_dense(name, which, one) for one in given]
        return torch.stack(parts)
    return _dense(name, which, given) if isinstance(given, Tensor) else _from_array(name, which, given)


def _dense(name: str, which: str, given: Tensor) -> Tensor:
    kind = str(given.dtype).removeprefix("torch.")
    if given.is_complex():
        raise _complex(name, f"{which} of complex numbers ({kind})")
    if given.layout != torch.strided or given.is_nested:
        layout = "nested" if given.is_nested else str(given.layout).removeprefix("torch.")
        raise DataError(name, f"{which} as a tensor of layout {layout}", f"give it dense: {which}.to_dense()")
    if given.is_quantized:
        raise DataError(name, f"{which} of quantized numbers ({kind})", f"give {which}.dequantize()")
    if given.is_meta:
        raise DataError(name, f"{which} on the device 'meta', without values", "give activations that were computed")
    return given.detach()


def _from_array(name: str, which: str, given: Any) -> Tensor:
    if hasattr(given, "toarray") and hasattr(given, "nnz"):
        raise DataError(name, f"{which} as a sparse {type(given).__name__}", f"give it dense: {which}.toarray()")
    if np.ma.is_masked(given):
        raise DataError(name, f"{which} with masked values", "leave those rows out of both sides")
    if given is None or isinstance(given, str | bytes | dict | set):
        raise DataError(name, f"{which} is {'None' if given is None else f'a {type(given).__name__}'}", _TABLE)
    try:
        array = np.asarray(given.to_numpy() if hasattr(given, "to_numpy") else given)
    except ValueError as failure:
        # How NumPy answers when lists are no rectangle.
        raise DataError(name, f"{which} of rows that differ in length", "give every row the same columns") from failure
    if array.dtype.kind == "O":
        array = _of_objects(name, which, array, given)
    if array.dtype.kind == "c":
        raise _complex(name, f"{which} of complex numbers ({array.dtype})")
    if array.dtype.kind not in "biuf":
        raise DataError(name, f"{which} of values of type {array.dtype}", _TABLE)
    whole = array.dtype.kind in "iu"
    # A copy in one order of axes: sums over it round as those over the tensor of the same numbers.
    kept = array.dtype if array.dtype.kind == "b" else np.int64 if whole else np.float64
    return torch.from_numpy(np.array(array, dtype=kept, order="C"))


def _of_objects(name: str, which: str, array: Any, given: object) -> Any:
    """Frames of columns of several types come as objects; each must be a number."""
    if array.ndim == 0:
        raise DataError(name, f"{which} is a {type(given).__name__}, which holds no rows of numbers", _TABLE)
    for one in array.flat:
        if isinstance(one, complex | np.complexfloating):
            raise _complex(name, f"{which} with complex numbers")
        if not isinstance(one, int | float | np.number | np.bool_):
            raise DataError(name, f"{which} with a value of type {type(one).__name__}: {_few([one])}", _TABLE)
    return array.astype(np.float64)


def _complex(name: str, found: str) -> DataError:
    do = "give real numbers: torch.view_as_real(x).flatten(1) has real and imaginary parts as channels, x.abs() sizes"
    return DataError(name, found, do)


def _few(these: list[Any]) -> str:
    text = ", ".join(map(repr, these[:3]))
    return text[:60] + ("…" if len(text) > 60 or len(these) > 3 else "")

"""What networks are called with, the shared shapes, fingerprints, and which axis holds the channels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils import _pytree as pytree

from modelstitch.errors import ShapeMismatch

Activation = Float[Tensor, "n *dims"]
Logits = Float[Tensor, "n classes"]
Labels = Int[Tensor, " n"]
Rows = Float[Tensor, "rows channels"]

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a network is called with: ``network(x)``, ``network(x, y)`` or ``network(**mapping)``; examples on axis 0."""

Kind = Literal["map", "tokens", "vector", "unknown"] | int
"""Which axis of one example holds the channels. map: the first, positions after it; tokens: the last; vector: the only
one; a number: that one, where it is neither; unknown: nothing in the network says which."""

UNKNOWN_AXIS = (
    "nothing in the network that says which axis holds the channels",
    "say it where the cut is asked for: kind='map' (the first axis of an example), 'tokens' (the last), or its number",
)
"""What messages say of an unknown kind: what was found, and what to do."""


def kind_of(axis: int | None, ndim: int) -> Kind:
    """The kind of a tensor by its axis of channels.

    Args:
        axis: within one example, from the front; None if unknown.
        ndim: number of axes of one example.

    Example:
        >>> [kind_of(axis, 3) for axis in (0, 1, 2, None)], kind_of(0, 1)
        (['map', 1, 'tokens', 'unknown'], 'vector')
    """
    if axis is None:
        return "unknown"
    if ndim == 1:
        return "vector"
    return "map" if axis == 0 else "tokens" if axis == ndim - 1 else axis


def axis_of(kind: Kind, ndim: int) -> int:
    """The axis of channels within one example, from the front; what `kind_of` was told.

    Raises:
        ShapeMismatch: it is unknown.

    Example:
        >>> [axis_of(kind, 3) for kind in ("map", 1, "tokens")]
        [0, 1, 2]
    """
    if kind == "unknown":
        raise ShapeMismatch("the channels of a tensor", *UNKNOWN_AXIS)
    if isinstance(kind, int):
        return kind
    return ndim - 1 if kind == "tokens" else 0


def called(kind: Kind) -> str:
    """A kind as tables and messages print it.

    Example:
        >>> called("map"), called(1)
        ('map', 'axis 1')
    """
    return f"axis {kind}" if isinstance(kind, int) else kind


def call(network: Callable[..., Any], inputs: Inputs) -> Any:
    """Call a network, or a half of one, with inputs in any of the three forms.

    Example:
        >>> call(torch.add, (torch.ones(2), torch.ones(2))), call(torch.neg, torch.ones(1))
        (tensor([2., 2.]), tensor([-1.]))
    """
    if isinstance(inputs, Tensor):
        return network(inputs)
    return network(**inputs) if isinstance(inputs, Mapping) else network(*inputs)


def each(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The same form with every tensor changed.

    Example:
        >>> each(torch.neg, {"x": torch.ones(1)})
        {'x': tensor([-1.])}
    """
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, Mapping):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return tuple(function(tensor) for tensor in inputs)


def leaves(inputs: Inputs) -> list[Tensor]:
    """The tensors in order; the first is the main input.

    Example:
        >>> [tuple(one.shape) for one in leaves((torch.ones(2, 3), torch.ones(2)))]
        [(2, 3), (2,)]
    """
    if isinstance(inputs, Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)


def is_ids(tensor: Tensor) -> bool:
    """Whether a tensor is token ids, by its type: whole numbers of 32 or 64 bits; bytes of an image are none.

    Example:
        >>> is_ids(torch.tensor([3])), is_ids(torch.tensor([3.0])), is_ids(torch.tensor([3], dtype=torch.uint8))
        (True, False, False)
    """
    return tensor.dtype in (torch.int32, torch.int64)


def unlowered(values: Any) -> Any:
    """The same structure with numbers of sixteen bits in thirty-two: what follows is fitted and judged in those.

    Example:
        >>> unlowered(torch.ones(1, dtype=torch.bfloat16)).dtype, unlowered(torch.ones(1).double()).dtype
        (torch.float32, torch.float64)
    """
    if isinstance(values, Tensor):
        return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    return pytree.tree_map_only(Tensor, unlowered, values)


def rows(activation: Tensor, kind: Kind) -> Tensor:
    """One row per position, one column per channel: what a position-wise stitch and a per-position measure see.

    Args:
        activation: ``(n, c, *positions)`` for a map, ``(n, *positions, c)`` for tokens, ``(n, c)`` for a vector; for a
            kind that is a number, the channels on that axis of each example.
        kind: the kind of the cut it was taken at.

    Returns:
        ``(n · positions, c)``, example by example; a view where the memory layout allows.

    Example:
        >>> rows(torch.zeros(2, 3, 4, 4), "map").shape
        torch.Size([32, 3])
    """
    axis = 1 + axis_of(kind, activation.ndim - 1)
    if axis < activation.ndim - 1:
        activation = activation.movedim(axis, -1)
    return activation.reshape(-1, activation.shape[-1])


def all_finite(values: Tensor) -> bool:
    """Whether no value is infinite or NaN.

    Example:
        >>> all_finite(torch.tensor([1.0, 2.0])), all_finite(torch.tensor([1.0, float("nan")]))
        (True, False)
    """
    # A sum reads each value once and writes none. That of sound values may overflow, so only a sound sum decides.
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits that change when a name, shape, type or bit of any tensor changes; order does not matter.

    Example:
        >>> a = {"w": torch.zeros(2), "b": torch.ones(1)}
        >>> fingerprint(a) == fingerprint(dict(reversed(a.items()))), fingerprint(a) == fingerprint({"w": a["w"]})
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        # The bytes where they lie: a tensor may be a mapped file larger than memory.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

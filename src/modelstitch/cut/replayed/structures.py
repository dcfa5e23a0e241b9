"""The tensor in what a module gives: itself, or the first of a tuple, list, dict, dataclass or model output."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a value, depth first; None where there is none.

    Example:
        >>> int(first_tensor((None, {"a": torch.tensor(3), "b": torch.tensor(4)})))
        3
    """
    return next(iter(tensors_in(value)), None)


def with_first(value: Any, tensor: Tensor) -> Any:
    """The value with another tensor as its first; all else in it is the very same, and the value itself is not changed.

    Example:
        >>> with_first((None, [torch.zeros(1)], "rest"), torch.tensor(7))
        (None, [tensor(7)], 'rest')
    """
    if isinstance(value, Tensor):
        return tensor
    parts, build = _parts(value)
    for index, part in enumerate(parts):
        if tensors_in(part):
            return build([*parts[:index], with_first(part, tensor), *parts[index + 1 :]])
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value, depth first; what lies in objects of other kinds is not seen.

    Example:
        >>> len(tensors_in({"a": torch.zeros(1), "b": [torch.ones(1), "text"]}))
        2
    """
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in _parts(value)[0] for tensor in tensors_in(part)]


def same(one: Any, other: Any) -> bool:
    """Whether two values hold the same tensors bit for bit; NaN equals NaN.

    Example:
        >>> same([torch.tensor([float("nan")])], [torch.tensor([float("nan")])])
        True
    """
    a, b = tensors_in(one), tensors_in(other)
    return len(a) == len(b) and all(map(_equal, a, b))


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _parts(value: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """What a value is made of, one level down, and how to build one like it of other parts."""
    parts, form = pytree.tree_flatten(value, is_leaf=lambda part: part is not value)
    if not (len(parts) == 1 and parts[0] is value):
        return parts, lambda others: pytree.tree_unflatten(others, form)
    # No tree function knows its class: model outputs are mappings or dataclasses as a rule.
    if isinstance(value, Mapping):
        names = list(value)
        return [value[name] for name in names], lambda others: _remade(value, names, others)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        return [getattr(value, name) for name in names], lambda others: _remade(value, names, others)
    return [], lambda others: value


def _remade(value: Any, names: list[Any], parts: list[Any]) -> Any:
    twin = copy.copy(value)
    for name, part in zip(names, parts, strict=True):
        if isinstance(value, Mapping):
            twin[name] = part
        else:
            object.__setattr__(twin, name, part)  # frozen dataclasses too
    return twin

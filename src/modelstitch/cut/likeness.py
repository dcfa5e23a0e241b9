"""How a network is made: what two networks have in common whose graphs are the same, whatever their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut.run import Run
from modelstitch.cut.spelling import spelled

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type, BuiltinFunctionType)
# What every module holds: its tensors and modules, which are looked at by themselves, and hooks.
_COMMON = frozenset(vars(nn.Module()))


class _Unknown(Exception):
    """Something about a module that cannot be compared."""


def likeness(view: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Hashable | None:
    """A key that networks share where classes, settings, names, shapes and places of all tensors are the same.

    Args:
        view: a frozen view.
        args: an example, given in order.
        kwargs: or by keyword.

    Returns:
        None where it cannot be told: a module has hooks, or holds something that is neither a weight nor plain.

    Example:
        >>> x = (torch.zeros(2, 3),)
        >>> one, other = (likeness(nn.Linear(3, 2), x, {}) for _ in range(2))
        >>> one == other, one == likeness(nn.Linear(3, 2, bias=False), x, {})
        (True, False)
    """
    modules = dict(view.named_modules(remove_duplicate=False))
    tensors = dict(view.named_parameters(remove_duplicate=False)) | dict(view.named_buffers(remove_duplicate=False))
    try:
        made = tuple((path, _made(one)) for path, one in modules.items())
    except _Unknown:
        return None
    seen = tuple((path, _seen(one)) for path, one in tensors.items())
    given = (tuple(map(_seen, args)), tuple((name, _seen(one)) for name, one in kwargs.items()))
    # What is one thing under two names is one thing in the graph.
    same = tuple(tuple(_firsts(held.values())) for held in (modules, tensors))
    return (made, seen, given, same, torch.get_default_dtype())


def _firsts(things: Any) -> list[int]:
    """For each thing, where it stood first."""
    at: dict[int, int] = {}
    return [at.setdefault(id(one), index) for index, one in enumerate(things)]


def _seen(tensor: Tensor) -> Hashable:
    return (type(tensor), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


def _made(module: nn.Module) -> Hashable:
    """Class, code and settings of one module; its tensors and its modules come by themselves."""
    held = vars(module)
    if held["_forward_hooks"] or held["_forward_pre_hooks"]:
        raise _Unknown
    if isinstance(module, Run):
        return (Run, module.training, _of(_spelled(module)), _of(module.containers))
    settings = tuple((name, _of(value)) for name, value in sorted(held.items()) if name not in _COMMON)
    passing = tuple(sorted(held["_non_persistent_buffers_set"]))
    return (type(module), type(module).forward, module.training, settings, passing)


def _spelled(run: Run) -> Any:
    """What a half of a network is made of: its class and its code are its own, and tell nothing."""
    try:
        return spelled(run.graph)
    except ValueError as problem:
        raise _Unknown from problem


def _of(value: Any) -> Hashable:
    """A value as it can be compared, with its type: 1, 1.0 and True are three settings."""
    if isinstance(value, _PLAIN) or (isinstance(value, FunctionType) and value.__closure__ is None):
        return (type(value), value)
    if type(value) in (tuple, list, torch.Size):
        return (type(value), *map(_of, value))
    if type(value) is dict:
        return (dict, *((_of(key), _of(one)) for key, one in value.items()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value), *(_of(getattr(value, field.name)) for field in dataclasses.fields(value)))
    raise _Unknown

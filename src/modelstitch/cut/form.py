"""What a captured network is called with, and the form in which it answers: plain values that can be pickled."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Entry:
    """One input of a captured network.

    Attributes:
        name: its keyword.
        shape: for one example; ``None`` for a length that may vary.
        dtype: of its numbers.
        keyword: whether the network was captured with it given by keyword.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype
    keyword: bool = False


def input_names(view: nn.Module, count: int) -> list[str]:
    """The keywords under which a network takes its first inputs; of those that have none, a numbered name."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [name for name, one in inspect.signature(view.forward).parameters.items() if one.kind in positional]
    return [named[i] if i < len(named) else f"input_{i}" for i in range(count)]


@dataclass(frozen=True)
class Form:
    """Gives the raw tensors of a run the form in which the network answers: a tensor, a tuple, a dict, an object."""

    spec: pytree.TreeSpec

    def __call__(self, values: Any) -> Any:
        """The tensors in that form."""
        return pytree.tree_unflatten(values, self.spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Form:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Form.of, (_plain(self.spec),)

    @classmethod
    def of(cls, plain: Any) -> Form:
        """The form from nested (type, context, children); None stands for one tensor."""
        return cls(_spec_of(plain))


def _plain(spec: pytree.TreeSpec) -> Any:
    return None if spec.is_leaf() else (spec.type, spec.context, [_plain(child) for child in spec.children()])


def _spec_of(plain: Any) -> pytree.TreeSpec:
    if plain is None:
        return pytree.tree_structure(0)
    kind, context, children = plain
    return pytree.TreeSpec(kind, context, [_spec_of(child) for child in children])


@dataclass(frozen=True)
class First:
    """The one tensor of a run that gives one."""

    def __call__(self, values: Any) -> Any:
        """That tensor."""
        return values[0]


@dataclass(frozen=True)
class Whole:
    """What a run gives, as it is."""

    def __call__(self, values: Any) -> Any:
        """The same."""
        return values

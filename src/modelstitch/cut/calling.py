"""How a network is called: with tensors alone, whatever it takes and gives beside them.

A captured network takes tensors and gives tensors. A network may also take constants, None, and tensors in tuples,
lists and dictionaries; and give objects in which no tensor can be seen, the key-value cache of a decoder first of all.
What is no tensor is noted when the network is captured and stays as it was; what it gives beside tensors is left out.

Beware: a list in the place of the main input holds one example each, as detectors take images; anywhere else, and in
tuples, every tensor is an input of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modelstitch.cut.form import input_names
from modelstitch.errors import NotCuttable, ShapeMismatch

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size)


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a tensor stands among the arguments of a network.

    Attributes:
        name: of the input.
        listed: whether it is handed over as a list of its rows.
    """

    name: str
    listed: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """The arguments of a network with a `Slot` in place of every tensor.

    Attributes:
        args: given in order.
        kwargs: given by keyword.
        slots: the tensors, in order.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    slots: tuple[Slot, ...]

    @property
    def constants(self) -> list[Any]:
        """What is no tensor."""
        held = pytree.tree_leaves((self.args, dict(self.kwargs)))
        return [one for one in held if not isinstance(one, Slot)]

    def filled(self, tensors: Iterable[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these tensors in their places."""
        given = dict(zip(self.slots, tensors, strict=True))

        def put(one: Any) -> Any:
            if not isinstance(one, Slot):
                return one
            return list(given[one].unbind(0)) if one.listed else given[one]

        args, kwargs = pytree.tree_map(put, (self.args, dict(self.kwargs)))
        return args, kwargs

    def tensors(self, asked: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """The tensors among arguments in the form of the plan, as a half takes them.

        Args:
            asked: the first line of the error.
            args: given in order; in those of a top the tensor at the cut stands for the main input.
            kwargs: given by keyword.

        Raises:
            ShapeMismatch: a constant that the network was not captured with.
        """
        if args and self.slots[0].listed and isinstance(args[0], list):
            args = (_stacked(args[0]), *args[1:])
        leaves = [leaf for one in args for leaf in pytree.tree_leaves(one)]
        named = dict(pair for name, one in kwargs.items() for pair in _spread(name, one))
        for one in (*leaves, *named.values()):
            if not isinstance(one, Tensor) and not any(type(one) is type(c) and one == c for c in self.constants):
                found = f"{one!r}, where it was captured with {', '.join(map(repr, self.constants)) or 'tensors alone'}"
                raise ShapeMismatch(asked, found, "capture the network again: a constant is a part of it")
        ordered = tuple(one for one in leaves if isinstance(one, Tensor) and one.ndim)
        return ordered, {name: one for name, one in named.items() if isinstance(one, Tensor) and one.ndim}


class Calling:
    """The ``forward`` of a view that takes and gives tensors alone; it lies among the view's attributes.

    Args:
        view: the frozen network.
        plan: where the tensors stand among its arguments; None where it takes nothing else.
    """

    def __init__(self, view: nn.Module, plan: Plan | None) -> None:
        self.view, self.plan = view, plan
        self._own = view.__dict__.get("forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The tensors of what the network answers."""
        if self.plan is not None:
            named = [kwargs[slot.name] for slot in self.plan.slots[len(args) :]]
            args, kwargs = self.plan.filled([*args, *named])
        return seen(self._forward(*args, **kwargs))

    @property
    def _forward(self) -> Any:
        return self._own or functools.partial(type(self.view).forward, self.view)

    @property
    def __signature__(self) -> inspect.Signature:
        if self.plan is None:
            return inspect.signature(self._forward)
        kind = inspect.Parameter.KEYWORD_ONLY if self.plan.kwargs else inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(slot.name, kind) for slot in self.plan.slots])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan})"


def called_as(view: nn.Module, plan: Plan | None) -> None:
    """From here on a view takes and gives tensors alone."""
    view.__dict__["forward"] = Calling(view, plan)


def calling_of(view: nn.Module) -> Calling | None:
    """How a view is called, where it was told by `called_as`."""
    found = view.__dict__.get("forward")
    return found if isinstance(found, Calling) else None


def plan_of(view: nn.Module) -> Plan | None:
    """Where tensors stand among a view's arguments; None where it takes nothing else."""
    calling = calling_of(view)
    return calling.plan if calling else None


def planned(
    view: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Plan | None, tuple[Tensor, ...], dict[str, Tensor]]:
    """A plan of these arguments, None where they are tensors alone; and the tensors.

    Raises:
        NotCuttable: a list of examples of several shapes.
    """
    if all(isinstance(one, Tensor) and one.ndim for one in (*args, *kwargs.values())):
        return None, args, kwargs
    values, slots = dict[str, Tensor](), list[Slot]()
    names = input_names(view, len(args))

    def planned_one(name: str, one: Any) -> Any:
        if not values and isinstance(one, list) and one and all(isinstance(part, Tensor) for part in one):
            values[name] = _stacked(one)
            slots.append(Slot(name, listed=True))
            return slots[-1]
        leaves, form = pytree.tree_flatten(one)
        for index, (key, leaf) in enumerate(_spread(name, one)):
            if isinstance(leaf, Tensor) and leaf.ndim:
                values[key] = leaf
                slots.append(Slot(key))
                leaves[index] = slots[-1]
            elif isinstance(leaf, Tensor):
                leaves[index] = leaf.detach()
        return pytree.tree_unflatten(leaves, form)

    ordered = tuple(planned_one(name, one) for name, one in zip(names, args, strict=True))
    told = {name: planned_one(name, one) for name, one in kwargs.items()}
    plan = Plan(ordered, told, tuple(slots))
    return (plan, (), values) if kwargs else (plan, tuple(values.values()), {})


def _spread(name: str, value: Any) -> list[tuple[str, Any]]:
    """The leaves of an argument, each with a name of its own."""
    leaves, form = pytree.tree_flatten(value)
    return [(name, leaves[0])] if form.is_leaf() else [(f"{name}_{i}", leaf) for i, leaf in enumerate(leaves)]


def _stacked(rows: list[Tensor]) -> Tensor:
    if len({(one.shape, one.dtype) for one in rows}) > 1:
        shapes = ", ".join(str(tuple(one.shape)) for one in rows[:3])
        found, do = f"a list of examples of several shapes: {shapes}", "give examples of one shape"
        raise NotCuttable("to run a network on a list of examples", found, do)
    return torch.stack(rows)


def seen(answer: Any) -> Any:
    """An answer with None in place of every object in which no tensor can be seen, where any tensor is left.

    Example:
        >>> seen((torch.ones(1), object()))
        (tensor([1.]), None)
    """
    kept = pytree.tree_map(lambda leaf: None if _is_opaque(leaf) else leaf, answer, is_leaf=_is_cache)
    return kept if any(not isinstance(leaf, _PLAIN) for leaf in pytree.tree_leaves(kept)) else answer


def has_unseen(answer: Any) -> bool:
    """Whether `seen` would leave something out."""
    return any(_is_opaque(leaf) for leaf in pytree.tree_leaves(answer, is_leaf=_is_cache))


def _is_cache(value: Any) -> bool:
    # Some libraries teach torch to look into their caches, which are tensors of every layer.
    return type(value).__name__.endswith("Cache")


def _is_opaque(leaf: Any) -> bool:
    looked_into = isinstance(leaf, (Tensor, Mapping, *_PLAIN)) or dataclasses.is_dataclass(leaf)
    return _is_cache(leaf) or not looked_into

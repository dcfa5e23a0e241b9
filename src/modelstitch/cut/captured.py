"""A captured network: its cuts, and the halves at each, whichever way they were found."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from modelstitch.cut.calling import plan_of
from modelstitch.cut.form import Entry, First, Whole
from modelstitch.cut.identity import identity_of_modules
from modelstitch.cut.part import CAPTURE_OF, Bottom, Part, Top
from modelstitch.cut.place import Cut, checked_kind
from modelstitch.errors import CutNotFound, IllegalCut, SettingError, did_you_mean
from modelstitch.support.tensors import Kind

# Not `typing.Self`: the run-time shape checks of the tests cannot read it on a method.
C = TypeVar("C", bound="Capture")
P = TypeVar("P", bound=Part)


class Capture(ABC):
    """A network with its cuts found.

    Attributes:
        name: class name of the network, for messages.
        entries: its inputs, the main input first.
        view: the network frozen, in eval mode, over the same memory.
        cuts: every legal cut in order, ``input`` first and ``output`` last.
        replayed: why the network is replayed by hooks; empty when it was exported.
    """

    name: str
    entries: tuple[Entry, ...]
    view: nn.Module
    cuts: tuple[Cut, ...]
    replayed: str = ""
    plain: bool = True
    """Whether the network answers with one tensor and nothing around it."""

    @cached_property
    def _by_name(self) -> dict[str, Cut]:
        aliases = {alias: cut for cut in self.cuts for alias in cut.aliases}
        return {**aliases, **{cut.name: cut for cut in self.cuts}}

    @cached_property
    def graph(self) -> str:
        """16 hex digits of what the network computes with its weights, whatever these are.

        They change with the operators, their constants and their wiring, and with nothing else: not with names of
        operators, the weights, the example or the machine. See `modelstitch.cut.identity`.
        """
        return identity_of_modules(self.view)

    @property
    def whole(self) -> Capture:
        """The captured network whose whole answers are meant; another where the bottoms are not the network's own."""
        return self

    @property
    def blocks(self) -> tuple[Cut, ...]:
        """One cut a block: what is offered by default."""
        return tuple(cut for cut in self.cuts if cut.block)

    def find(self, cut: str | Cut) -> Cut:
        """The cut of that name or alias.

        Raises:
            CutNotFound: no place of that name.
            IllegalCut: the place exists, but more than one tensor crosses there.
        """
        name = cut.name if isinstance(cut, Cut) else cut
        if name in self._by_name:
            return self._by_name[name]
        crossing = self._crossing(name)
        if crossing is None:
            raise CutNotFound(
                f"cut {name!r} of {self.name}",
                f"no such place; by block its cuts are {_listing([c.name for c in self.blocks])}",
                did_you_mean(name, self._by_name, "list them all: `modelstitch cuts NETWORK --all`"),
            )
        raise IllegalCut(
            f"cut {name!r} of {self.name}",
            f"more than one tensor crosses there: {_listing(crossing)}",
            f"take the nearest legal cut: {' or '.join(repr(n) for n in self._nearest(name))}",
        )

    def told(self: C, kinds: Mapping[str, Kind]) -> C:
        """The same with the channels of some cuts where the user says that they are.

        Args:
            kinds: by name or alias of the cut.

        Raises:
            CutNotFound: no place of that name.
            IllegalCut: the place exists, but more than one tensor crosses there.
            SettingError: a kind that the tensor at its cut cannot have.
        """
        said = {self.find(name): checked_kind(self.find(name), kind) for name, kind in kinds.items()}
        if not said:
            return self
        found = copy.copy(self)
        found.__dict__.pop("_by_name", None)
        found.cuts = tuple(replace(cut, kind=said.get(cut, cut.kind)) for cut in self.cuts)
        return found

    def bottom(self, cut: str | Cut) -> Bottom:
        """The layers up to the cut: ``bottom(x)`` is the tensor that crosses."""
        found = self.find(cut)
        return self._half(Bottom, found, self._bottom([found]), First())

    def bottoms(self, cuts: Sequence[str | Cut]) -> Bottom:
        """The layers up to the deepest of several cuts: one run gives the tensors at all of them, as a tuple."""
        found = [self.find(cut) for cut in cuts]
        return self._half(Bottom, max(found, key=self.cuts.index), self._bottom(found), Whole())

    def top(self, cut: str | Cut) -> Top:
        """The layers after the cut: ``top(bottom(x))`` equals the frozen network bit for bit.

        Frozen: in eval mode, with weights that take no gradient. Where they take one, torch multiplies some matrices
        in another order, recurrent layers among them, and the network's own answer may differ in its last digit.
        """
        found = self.find(cut)
        main = self.entries[:1] if self.takes_main(found) else ()
        return self._half(Top, found, *self._top(found), main)

    def takes_main(self, cut: Cut) -> bool:
        """Whether the layers after a cut take the main input too, for what is told from it."""
        return False

    def _half(
        self, side: type[P], cut: Cut, run: nn.Module, finish: Callable[[Any], Any], more: tuple[Entry, ...] = ()
    ) -> P:
        half = side(self.name, cut, (*more, *self.entries), run, finish)
        half.plan, half.dtype = plan_of(self.view), self._dtype(cut)
        CAPTURE_OF[half] = self
        return half

    @abstractmethod
    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        """A module from the inputs to the tuple of tensors at these cuts."""

    @abstractmethod
    def _top(self, cut: Cut) -> tuple[nn.Module, Callable[[Any], Any]]:
        """A module from the tensor at the cut to raw outputs, and the function that gives them the network's form."""

    @abstractmethod
    def _dtype(self, cut: Cut) -> torch.dtype:
        """The type of the numbers that cross."""

    @abstractmethod
    def _crossing(self, name: str) -> Sequence[str] | None:
        """The tensors that cross at an illegal place, or None when there is no such place."""

    @abstractmethod
    def _nearest(self, name: str) -> Sequence[str]:
        """The legal cuts just before and just after an illegal place."""


def capture_of(half: Part) -> Capture:
    """The captured network that a half was taken from.

    Raises:
        SettingError: the half is a copy, or was loaded: it holds its own layers and knows of no others.

    Example:
        >>> import torch
        >>> from modelstitch.cut import capture
        >>> captured = capture(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(2, 4))
        >>> capture_of(captured.top("1")) is captured
        True
    """
    if half not in CAPTURE_OF:
        side = type(half).__name__.lower()
        raise SettingError(
            f"the captured network of a {side} at {half.cut.name!r} of {half.name}",
            "a copied or loaded half, which knows no other cut of its network",
            f"take the half anew: modelstitch.{side}(network, {half.cut.name!r}, example)",
        )
    return CAPTURE_OF[half]


def shared_bottoms(halves: Sequence[Bottom]) -> Callable[[Tensor], list[Tensor]]:
    """One run for many bottoms of one captured network: from a batch to the activation of each, in their order.

    Bottoms whose batch norms keep statistics of their own are run one by one.

    Args:
        halves: taken from one capture, at any cuts, the same one twice too.
    """
    if any(half.own_statistics for half in halves):
        return lambda inputs: [half(inputs) for half in halves]
    cuts = list(dict.fromkeys(half.cut for half in halves))
    run = capture_of(halves[0]).bottoms(cuts)

    def activations(inputs: Tensor) -> list[Tensor]:
        found = dict(zip(cuts, run(inputs), strict=True))
        return [found[half.cut] for half in halves]

    return activations


def _listing(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown

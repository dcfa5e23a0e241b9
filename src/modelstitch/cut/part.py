"""A captured network and its two halves: what a cut gives, whichever way it was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor, nn

from modelstitch.cut.place import Cut
from modelstitch.errors import CutNotFound, IllegalCut, did_you_mean

# Not `typing.Self`: the run-time shape checks of the tests cannot read it on a method.
P = TypeVar("P", bound="Part")


class Part(nn.Module):
    """A half of a cut network. All its weights are buffers that share the network's memory: nothing in it trains.

    Attributes:
        capture: the captured network it is a half of.
        cut: where.
        own_statistics: whether its batch norms keep statistics of their own.
    """

    own_statistics = False

    def __init__(self, capture: Capture, cut: Cut, run: nn.Module, finish: Callable[[Any], Any]) -> None:
        super().__init__()
        self.capture, self.cut, self.run = capture, cut, run
        self._finish = finish
        self.eval()

    def forward(self, x: Tensor, *args: Tensor, **kwargs: Tensor) -> Any:
        """Run the half; side inputs (masks and the like) are given to both halves alike."""
        return self._finish(self.run(x, *args, **kwargs))

    def with_batch_statistics(self: P) -> P:
        """A copy whose batch norms follow train and eval mode, with running statistics of their own (cloned).

        In train mode they use the batch's statistics and update their clones, as in the original paper's code; in eval
        mode they use the clones. The network's own statistics never move.
        """
        own = type(self)(self.capture, self.cut, self.capture.switching(self.run), self._finish)
        own.own_statistics = True
        return own

    def extra_repr(self) -> str:
        """The cut, in ``repr``."""
        return f"cut={self.cut.name!r}"


class Bottom(Part):
    """The layers up to a cut: inputs to activations."""


def shared_bottoms(halves: Sequence[Bottom]) -> Callable[[Tensor], list[Tensor]]:
    """One run for many bottoms of one captured network: from a batch to the activation of each, in their order.

    Bottoms whose batch norms keep statistics of their own are run one by one.

    Args:
        halves: taken from one capture, at any cuts, the same one twice too.
    """
    if any(half.own_statistics for half in halves):
        return lambda inputs: [half(inputs) for half in halves]
    cuts = list(dict.fromkeys(half.cut for half in halves))
    run = halves[0].capture.bottoms(cuts)

    def activations(inputs: Tensor) -> list[Tensor]:
        found = dict(zip(cuts, run(inputs), strict=True))
        return [found[half.cut] for half in halves]

    return activations


class Top(Part):
    """The layers after a cut: activations to outputs. It never runs the layers below."""


def capture_of(half: Part) -> Capture:
    """The captured network that a half was taken from."""
    return half.capture


class Capture(ABC):
    """A network with its cuts found.

    Attributes:
        name: class name of the network, for messages.
        view: the network frozen, in eval mode, over the same memory.
        cuts: every legal cut in order, ``input`` first and ``output`` last.
        replayed: why the network is replayed by hooks; empty when it was exported.
    """

    name: str
    view: nn.Module
    cuts: tuple[Cut, ...]
    replayed: str = ""
    graph: str = "0" * 16
    plain: bool = True
    """Whether the network answers with one tensor and nothing around it."""

    @cached_property
    def _by_name(self) -> dict[str, Cut]:
        aliases = {alias: cut for cut in self.cuts for alias in cut.aliases}
        return {**aliases, **{cut.name: cut for cut in self.cuts}}

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

    def bottom(self, cut: str | Cut) -> Bottom:
        """The layers up to the cut: ``bottom(x)`` is the tensor that crosses."""
        found = self.find(cut)
        return Bottom(self, found, self._bottom([found]), lambda values: values[0])

    def bottoms(self, cuts: Sequence[str | Cut]) -> Bottom:
        """The layers up to the deepest of several cuts: one run gives the tensors at all of them, as a tuple."""
        found = [self.find(cut) for cut in cuts]
        return Bottom(self, max(found, key=self.cuts.index), self._bottom(found), tuple)

    def top(self, cut: str | Cut) -> Top:
        """The layers after the cut: ``top(bottom(x))`` equals the network bit for bit."""
        found = self.find(cut)
        run, finish = self._top(found)
        return Top(self, found, run, finish)

    @abstractmethod
    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        """A module from the inputs to the tuple of tensors at these cuts."""

    @abstractmethod
    def _top(self, cut: Cut) -> tuple[nn.Module, Any]:
        """A module from the tensor at the cut to raw outputs, and the function that gives them the network's form."""

    @abstractmethod
    def _crossing(self, name: str) -> Sequence[str] | None:
        """The tensors that cross at an illegal place, or None when there is no such place."""

    @abstractmethod
    def _nearest(self, name: str) -> Sequence[str]:
        """The legal cuts just before and just after an illegal place."""

    @abstractmethod
    def switching(self, run: nn.Module) -> nn.Module:
        """A copy of a half's module whose batch norms follow train and eval mode on cloned statistics."""


def _listing(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown

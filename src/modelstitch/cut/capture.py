"""A captured network: its cuts, and its two halves at each of them.

``capture`` first asks ``torch.export`` (non-strict, batch dynamic, functionalised: see ``exported``). A network that
cannot be exported, or whose exported graph is not bit-equal to it, is replayed by hooks (see ``replayed``), which is
slower and says so.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut.part import Bottom, Top, frozen_view
from modelstitch.cut.place import Cut
from modelstitch.errors import CutNotFound, IllegalCut, NotCuttable, ShapeMismatch, did_you_mean

Example = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


class Capture(ABC):
    """A network with its cuts found.

    Attributes:
        name: class name of the network, for messages.
        cuts: every legal cut in order, ``input`` first and ``output`` last.
        replayed: why the network is replayed by hooks; empty when it was exported.
    """

    name: str
    cuts: tuple[Cut, ...]
    replayed: str = ""

    @cached_property
    def _by_name(self) -> dict[str, Cut]:
        aliases = {alias: cut for cut in self.cuts for alias in cut.aliases}
        return {**aliases, **{cut.name: cut for cut in self.cuts}}

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


def capture(network: nn.Module, example: Example) -> Capture:
    """Find every legal cut of a network.

    Args:
        network: any module; it is read, never changed. It is cut as it behaves in eval mode.
        example: an input as the network takes it: a tensor, several tensors in order, or tensors by keyword. The first
            is the main input, the others are side inputs. One example is enough; its values do not matter.

    Returns:
        The captured network. Capture once and take many halves: ``capture(A, x).bottom("layer2.1")``.

    Raises:
        NotCuttable: the network can neither be exported nor replayed.
        ShapeMismatch: the network does not accept the example.
    """
    from modelstitch.cut.exported import Exported, NotExportable
    from modelstitch.cut.replayed import Replayed

    view = frozen_view(network)
    args, kwargs = _as_inputs(example)
    _check_runs(view, args, kwargs)
    try:
        return Exported(view, args, kwargs)
    except NotExportable as reason:
        warnings.warn(f"{type(network).__name__} is replayed by hooks, which is slower, because {reason}", stacklevel=2)
        return Replayed(view, args, kwargs, str(reason))


def cuts(network: nn.Module, example: Example, *, every: bool = False) -> list[Cut]:
    """The legal cuts of a network, in order.

    A place is legal when exactly one tensor that depends on the main input's values is live there.

    Args:
        network: any module; untouched.
        example: an input as the network takes it.
        every: all legal cuts with the end points ``input`` and ``output``; by default one a block.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [cut.name for cut in cuts(net, torch.zeros(1, 4), every=True)]
        ['input', '0', '1', 'output']
    """
    captured = capture(network, example)
    return list(captured.cuts if every else captured.blocks)


def bottom(network: nn.Module, cut: str | Cut, example: Example) -> Bottom:
    """The layers of a network up to a cut: A≤l. Weights are shared with the network, and frozen.

    Raises:
        CutNotFound: no place of that name.
        IllegalCut: more than one tensor crosses there.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x = torch.zeros(2, 4)
        >>> torch.equal(top(net, "1", x)(bottom(net, "1", x)(x)), net(x))
        True
    """
    return capture(network, example).bottom(cut)


def top(network: nn.Module, cut: str | Cut, example: Example) -> Top:
    """The layers of a network after a cut: B>m. Weights are shared with the network, and frozen.

    Raises:
        CutNotFound: no place of that name.
        IllegalCut: more than one tensor crosses there.
    """
    return capture(network, example).top(cut)


def _as_inputs(example: Example) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    return tuple(example), {}


def _check_runs(view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
    tensors = [*args, *kwargs.values()]
    if not tensors or not all(isinstance(t, Tensor) and t.ndim and t.shape[0] for t in tensors):
        raise NotCuttable(
            f"to run {type(view).__name__} on an example",
            "an example that is not made of tensors with at least one row",
            "give one input tensor with the batch on its first axis, or several in a tuple or dict",
        )
    try:
        with torch.no_grad():
            view(*args, **kwargs)
    except Exception as problem:
        raise ShapeMismatch(
            f"to run {type(view).__name__} on an example of shape {tuple(tensors[0].shape)}",
            f"it refuses: {str(problem).splitlines()[0] if str(problem) else type(problem).__name__}",
            "give data of the shape and type that the network was trained on",
        ) from problem


def _listing(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown

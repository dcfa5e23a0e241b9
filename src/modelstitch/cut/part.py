"""The two halves of a captured network, whichever way its cuts were found.

A half is a network of its own: it holds the weights that it needs, and no capture. Which capture it was taken from is
noted beside it (`captured.capture_of`), for those who want further halves of the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modelstitch.cut.calling import Plan
from modelstitch.cut.form import Entry
from modelstitch.cut.norms import switching
from modelstitch.cut.place import Cut
from modelstitch.errors import ShapeMismatch
from modelstitch.support.tensors import Inputs, leaves

if TYPE_CHECKING:
    from modelstitch.cut.captured import Capture

# Not `typing.Self`: the run-time shape checks of the tests cannot read it on a method.
P = TypeVar("P", bound="Part")


class Part(nn.Module):
    """A half of a cut network. All its weights are buffers that share the network's memory: nothing in it trains.

    It can be copied, pickled and captured. A copy shares no memory with the network.

    Attributes:
        name: class name of the network that it is a half of, for messages.
        cut: where.
        entries: what it is called with, in order: the inputs of the network, the main input first. A top takes the
            tensor at its cut in place of the first, and behind it the main input too where it needs that.
        own_statistics: whether its batch norms keep statistics of their own.
        plan: where the tensors stand among the network's arguments; None where it takes nothing else.
        dtype: of the tensor that crosses; None where it is not known.
    """

    own_statistics = False
    plan: Plan | None = None
    dtype: torch.dtype | None = None

    def __init__(
        self, name: str, cut: Cut, entries: tuple[Entry, ...], run: nn.Module, finish: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self.name, self.cut, self.entries, self.run = name, cut, entries, run
        self._finish = finish
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the half; side inputs (masks and the like) are given to both halves alike, in order or by keyword.

        Constants that the network was captured with may be given again, or left out.
        """
        if self.plan is not None:
            asked = f"{type(self).__name__} of {self.name} at {self.cut.name!r}"
            args, kwargs = self.plan.tensors(asked, args, kwargs)
        return self._finish(self.run(*args, *self._side(len(args), kwargs)))

    def _side(self, given: int, kwargs: dict[str, Tensor]) -> list[Tensor]:
        """Inputs given by keyword, in the order in which the network was captured with them."""
        names = [entry.name for entry in self.entries[given:]]
        if set(names) != set(kwargs) or given > len(self.entries):
            raise ShapeMismatch(
                f"{type(self).__name__} of {self.name} at {self.cut.name!r}, with {given} tensors in order"
                + (f" and {', '.join(kwargs)} by keyword" if kwargs else ""),
                f"a network that was captured with {', '.join(entry.name for entry in self.entries)}",
                "give each of them once, for a top the tensor at the cut before them",
            )
        return [kwargs[name] for name in names]

    def with_batch_statistics(self: P) -> P:
        """A copy whose batch norms follow train and eval mode, with running statistics of their own (cloned).

        In train mode they use the batch's statistics and update their clones, as in the original paper's code; in eval
        mode they use the clones. The network's own statistics never move.
        """
        own = type(self)(self.name, self.cut, self.entries, switching(self.run), self._finish)
        own.own_statistics, own.plan, own.dtype = True, self.plan, self.dtype
        if self in CAPTURE_OF:
            CAPTURE_OF[own] = CAPTURE_OF[self]
        return own

    def extra_repr(self) -> str:
        """The cut, in ``repr``."""
        return f"cut={self.cut.name!r}"


_CAPTURE_OF: WeakKeyDictionary[Part, Capture] = WeakKeyDictionary()


# Beside the halves and not in them: a half can be copied and pickled, and its copy knows no capture.
CAPTURE_OF: WeakKeyDictionary[Part, Capture] = WeakKeyDictionary()


class Bottom(Part):
    """The layers up to a cut: inputs to activations."""


class Top(Part):
    """The layers after a cut: activations to outputs. It never runs the layers below.

    Where they use what is told from token ids alone (which of them are padding, see `modelstitch.cut.told`), it takes
    the main input too, behind the tensor at the cut: ``top(activation, ids)``, ``top(activation, input_ids=ids)``.
    """

    @property
    def takes_main(self) -> bool:
        """Whether the main input of the network is handed to it as well."""
        return self.entries[:1] == self.entries[1:2]

    def after(self, activation: Tensor, beside: Inputs, main: Tensor | None = None) -> Any:
        """The outputs for a tensor at the cut.

        Args:
            activation: the tensor.
            beside: the inputs of a network but its main input, in order or by name; what this one does not take is
                left out.
            main: the main input, where it is token ids.
        """
        names = [entry.name for entry in self.entries[1:]]
        first, sides = (names[:1], names[1:]) if self.takes_main else ([], names)
        # A main input that is missing is refused by name, as any other is.
        handed = {name: main for name in first if main is not None}
        if isinstance(beside, Mapping):
            return self(activation, **handed, **{name: one for name, one in beside.items() if name in sides})
        return self(activation, **handed, **dict(zip(sides, leaves(beside), strict=False)))

"""The stitched network: top ∘ stitch ∘ bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from modelstitch.cut import Bottom, Entry, Top
from modelstitch.stitched.portable import Portable
from modelstitch.stitches import Stitch
from modelstitch.support.tensors import Inputs


class Stitched(Portable):
    """``B>m ∘ s ∘ A≤l``. Only the stitch has parameters; bottom and top share the networks' weights, frozen.

    Args:
        bottom: from inputs to the activations at a cut of A.
        stitch: from those to activations at a cut of B.
        top: from those to outputs.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from modelstitch.cut import capture
        >>> from modelstitch.stitches import Identity
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x = torch.ones(2, 4)
        >>> halves = capture(net, x)
        >>> cut = halves.find("1")
        >>> stitched = Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut))
        >>> torch.equal(stitched(x), net(x))
        True
    """

    def __init__(self, bottom: Bottom, stitch: Stitch, top: Top) -> None:
        super().__init__()
        self.bottom, self.stitch, self.top = bottom, stitch, top

    def takes(self) -> tuple[Entry, ...]:
        """What the bottom takes, and behind it the side inputs that the top's network alone takes."""
        known = {entry.name for entry in self.bottom.entries}
        return (*self.bottom.entries, *(entry for entry in self.top.entries[1:] if entry.name not in known))

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """The top's outputs for the bottom's inputs, given as to the network: in order or by keyword.

        Side inputs go to both halves, and to one alone where the other half's network does not take them.
        """
        lower = [entry.name for entry in self.bottom.entries]
        upper = [entry.name for entry in self.top.entries]
        # What neither knows is left to the bottom, which refuses it.
        below = {name: tensor for name, tensor in kwargs.items() if name in lower or name not in upper}
        above = {name: tensor for name, tensor in kwargs.items() if name in upper[1:] and name != lower[0]}
        return self.top(self._across(self.bottom(*args[: len(lower)], **below)), *args[1 : len(upper)], **above)

    def above(self, activation: Tensor, beside: Inputs) -> Any:
        """The top's outputs for what the bottom gives.

        Args:
            activation: at the bottom's cut.
            beside: the side inputs, in order or by name; those that the top's network does not take are left out.
        """
        mapped, upper = self._across(activation), [entry.name for entry in self.top.entries[1:]]
        if isinstance(beside, Mapping):
            return self.top(mapped, **{name: tensor for name, tensor in beside.items() if name in upper})
        return self.top(mapped, *beside[: len(upper)])

    def _across(self, activation: Tensor) -> Tensor:
        """The stitched activation, in the type of number that the top was captured with.

        Where all is float32 nothing is converted; what autocast makes of it is autocast's business.
        """
        first = next(self.stitch.parameters(), None)
        own = activation.dtype if first is None else first.dtype
        if self.bottom.dtype not in (None, own):
            activation = activation.to(own)
        mapped: Tensor = self.stitch(activation)
        return mapped if self.top.dtype in (None, own) else mapped.to(self.top.dtype)

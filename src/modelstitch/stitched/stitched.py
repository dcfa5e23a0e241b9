"""The stitched network: top ∘ stitch ∘ bottom."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modelstitch.cut import Bottom, Entry, Top
from modelstitch.data import Batch
from modelstitch.stitched.portable import Portable
from modelstitch.stitches import Stitch


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
        """What the bottom takes, and behind it what the top's network alone takes."""
        known = {entry.name for entry in self.bottom.entries}
        if not self.bottom.entries[0].keyword:
            # In order, the main input is the first of both networks, whatever each calls it.
            known.update(entry.name for entry in self.top.entries[:1])
        return (*self.bottom.entries, *(entry for entry in self.top.entries[1:] if entry.name not in known))

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """The top's outputs for the bottom's inputs, given as to the network: in order or by keyword.

        Side inputs go to both halves, and to one alone where the other half's network does not take them.
        """
        lower, upper = ([entry.name for entry in half.entries] for half in (self.bottom, self.top))
        # What neither knows is left to the bottom, which refuses it.
        below = {name: tensor for name, tensor in kwargs.items() if name in lower or name not in upper}
        above = {name: tensor for name, tensor in kwargs.items() if name in upper[1:]}
        if not self.top.takes_main:
            above.pop(lower[0], None)
        beside = args[0 if self.top.takes_main else 1 :][: len(upper) - 1]
        return self.top(self._across(self.bottom(*args[: len(lower)], **below)), *beside, **above)

    def above(self, activation: Tensor, batch: Batch) -> Any:
        """The top's outputs for what the bottom gives.

        Args:
            activation: at the bottom's cut.
            batch: the examples without their main input, as `Examples.without_main` gives them.
        """
        return self.top.after(self._across(activation), batch.inputs, batch.main)

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

"""The stitched network: top ∘ stitch ∘ bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from modelstitch.cut import Bottom, Top
from modelstitch.stitches import Stitch
from modelstitch.tensors import Inputs


class Stitched(nn.Module):
    """``B>m ∘ s ∘ A≤l``. Only the stitch has parameters; bottom and top share the networks' weights, frozen.

    Args:
        bottom: from inputs to the activations at a cut of A.
        stitch: from those to activations at a cut of B.
        top: from those to outputs.

    Example:
        >>> import torch
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

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """The top's outputs for the bottom's inputs; side inputs are given to both halves alike."""
        activation = self.bottom(*inputs, **named)
        return self.above(activation, dict(list(named.items())[1:]) if named and not inputs else inputs[1:])

    def above(self, activation: Tensor, beside: Inputs) -> Any:
        """The top's outputs for what the bottom gives.

        Args:
            activation: at the bottom's cut.
            beside: the side inputs, in order or by name.
        """
        mapped = self.stitch(activation)
        return self.top(mapped, **beside) if isinstance(beside, Mapping) else self.top(mapped, *beside)

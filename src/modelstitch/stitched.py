"""The stitched network: top ∘ stitch ∘ bottom."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from modelstitch.cut import Bottom, Top
from modelstitch.stitches import Stitch


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

    def forward(self, x: Tensor) -> Any:
        """The top's outputs for the bottom's inputs."""
        return self.top(self.stitch(self.bottom(x)))

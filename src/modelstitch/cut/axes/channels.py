"""The channel axis of a tensor of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from modelstitch.cut.axes.layers import LAYERS
from modelstitch.cut.axes.maps import Axes
from modelstitch.cut.axes.views import VIEWS
from modelstitch.cut.axes.walk import Walk


class Channels:
    """What the operators of a graph say of its axes.

    Args:
        nodes: of the graph, in order.
        main: the input whose first axis holds the examples.
    """

    def __init__(self, nodes: Sequence[Node], main: Node) -> None:
        self._walk = Walk(nodes, main, {**VIEWS, **LAYERS})

    def axis(self, node: Node, batch: int = 0) -> int | None:
        """The axis of channels of a tensor, within one example; None if unknown.

        It is the one axis that the most trustworthy of the operators around take for channels. Of a tensor with one
        axis for each example it is that axis.

        Args:
            node: of the tensor.
            batch: which of its axes holds the examples.
        """
        axes = tuple(key for index, key in enumerate(self._walk.axes(node)) if index != batch)
        if len(axes) == 1:
            return 0
        ranks = [self._walk.ranks.of(key) for key in axes]
        highest = max(ranks, default=0)
        if not highest or ranks.count(highest) > 1:
            return None
        found = ranks.index(highest)
        return None if self._spread(axes, found) else found

    def _spread(self, axes: Axes, found: int) -> bool:
        """Whether a further axis holds another part of the same channels, as heads beside their features do.

        Where patches are merged, an axis holds channels and neighbours, of which other axes hold the rest: no channels.
        Where pixels are shuffled, axes of positions hold what were channels and positions besides: no channels either.
        """
        normal = [self._walk.maps.normal(key) for key in axes]
        atoms = [{atom for atom, _, _ in key} for key in normal]
        channels = {atom for atom in atoms[found] if self._walk.ranks.of(self._walk.maps.whole(atom))}
        return any(other and other <= channels for index, other in enumerate(atoms) if index != found)

"""``B>m ∘ s ∘ A≤l`` for two networks of one architecture, as one network of that architecture.

An affine stitch goes into the layers beside the cut: forwards where nothing but layers and averages reads the value,
else backwards into what writes it (see ``surgery``). Beware of three places where the architecture does not allow it:

- An identity shortcut that ends at the cut must become a projection, one convolution of 1x1 more than the architecture
  has. `Folded.same_architecture` tells. A permutation never needs it.
- A bias cannot pass a convolution padded with zeros. A stitch without one (Orthogonal, Permutation) can.
- Nothing but a permutation passes a relu or a maximum.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Node

from modelstitch.compute import home_of
from modelstitch.cut import Capture, capture_of
from modelstitch.cut.exported import Exported
from modelstitch.cut.frozen import standard_attention
from modelstitch.cut.wiring import Wiring
from modelstitch.errors import CannotFold
from modelstitch.fold.affine import affine_of
from modelstitch.fold.surgery import Stuck, Surgery
from modelstitch.stitched import Stitched
from modelstitch.support.seeding import generator

# Relative to the largest output, in float32: a fold that is right is off by rounding alone.
_CLOSE = 1e-4
_LENGTH = 5  # of a sentence, where the length may vary


@dataclass(frozen=True, eq=False)
class Folded:
    """A stitched network as a plain one.

    Attributes:
        network: of the top network's own class, in eval mode, with weights of its own.
        projections: paths of the identity shortcuts that became projections.
    """

    network: nn.Module
    projections: tuple[str, ...]

    @property
    def same_architecture(self) -> bool:
        """Whether its ``state_dict`` has the keys and shapes of the top network's."""
        return not self.projections


def fold(stitched: Stitched) -> Folded:
    """Take an affine stitch between two networks of one architecture, at one cut of both, into their layers.

    In eval mode the folded network answers what the stitched network answers, but for rounding; this is checked on
    random inputs before it is returned. Layers below the cut have the bottom network's weights, layers above the top
    network's, and those beside it the stitch's as well. Neither network is touched.

    Args:
        stitched: fitted with batch norms frozen.

    Returns:
        The network, and whether it has exactly the architecture of the two.

    Raises:
        CannotFold: the networks are not of one architecture, the cuts not the same, the stitch is not affine, or the
            layers beside the cut cannot take it in.

    Example:
        >>> from modelstitch.cut import capture
        >>> from modelstitch.stitches import Affine
        >>> a, b = (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(2))
        >>> x = torch.ones(2, 4)
        >>> below, above = capture(a, x), capture(b, x)
        >>> stitch = Affine().build(below.find("1"), above.find("1"))
        >>> folded = fold(Stitched(below.bottom("1"), stitch, above.top("1")))
        >>> type(folded.network).__name__, folded.same_architecture
        ('Sequential', True)
    """
    asked = f"to fold the stitch at {stitched.bottom.cut.name!r} of {stitched.bottom.name}"
    below, above = _wirings(stitched, asked)
    cut = stitched.top.cut
    weight, bias = affine_of(stitched.stitch, cut)
    node = above.at[cut.name]
    surgery = Surgery(above, _joined(below, above, node, asked))
    _absorb(surgery, node, weight, bias, 1 + cut.axis, asked)
    network = _rebuilt(above.network, surgery, cut.kind == "map")
    _check_same(stitched, network, surgery.projections, asked)
    return Folded(network, tuple(surgery.projections))


def _wirings(stitched: Stitched, asked: str) -> tuple[Wiring, Wiring]:
    """The wirings of bottom and top, once they are known to be of one architecture."""
    found = [_wiring_of(capture_of(part), asked) for part in (stitched.bottom, stitched.top)]
    below, above = found
    shapes = [{name: t.shape for name, t in one.network.state_dict().items()} for one in found]
    names = [stitched.bottom.cut.name, stitched.top.cut.name]
    if type(below.network) is not type(above.network) or shapes[0] != shapes[1]:
        what = " and ".join(type(one.network).__name__ for one in found)
        raise CannotFold(asked, f"networks of two architectures, {what}", "stitch two networks of one architecture")
    if names[0] != names[1]:
        raise CannotFold(asked, f"the cut {names[1]!r} above", "stitch at the same cut of both networks")
    if stitched.bottom.own_statistics or stitched.top.own_statistics:
        found_ = "batch norms with statistics of their own"
        raise CannotFold(asked, found_, "fit the stitch with batch_norm='frozen'")
    return below, above


def _wiring_of(capture: Capture, asked: str) -> Wiring:
    if not isinstance(capture, Exported):
        raise CannotFold(asked, "a network that is replayed by hooks", "make it exportable by torch.export")
    return capture.wiring


def _joined(below: Wiring, above: Wiring, node: Node, asked: str) -> dict[str, Tensor]:
    """All weights by name: the bottom network's where they act below the cut, else the top network's."""
    lower = above.below(node)
    upper = {above.names[one] for one in _used_above(above, node)}
    if lower & upper:
        found = f"weights that are used on both sides of the cut: {', '.join(sorted(lower & upper))}"
        raise CannotFold(asked, found, "cut where no weight is shared")
    modules = {name.rpartition(".")[0] for name in lower} - {name.rpartition(".")[0] for name in upper}
    ours, theirs = below.network.state_dict(), above.network.state_dict()
    # What no operator reads, such as a count of batches, stays with its module.
    sides = {name: name in lower or (name not in upper and name.rpartition(".")[0] in modules) for name in theirs}
    return {name: (ours if low else theirs)[name].detach().cpu() for name, low in sides.items()}


def _used_above(wiring: Wiring, node: Node) -> set[Node]:
    """The weights that the output is computed from, not looking below the cut."""
    output = next(iter(reversed(wiring.graph.nodes)))
    found, queue = {output}, [output]
    while queue:
        fresh = [one for one in queue.pop().all_input_nodes if one not in found and one is not node]
        found.update(fresh)
        queue.extend(fresh)
    return found & wiring.names.keys()


def _absorb(surgery: Surgery, node: Node, weight: Tensor, bias: Tensor, axis: int, asked: str) -> None:
    """Try the ways in turn; the first that goes through stays."""

    def shift() -> None:
        if bias.any():
            stuck = surgery.attempt(lambda: surgery.shift_writer(node, bias, axis))
            if stuck is not None:
                surgery.shift_reader(node, bias, axis)

    def renamed() -> None:
        surgery.rename(node, weight.max(1).indices)
        shift()

    def read() -> None:
        if bias.any():
            # Before the weights of the readers change: they see W x + b, and b is not multiplied by W.
            surgery.shift_reader(node, bias, axis)
        surgery.read(node, weight, axis)

    def written() -> None:
        surgery.write(node, weight, axis)
        shift()

    ways: list[Callable[[], None]] = [read, written]
    if torch.equal(weight, torch.eye(len(weight), dtype=weight.dtype)):
        ways = [shift]
    elif bool(((weight == 0) | (weight == 1)).all() and (weight.sum(0) == 1).all() and (weight.sum(1) == 1).all()):
        ways = [renamed, *ways]
    reasons: list[Stuck] = []
    for way in ways:
        reason = surgery.attempt(way)
        if reason is None:
            return
        reasons.append(reason)
    found = "; ".join(dict.fromkeys(str(one) for one in reasons))
    do = (
        "cut elsewhere; use Orthogonal or Permutation, which have no bias; or give the block an nn.Identity as its skip"
    )
    raise CannotFold(asked, found, do)


def _rebuilt(view: nn.Module, surgery: Surgery, is_map: bool) -> nn.Module:
    network = copy.deepcopy(view)
    own = network.state_dict()
    with torch.no_grad():
        for name, tensor in surgery.tensors.items():
            own[name].copy_(tensor)
    home = next((t for t in own.values() if t.is_floating_point()), torch.zeros(0))
    for path, weight in surgery.projections.items():
        q, p = weight.shape
        layer = nn.Conv2d(p, q, 1, bias=False) if is_map else nn.Linear(p, q, bias=False)
        with torch.no_grad():
            layer.weight.copy_(weight.reshape(layer.weight.shape))
        parent, _, child = path.rpartition(".")
        setattr(network.get_submodule(parent), child, layer.to(home))
    return network.requires_grad_(True).eval()


@torch.no_grad()
def _check_same(stitched: Stitched, network: nn.Module, projections: Collection[str], asked: str) -> None:
    """Refuse a folded network that does not answer as the stitched one does."""
    entry = stitched.bottom.entries[0]
    shape = [_LENGTH if size is None else size for size in entry.shape]
    inputs = torch.randn(4, *shape, generator=generator("check of a fold")).to(home_of(network))
    with standard_attention():
        expected, found = stitched.eval()(inputs), network(inputs)
    difference = float((found - expected).abs().max())
    if not difference <= _CLOSE * max(1.0, float(expected.abs().max())):
        found = f"answers that would differ by up to {difference:.3g}"
        if projections:
            found += f", for {' and '.join(projections)} is not the shortcut of the sum at the cut"
        raise CannotFold(asked, found, "cut where a block ends; if it does end there, report the network")

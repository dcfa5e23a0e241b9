"""Networks between two others by their weights: mixed, with units matched first, and with statistics of their own.

Matching units is the weight matching of Ainsworth, Hayase and Srinivasa (2022, "Git Re-Basin", algorithm 1). Which
units may trade places, `modelstitch.symmetries` reads off the network.

Beware: running statistics of batch norms belong to other weights once these are mixed. They are estimated afresh, on
train examples, as averages over whole batches; only the statistics see these examples.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from modelstitch.activations import outputs_over
from modelstitch.cut import Capture
from modelstitch.cut.exported import Exported
from modelstitch.data import Examples
from modelstitch.errors import NotCuttable
from modelstitch.support.seeding import numpy_generator
from modelstitch.symmetries import Group, groups

_BATCH = 256
_MOST_SWEEPS = 100
# A gain below this share of the whole is rounding, and could go round in circles.
_GAIN = 1e-7
_Norm = nn.modules.batchnorm._BatchNorm


def mixed(network: nn.Module, parts: Sequence[tuple[float, Mapping[str, Tensor]]]) -> nn.Module:
    """A copy of a network whose weights are a weighted sum of others'; whole numbers are the network's own.

    Args:
        network: gives the architecture.
        parts: share and weights by name of each that goes in.
    """
    twin = copy.deepcopy(network).eval()
    with torch.no_grad():
        for name, tensor in twin.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(sum((share * weights[name] for share, weights in parts), torch.zeros_like(tensor)))
    return twin


@torch.no_grad()
def estimate_statistics(network: nn.Module, examples: Examples) -> None:
    """Set the running statistics of every batch norm of a network to those over examples, in place.

    Args:
        network: its other modules stay in eval mode.
        examples: gone through once, without augmentation, in batches of 256; a last part of a batch is
            left out where there is a whole one.
    """
    norms = [module for module in network.modules() if isinstance(module, _Norm)]
    network.eval()
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over batches
        norm.training = True
    whole = examples.first(len(examples) // _BATCH * _BATCH or len(examples))
    for _ in outputs_over(network, whole, size=_BATCH) if norms else ():
        pass  # a batch norm takes its statistics on the way
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval()


def match_units(a: Capture, b: Capture, *, seed: int = 0) -> dict[str, Tensor]:
    """The weights of A with its units permuted so that they come near those of B.

    ``argmax over permutations of <θ_B, π(θ_A)>`` by coordinate descent: the units of one group after the other are
    assigned optimally while all others stay, until nothing changes. A local optimum, which depends on the seed.

    Args:
        a: whose units trade places; the network that they make computes what A computes, but for rounding.
        b: of the same architecture.
        seed: of the order in which groups are visited.

    Returns:
        By name, everything in A's ``state_dict``.

    Raises:
        NotCuttable: the network is replayed, so that its units are not known.
    """
    for one in (a, b):
        if not isinstance(one, Exported):
            found = f"a network that is replayed, because {one.replayed}"
            raise NotCuttable(f"to match the units of {one.name}", found, "make it exportable by torch.export")
    assert isinstance(a, Exported)
    assert isinstance(b, Exported)
    found_groups, _ = groups(a.wiring)
    current = {name: tensor.detach().clone() for name, tensor in a.wiring.network.state_dict().items()}
    target = dict(b.wiring.network.state_dict())
    parameters = {name for name, _ in a.wiring.network.named_parameters()}
    random = numpy_generator("match units", seed)
    for _ in range(_MOST_SWEEPS):
        moved = [_improve(found_groups[i], current, target, parameters) for i in random.permutation(len(found_groups))]
        if not any(moved):
            break
    return current


def _improve(group: Group, current: dict[str, Tensor], target: Mapping[str, Tensor], parameters: set[str]) -> bool:
    """Assign the units of one group anew, in place; whether that brought anything."""
    likeness = torch.zeros(group.units, group.units, dtype=torch.float64)
    for spot in group.spots:
        if spot.name in parameters:
            ours, theirs = (_by_unit(one[spot.name], spot.axis, group.units) for one in (current, target))
            likeness += theirs @ ours.T
    order = torch.from_numpy(linear_sum_assignment(likeness.numpy(), maximize=True)[1])
    gain = likeness.gather(1, order[:, None]).sum() - likeness.diagonal().sum()
    if float(gain) <= _GAIN * float(likeness.abs().sum()):
        return False
    before = _agreement(group, current, target, parameters)
    changed = dict(current)
    for spot in group.spots:
        changed[spot.name] = spot.take(changed[spot.name], order.to(changed[spot.name].device))
    # A weight that counts the same units twice follows by both axes, which the assignment does not see.
    if _agreement(group, changed, target, parameters) <= before:
        return False
    current.update(changed)
    return True


def _by_unit(tensor: Tensor, axis: int, units: int) -> Tensor:
    moved = tensor.detach().cpu().double().movedim(axis, 0)
    # Runs of a flattened map belong to one unit, and so to one row.
    return moved.reshape(units, -1)


def _agreement(group: Group, one: Mapping[str, Tensor], other: Mapping[str, Tensor], parameters: set[str]) -> float:
    names = {spot.name for spot in group.spots} & parameters
    return sum(float((one[name].double() * other[name].double()).sum()) for name in names)

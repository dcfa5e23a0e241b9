"""A bent path between two networks: ``θ(x) = (1-x)² θ_B + 2 x (1-x) θ_C + x² θ_A`` with a trained middle.

After Garipov et al. (2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs"): at each step x is drawn
from 0 to 1, and the loss at that place of the curve is followed downhill in ``θ_C``, which begins halfway.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modelstitch.data import Examples
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.support.seeding import generator
from modelstitch.tasks import Task


class Bend(nn.Module):
    """The curve as a module to train: each call answers as the network at a place drawn anew.

    Args:
        network: gives the architecture.
        at_0: the weights of B by name.
        at_1: the weights of A.
        seed: of the places.
    """

    def __init__(self, network: nn.Module, at_0: Mapping[str, Tensor], at_1: Mapping[str, Tensor], seed: int) -> None:
        super().__init__()
        # In a list, so that its weights are not among those to train: the curve gives it others at each call.
        self._network = [copy.deepcopy(network)]
        self._names = [name for name, _ in network.named_parameters()]
        self._fixed = {name: tensor.detach().clone() for name, tensor in network.named_buffers()}
        self._ends = [{name: one[name].detach() for name in self._names} for one in (at_0, at_1)]
        self.middle = nn.ParameterList([(at_0[name] + at_1[name]).detach() / 2 for name in self._names])
        self._random = generator("places on a curve", seed)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """The answers of one network on the curve."""
        place = float(torch.rand((), generator=self._random))
        (low, middle, high), middles = _shares(place), self.control()
        weights = {
            name: low * self._ends[0][name] + middle * middles[name] + high * self._ends[1][name]
            for name in self._names
        }
        network = self._network[0].train(self.training)
        return functional_call(network, {**weights, **self._fixed}, args, kwargs)

    def control(self) -> dict[str, Tensor]:
        """The weights in the middle, by name."""
        return dict(zip(self._names, self.middle, strict=True))


def bent(
    network: nn.Module,
    at_0: Mapping[str, Tensor],
    at_1: Mapping[str, Tensor],
    train: Examples,
    task: Task,
    schedule: Schedule,
    seed: int,
) -> dict[str, Tensor]:
    """Train a curve and give its middle: the weights by name, statistics halfway.

    Raises:
        NumericalFailure: the loss is not finite.
    """
    module = Bend(network, at_0, at_1, seed)
    train_supervised(module, train, task=task, schedule=schedule, seed=seed)
    halfway = {name: (at_0[name] + at_1[name]) / 2 if at_0[name].is_floating_point() else at_0[name] for name in at_0}
    return halfway | {name: tensor.detach() for name, tensor in module.control().items()}


def shares_on_curve(
    x: float, at_0: Mapping[str, Tensor], middle: Mapping[str, Tensor], at_1: Mapping[str, Tensor]
) -> list[tuple[float, Mapping[str, Tensor]]]:
    """What goes into the network at a place of the curve."""
    return list(zip(_shares(x), (at_0, middle, at_1), strict=True))


def _shares(x: float) -> tuple[float, float, float]:
    return (1 - x) ** 2, 2 * x * (1 - x), x**2

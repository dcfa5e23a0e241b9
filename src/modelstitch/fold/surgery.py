"""How the weights beside a cut take an affine map ``y = W x + b`` in.

Four ways, each exact in eval mode, tried in this order by `modelstitch.fold.fold`:

- *renamed*: a permutation goes backwards through everything that keeps channels apart: all that writes or reads the
  permuted channels below the cut is permuted with them.
- *written*: ``W`` goes backwards into the layers that linearly write the value, through sums and batch norms. Where a
  sum takes an identity shortcut that others read too, that shortcut must become a projection.
- *read*: ``W`` goes forwards into the layers that read the value, where nothing but layers and averages reads it.
- *shifted*: ``b`` goes into a bias of those who write, or forwards into the running means and biases of those who read.

Beware: zeros that pad a convolution stand for no activation, so ``b`` cannot pass a padded convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from modelstitch.cut import wiring as wires
from modelstitch.cut.lengths import sizes
from modelstitch.cut.operators import operator_name
from modelstitch.cut.trace import SHAPE_OPERATORS, path_of
from modelstitch.cut.wiring import Wiring
from modelstitch.symmetries import groups


class Stuck(Exception):
    """Where a map can go no further, and why."""


class Surgery:
    """Changes to the weights of one network, made on copies in float64; a step that gets stuck leaves none behind.

    Attributes:
        tensors: every weight and statistic by name.
        projections: the weight that each identity shortcut is to have, by module path.
    """

    def __init__(self, wiring: Wiring, tensors: dict[str, Tensor]) -> None:
        self._wiring = wiring
        self.tensors = {name: t.double() if t.is_floating_point() else t.clone() for name, t in tensors.items()}
        self.projections: dict[str, Tensor] = {}

    def attempt(self, step: Callable[[], None]) -> Stuck | None:
        """Take a step; if it gets stuck, everything is as before and the reason is returned."""
        before = dict(self.tensors), dict(self.projections)
        try:
            step()
        except Stuck as reason:
            self.tensors, self.projections = before
            return reason
        return None

    # -- permutations --------------------------------------------------------------------------------------------

    def rename(self, node: Node, order: Tensor) -> None:
        """Permute the channels of a value: ``y[i] = x[order[i]]``."""
        found, group_of = groups(self._wiring)
        if node not in group_of:
            raise Stuck(f"the channels at {_spoken(node)} may not trade places")
        below = self._wiring.below(node)
        for spot in found[group_of[node]].spots:
            if spot.name in below:
                self.tensors[spot.name] = spot.take(self.tensors[spot.name], order)

    # -- W backwards ---------------------------------------------------------------------------------------------

    def write(self, node: Node, weight: Tensor, axis: int) -> None:
        """Change what writes a value so that it becomes ``W x``."""
        norm = wires.norm_arguments(wires.value_of(node))
        layer = wires.layer_of(node)
        if node in self._wiring.names:
            moved = torch.tensordot(self._tensor(node), weight, dims=([axis], [1]))
            self._set(node, moved.movedim(-1, axis))
        elif layer is not None:
            if layer.groups > 1:
                raise Stuck(f"{_spoken(node)} is a grouped convolution")
            self._set(layer.weight, torch.tensordot(weight, self._tensor(layer.weight), dims=1))
            if layer.bias is not None:
                self._set(layer.bias, weight @ self._tensor(layer.bias))
        elif norm is not None and axis == 1:
            self._write_norm(node, norm, weight)
        elif operator_name(node) in wires.ADDITIONS:
            self._write_sum(node, weight, axis)
        else:
            source, before = self._source(node, axis)
            self.write(self._alone(source, node), weight, before)

    def _write_norm(self, node: Node, norm: tuple[Any, ...], weight: Tensor) -> None:
        """A norm is ``g x + h``: ``W g`` goes to what writes x, and the norm keeps the bias ``W h`` alone."""
        x, gain, bias, mean, var, _, eps = norm
        if gain is None or bias is None:
            raise Stuck(f"{_spoken(node)} is a batch norm without weights")
        scale = self._tensor(gain) / (self._tensor(var) + eps).sqrt()
        rest = self._tensor(bias) - scale * self._tensor(mean)
        self.write(self._alone(x, wires.value_of(node)), weight * scale, 1)
        self._set(bias, weight @ rest)
        self._set(mean, torch.zeros_like(scale))
        self._set(var, torch.ones_like(scale))
        self._set(gain, torch.full_like(scale, 1.0 + float(eps)).sqrt())

    def _write_sum(self, node: Node, weight: Tensor, axis: int) -> None:
        operands = [one for one in node.args[:2] if isinstance(one, Node)]
        if len(operands) < 2:
            raise Stuck(f"{_spoken(node)} adds a number")
        stuck = []
        for operand in operands:
            before = axis - len(sizes(node)) + len(sizes(operand))
            # Each is tried alone: one that gets stuck halfway must leave nothing behind.
            reason = self.attempt(partial(self._write_operand, node, operand, weight, before))
            stuck += [reason] if reason else []
        if len(stuck) > 1:
            raise stuck[0]
        if stuck:
            self._project(node, weight, stuck[0])

    def _write_operand(self, node: Node, operand: Node, weight: Tensor, axis: int) -> None:
        self.write(self._alone(operand, node), weight, axis)

    def _project(self, node: Node, weight: Tensor, reason: Stuck) -> None:
        """Give the identity shortcut of the block that a sum closes the weight ``W``."""
        path = path_of(node)
        block = self._wiring.network.get_submodule(path)
        spare = [name for name, module in block.named_children() if type(module) is nn.Identity]
        if len(spare) != 1:
            raise Stuck(f"{reason}, and {path or 'the network'} has no shortcut module that could be a projection")
        self.projections[f"{path}.{spare[0]}" if path else spare[0]] = weight

    # -- W forwards ----------------------------------------------------------------------------------------------

    def read(self, node: Node, weight: Tensor, axis: int, spread: int = 1) -> None:
        """Change what reads a value so that each reader sees ``W x``."""
        for user in self._readers(node):
            layer = wires.layer_of(user)
            if layer is not None and user.args[0] is node:
                if layer.groups > 1:
                    raise Stuck(f"{_spoken(user)} is a grouped convolution")
                each = torch.kron(weight.contiguous(), torch.eye(spread, dtype=weight.dtype))
                moved = torch.tensordot(self._tensor(layer.weight), each, dims=([1], [0]))
                self._set(layer.weight, moved.movedim(-1, 1))
            elif operator_name(user) in wires.MAXIMA:
                raise Stuck(f"{_spoken(user)} reads it channel by channel")
            else:
                self.read(user, weight, *self._onward(node, user, axis, spread))

    # -- b -------------------------------------------------------------------------------------------------------

    def shift_writer(self, node: Node, shift: Tensor, axis: int) -> None:
        """Change what writes a value so that ``b`` is added to it."""
        norm = wires.norm_arguments(wires.value_of(node))
        layer = wires.layer_of(node)
        bias = layer.bias if layer is not None else norm[2] if norm is not None else None
        if bias is not None:
            self._set(bias, self._tensor(bias) + shift)
        elif node in self._wiring.names:
            self._set(node, self._tensor(node) + wires.along(shift, axis, self._tensor(node).ndim))
        elif operator_name(node) in wires.ADDITIONS:
            self._shift_one_operand(node, shift, axis)
        elif layer is not None or norm is not None:
            raise Stuck(f"{_spoken(node)} has no bias")
        else:
            source, before = self._source(node, axis)
            self.shift_writer(self._alone(source, node), shift, before)

    def _shift_one_operand(self, node: Node, shift: Tensor, axis: int) -> None:
        for operand in node.args[:2]:
            if isinstance(operand, Node) and len(sizes(operand)) == len(sizes(node)):
                step = partial(self._shift_operand, node, operand, shift, axis)
                if self.attempt(step) is None:
                    return
        raise Stuck(f"nothing that {_spoken(node)} adds has a bias")

    def _shift_operand(self, node: Node, operand: Node, shift: Tensor, axis: int) -> None:
        self.shift_writer(self._alone(operand, node), shift, axis)

    def shift_reader(self, node: Node, shift: Tensor, axis: int, spread: int = 1) -> None:
        """Change what reads a value as it is so that it acts as if ``b`` had been added to it."""
        for user in self._readers(node):
            norm, layer = wires.norm_arguments(user), wires.layer_of(user)
            if norm is not None and axis == 1 and spread == 1:
                self._set(norm[3], self._tensor(norm[3]) - shift)
            elif layer is not None and user.args[0] is node:
                self._shift_layer(user, layer, shift.repeat_interleave(spread))
            elif operator_name(user) in wires.ADDITIONS and len(sizes(user)) == len(sizes(node)):
                self.shift_reader(user, shift * user.args[:2].count(node), axis, spread)
            elif operator_name(user) in wires.MAXIMA and axis == 1:
                # Padding of a maximum never wins, so that a shift passes it.
                self.shift_reader(user, shift, axis, spread)
            else:
                self.shift_reader(user, shift, *self._onward(node, user, axis, spread))

    def _shift_layer(self, user: Node, layer: wires.Layer, shift: Tensor) -> None:
        if layer.padded or layer.groups > 1:
            raise Stuck(f"{_spoken(user)} pads with zeros, which no bias can pass, or is grouped")
        weight = self._tensor(layer.weight)
        passed = weight.reshape(*weight.shape[:2], -1).sum(2) @ shift
        if layer.bias is not None:
            self._set(layer.bias, self._tensor(layer.bias) + passed)
        else:
            self.shift_reader(user, passed, len(sizes(user)) - 1 if operator_name(user) == "linear" else 1)

    # -- the graph -----------------------------------------------------------------------------------------------

    def _readers(self, node: Node) -> list[Node]:
        readers = [user for user in node.users if user.target not in SHAPE_OPERATORS]
        if any(user.op == "output" for user in readers):
            raise Stuck(f"{_spoken(node)} is the output")
        return readers

    def _alone(self, source: Node, reader: Node) -> Node:
        """A value that nothing but its one reader sees, so that it may change."""
        if [user for user in source.users if user.target not in SHAPE_OPERATORS] != [reader]:
            raise Stuck(f"{_spoken(source)} is read by others than {_spoken(reader)}")
        return source

    def _source(self, node: Node, axis: int) -> tuple[Node, int]:
        """The value that a node only moves or averages, and where the channels stand in it."""
        source, name = node.args[0] if node.args else None, operator_name(node)
        if isinstance(source, Node) and node.op == "call_function":
            if name in wires.COPIES:
                return source, axis
            if name in wires.VIEWS | wires.EXCHANGES:
                before = wires.axis_across(node, source, axis)
                if before is not None:
                    return source, before
            if wires.is_mean_over_positions(node, axis) and len(sizes(node)) == len(sizes(source)):
                return source, axis
        raise Stuck(f"{_spoken(node)} is not linear, channel by channel, in what a layer writes")

    def _onward(self, node: Node, user: Node, axis: int, spread: int) -> tuple[int, int]:
        """Where the channels stand in what a reader that only moves or averages makes of a value."""
        name = operator_name(user)
        if name in wires.COPIES:
            return axis, spread
        if wires.is_mean_over_positions(user, axis):
            return wires.axis_after_mean(user, axis), spread
        if name in wires.VIEWS | wires.EXCHANGES:
            after = wires.axis_across(node, user, axis)
            flat = wires.spread_of(node, user, axis)
            if after is not None:
                return after, spread
            if flat is not None:
                return 1, spread * flat
        raise Stuck(f"{_spoken(user)} reads it channel by channel")

    def _tensor(self, node: Node) -> Tensor:
        name = self._wiring.names.get(node)
        if name not in self.tensors or name is None:
            raise Stuck(f"{_spoken(node)} is no weight of the network")
        return self.tensors[name]

    def _set(self, node: Node, value: Tensor) -> None:
        if len(node.users) > 1:
            raise Stuck(f"{self._wiring.names[node]} is used more than once")
        self.tensors[self._wiring.names[node]] = value


def _spoken(node: Node) -> str:
    path = path_of(node)
    return f"{operator_name(node)} in {path}" if path else operator_name(node)

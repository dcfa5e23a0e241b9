"""One run of a network, watched: which modules end, in which order, with which tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from modelstitch.cut.frozen import standard_attention
from modelstitch.cut.replayed.layers import Layers
from modelstitch.cut.replayed.structures import first_tensor, same, tensors_in
from modelstitch.cut.untouched import own_state


@dataclass(frozen=True)
class End:
    """The end of one call of a module.

    Attributes:
        path: of the module.
        open: paths of the modules still running, outermost first, the root left out.
    """

    path: str
    open: tuple[str, ...]


@dataclass
class Value:
    """A tensor that modules gave, as it was when they gave it.

    Attributes:
        tensor: the tensor itself, which may have been overwritten since.
        version: how often it had been written into.
        copy: its values.
        ends: of the modules that gave it, outermost first.
        layers: that had run.
        depth: of them, those on the longest path to this tensor.
        flops: floating-point operations so far.
    """

    tensor: Tensor
    version: int
    copy: Tensor
    ends: list[End]
    layers: int
    depth: int
    flops: int

    def is_still(self, tensor: Tensor) -> bool:
        """Whether this is that tensor, not written into since: an in-place module gives the same tensor anew."""
        return self.tensor is tensor and self.version == _version(tensor) and same(self.copy, tensor)


@dataclass(frozen=True)
class Recording:
    """What one run shows.

    Attributes:
        values: what modules that ran once gave, in order, without what is the output itself.
        output: names of the modules that gave the output, outermost first; empty where it holds several tensors.
        order: the module paths, in the order of their ends.
        inside: layers that ran inside each path.
        layers: on the longest path.
        flops: floating-point operations.
        answer: what the network answered.
    """

    values: list[Value]
    output: tuple[str, ...]
    order: list[str]
    inside: Counter[str]
    layers: int
    flops: int
    answer: Any


def record(view: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Recording:
    """Run a view once under hooks that are removed again."""
    watch = _Watch(view)
    answer = watch.run(args, kwargs)
    found = tensors_in(answer)
    last = watch.values.pop() if len(found) == 1 and watch.values and watch.values[-1].is_still(found[0]) else None
    once = {path for path, times in watch.times.items() if times == 1}
    for value in watch.values:
        value.ends = [end for end in value.ends if end.path in once]
    return Recording(
        values=[value for value in watch.values if value.ends],
        output=tuple(end.path for end in last.ends if end.path in once) if last else (),
        order=watch.order,
        inside=watch.layers.inside,
        layers=watch.layers.longest,
        flops=watch.flops.get_total_flops(),
        answer=answer,
    )


class _Watch:
    """The hooks of one run, and what they saw."""

    def __init__(self, view: nn.Module) -> None:
        self.view = view
        self.values: list[Value] = []
        self.order: list[str] = []
        self.times: Counter[str] = Counter()
        self.flops = FlopCounterMode(display=False)
        self._numbers = count()

    def run(self, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Any:
        handles = []
        args, kwargs = [t.clone() for t in args], {name: t.clone() for name, t in kwargs.items()}
        try:
            for path, module in self.view.named_modules():
                handles += [
                    module.register_forward_pre_hook(self._begin(path)),
                    module.register_forward_hook(self._end(path)),
                ]
            with own_state(self.view), torch.no_grad(), standard_attention():
                self.layers = Layers(self.view, (*args, *kwargs.values()))
                with self.flops, self.layers:
                    return self.view(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, path: str) -> Callable[..., None]:
        return lambda *_: self.layers.calls.append((next(self._numbers), path))

    def _end(self, path: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: Any, given: Any) -> None:
            # Calls inside that never ended were broken off, as a bottom inside the network does.
            while self.layers.calls.pop()[1] != path:
                pass
            if not path:
                return
            self.order.append(path)
            self.times[path] += 1
            tensor = first_tensor(given)
            if tensor is not None:
                self._note(tensor, End(path, tuple(name for _, name in self.layers.calls if name)))

        return note

    def _note(self, tensor: Tensor, end: End) -> None:
        if self.values and self.values[-1].is_still(tensor):
            self.values[-1].ends.insert(0, end)
            return
        layers, depth, flops = self.layers.count, self.layers.below(tensor), self.flops.get_total_flops()
        self.values.append(Value(tensor, _version(tensor), tensor.clone(), [end], layers, depth, flops))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version

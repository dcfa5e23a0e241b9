"""Cutting by replay: hooks on a frozen view, for networks that ``torch.export`` refuses.

A bottom runs the network on its input and takes a copy of a module's output. A top runs the *whole* network on noise
and puts the given tensor in that module's place. Whether nothing else crosses there cannot be read from a graph, so it
is tried: an input's activation, put into a run on noise, must give that input's output bit for bit. Hooks sit on the
view, never on the user's modules, and are removed in a ``finally``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from modelstitch.cut.form import Entry, Whole, input_names
from modelstitch.cut.frozen import SwitchingNorm, pair_up, standard_attention
from modelstitch.cut.norms import switching_view
from modelstitch.cut.part import Capture
from modelstitch.cut.place import Cut, Place, names_of, pick_blocks
from modelstitch.errors import NotCuttable
from modelstitch.seeding import generator
from modelstitch.tensors import Kind

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d)


@dataclass
class _Event:
    """One module's end in one run."""

    path: str
    value: Tensor
    open: tuple[str, ...]
    layers: int
    flops: int


class Replayed(Capture):
    """A network cut by hooks at the ends of its modules."""

    def __init__(self, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], reason: str) -> None:
        self.name, self.replayed = type(view).__name__, reason
        self.view, self._modules = view, dict(view.named_modules())
        self._args = tuple(pair_up(t) for t in args)
        self._kwargs = {key: pair_up(t) for key, t in kwargs.items()}
        given = [*self._args, *self._kwargs.values()]
        named = list(self._kwargs) or input_names(view, len(given))
        pairs = zip(named, given, strict=True)
        self.entries = tuple(Entry(name, tuple(t.shape[1:]), t.dtype, bool(self._kwargs)) for name, t in pairs)
        self._events, self._totals = self._record()
        self._check_repeatable()
        legal = [group for group in self._groups() if self._crosses_alone(group[0])]
        places = [self._place(group) for group in legal]
        inside = {path: self._layers_inside(path) for path in ("", *self._modules)}
        picked = pick_blocks(places, self._modules, inside)
        self._path_of = {"input": "", "output": ""}
        cuts = [self._end("input", self._main)]
        for i, ((name, aliases), group) in enumerate(zip(names_of(places, picked), legal, strict=True)):
            self._path_of[name] = group[0].path
            event = group[0]
            depth, cost = event.layers / max(1, self._totals[0]), event.flops / max(1, self._totals[1])
            cuts.append(Cut(name, aliases, tuple(event.value.shape[1:]), places[i].kind, depth, cost, i in picked))
        output = self._run()
        if isinstance(output, Tensor):
            cuts.append(self._end("output", output))
        self.cuts = tuple(cuts)

    @property
    def _main(self) -> Tensor:
        return (*self._args, *self._kwargs.values())[0]

    def _end(self, name: str, value: Tensor) -> Cut:
        share = float(name == "output")
        return Cut(name, (), tuple(value.shape[1:]), _kind_by_rank(value), share, share, False)

    def _run(self) -> Any:
        with torch.no_grad(), standard_attention():
            # Copies: a forward may write into what it is given.
            args, kwargs = [t.clone() for t in self._args], {key: t.clone() for key, t in self._kwargs.items()}
            return self.view(*args, **kwargs)

    def _record(self) -> tuple[list[_Event], tuple[int, int]]:
        events: list[_Event] = []
        running: list[str] = []
        layers = 0

        def begin(path: str) -> Callable[..., None]:
            return lambda *_: running.append(path)

        def end(path: str) -> Callable[..., None]:
            def note(module: nn.Module, inputs: Any, value: Any) -> None:
                nonlocal layers
                running.remove(path)
                layers += isinstance(module, _LAYERS)
                if isinstance(value, Tensor) and path:
                    events.append(_Event(path, value, tuple(running[1:]), layers, counter.get_total_flops()))

            return note

        handles = []
        try:
            for path, module in self._modules.items():
                handles += [module.register_forward_pre_hook(begin(path)), module.register_forward_hook(end(path))]
            with FlopCounterMode(display=False) as counter:
                self._run()
        finally:
            for handle in handles:
                handle.remove()
        return events, (layers, counter.get_total_flops())

    def _check_repeatable(self) -> None:
        first, second = (pytree.tree_leaves(self._run()) for _ in range(2))
        if not any(isinstance(a, Tensor) for a in first):
            raise NotCuttable(
                f"to cut {self.name}",
                f"an output in which no tensor can be seen: {type(first[0]).__name__ if first else 'nothing'}",
                "return a tensor, or tensors in tuples, lists or dicts",
            )
        if not all(not isinstance(a, Tensor) or torch.equal(a, b) for a, b in zip(first, second, strict=True)):
            raise NotCuttable(
                f"to cut {self.name}",
                "two runs on one input differ in eval mode, so no half of it can be checked",
                "take the randomness out of its forward in eval mode",
            )

    def _groups(self) -> list[list[_Event]]:
        """Module ends that give the very same tensor, outermost first; modules that run twice are left out."""
        once = [e for e in self._events if sum(o.path == e.path for o in self._events) == 1]
        groups: list[list[_Event]] = []
        for event in once:
            if groups and groups[-1][0].value is event.value:
                groups[-1].insert(0, event)
            else:
                groups.append([event])
        rows = self._main.shape[0]
        return [g for g in groups if g[0].value.ndim >= 2 and g[0].value.shape[0] == rows]

    def _crosses_alone(self, event: _Event) -> bool:
        if event.path == self._events[-1].path:
            return False
        with torch.no_grad():
            expected = pytree.tree_leaves(self._run())
            inputs = (*self._args, *self._kwargs.values())
            value = _Taking(self, [event.path])(*inputs)[0]
            given = _Putting(self, event.path)(value, *inputs[1:])
        pairs = zip(expected, pytree.tree_leaves(given), strict=True)
        return all(not isinstance(a, Tensor) or torch.equal(a, b) for a, b in pairs)

    def _place(self, group: list[_Event]) -> Place:
        event = group[0]
        kind, shape = self._kind(event), event.value.shape
        pooled = kind == "vector" or (kind == "map" and all(size == 1 for size in shape[2:]))
        raw = event.layers == 0 and shape.numel() == self._main.numel()
        return Place(tuple(e.path for e in group), event.open, event.path, event.layers, kind, pooled, raw)

    def _kind(self, event: _Event) -> Kind:
        later = self._events[self._events.index(event) :]
        near = any(isinstance(self._modules[e.path], _CHANNELS_FIRST) for e in later)
        return "map" if event.value.ndim == 3 and near else _kind_by_rank(event.value)

    def _layers_inside(self, path: str) -> int:
        return sum(isinstance(m, _LAYERS) for m in self._modules[path].modules())

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        return _Taking(self, [c.name if c.name in ("input", "output") else self._path_of[c.name] for c in cuts])

    def _top(self, cut: Cut) -> tuple[nn.Module, Any]:
        run = _Giving() if cut.name == "output" else _Putting(self, self._path_of[cut.name])
        return run, Whole()

    def _crossing(self, name: str) -> Sequence[str] | None:
        if name not in self._modules or not name:
            return None
        return [name, "and at least one tensor that only the exported graph could name"]

    def _nearest(self, name: str) -> Sequence[str]:
        return [cut.name for cut in self.blocks][:2]


@dataclass(frozen=True)
class _Noise:
    """What a top runs its network on: numbers like those of the main input, of which nothing may come through."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    other: int

    @classmethod
    def like(cls, example: Tensor) -> _Noise:
        # Other than the example, so that it shows when the input itself crosses.
        return cls(tuple(example.shape[1:]), example.dtype, int(not example.any()))

    def of(self, rows: int, device: torch.device) -> Tensor:
        shape = (rows, *self.shape)
        if not self.dtype.is_floating_point:
            return torch.full(shape, self.other, dtype=self.dtype, device=device)
        return torch.randn(shape, generator=generator("replay")).to(device=device, dtype=self.dtype)


def _kind_by_rank(value: Tensor) -> Kind:
    return "vector" if value.ndim == 2 else "map" if value.ndim == 4 else "tokens"


@contextmanager
def _hooked(view: nn.Module, hooks: dict[str, Callable[..., Any]]) -> Iterator[None]:
    handles = [view.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


R = TypeVar("R", bound="_Replay")


class _Replay(nn.Module):
    """Runs a view under hooks."""

    def __init__(self, capture: Replayed) -> None:
        super().__init__()
        self.view, self._names = capture.view, list(capture._kwargs)

    def _call(self, hooks: dict[str, Callable[..., Any]], args: Sequence[Tensor], kwargs: dict[str, Tensor]) -> Any:
        """Inputs given in order go to the keywords that the network was captured with, if there were any."""
        args, kwargs = [t.clone() for t in args], {key: t.clone() for key, t in kwargs.items()}
        named = dict(zip(self._names, args, strict=False)) | kwargs
        with _hooked(self.view, hooks), standard_attention():
            return self.view(**named) if self._names else self.view(*args, **kwargs)

    def switching(self: R) -> R:
        """A copy over a view whose batch norms follow train and eval mode."""
        twin = copy.copy(self)
        twin._modules = {"view": switching_view(self.view)}
        return twin

    def train(self: R, mode: bool = True) -> R:
        """Only norms that switch follow: dropout and the like stay as in eval mode, as in an exported graph."""
        self.training = mode
        for module in self.view.modules():
            module.training = mode and isinstance(module, SwitchingNorm)
        return self


class _Giving(nn.Module):
    """The top at the output: the tensor itself, whatever side inputs come with it."""

    def forward(self, value: Tensor, *side: Tensor, **kwargs: Tensor) -> Tensor:
        return value


class _Taking(_Replay):
    """Runs the view and gives copies of module outputs."""

    def __init__(self, capture: Replayed, paths: Sequence[str]) -> None:
        super().__init__(capture)
        self._paths = paths

    def forward(self, *args: Tensor, **kwargs: Tensor) -> tuple[Tensor, ...]:
        taken: dict[str, Tensor] = {"input": (*args, *kwargs.values())[0]}

        def take(path: str) -> Callable[..., None]:
            return lambda module, inputs, value: taken.__setitem__(path, value.clone())

        hooks = {path: take(path) for path in self._paths if path not in ("input", "output")}
        taken["output"] = self._call(hooks, args, kwargs)
        return tuple(taken[path] for path in self._paths)


class _Putting(_Replay):
    """Runs the view on noise with a module's output replaced by the tensor given; without a path, on the tensor."""

    def __init__(self, capture: Replayed, path: str) -> None:
        super().__init__(capture)
        self._like, self._path = _Noise.like(capture._main), path

    def forward(self, value: Tensor, *side: Tensor, **kwargs: Tensor) -> Any:
        if not self._path:
            return self._call({}, (value, *side), kwargs)
        noise = self._like.of(value.shape[0], value.device)
        return self._call({self._path: lambda *_: value}, (noise, *side), kwargs)

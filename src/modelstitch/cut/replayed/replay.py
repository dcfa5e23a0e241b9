"""A network cut by hooks: which ends of modules are legal cuts, tried one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut.captured import Capture
from modelstitch.cut.form import Entry, Whole, input_names
from modelstitch.cut.frozen import standard_attention
from modelstitch.cut.place import Cut, Place, names_of, pick_blocks
from modelstitch.cut.replayed.halves import INPUT, OUTPUT, Giving, Passing, Putting, Taking
from modelstitch.cut.replayed.noise import noise_for
from modelstitch.cut.replayed.recording import Recording, Value, record
from modelstitch.cut.replayed.structures import same, tensors_in, with_first
from modelstitch.cut.untouched import run_untouched
from modelstitch.errors import NotCuttable, StitchError
from modelstitch.support.tensors import Kind

_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d)
# Few, as every place is tried in a run of its own; and an odd number, as other axes are seldom of that length.
_ROWS = 3


class Replayed(Capture):
    """A network cut by hooks at the ends of its modules."""

    def __init__(self, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], reason: str) -> None:
        self.name, self.replayed = type(view).__name__, reason
        self.view, self._modules = view, dict(view.named_modules())
        self._args, self._kwargs = _few(args, kwargs)
        given = [*self._args, *self._kwargs.values()]
        named = zip(list(self._kwargs) or input_names(view, len(given)), given, strict=True)
        self.entries = tuple(Entry(name, tuple(t.shape[1:]), t.dtype, bool(self._kwargs)) for name, t in named)
        self._main = given[0]
        recording = self._recorded()
        self._noise = noise_for(self._main, recording.order, self._passed)
        legal = self._legal(recording)
        places = [self._place(value, recording) for value in legal]
        picked = pick_blocks(places, self._modules, recording.inside)
        self._path_of = {"input": INPUT, "output": OUTPUT}
        self._dtypes = {"input": self._main.dtype}
        cuts = [_end("input", self._main)]
        for i, ((name, aliases), value) in enumerate(zip(names_of(places, picked), legal, strict=True)):
            self._path_of[name] = value.ends[0].path
            self._dtypes[name] = value.copy.dtype
            depth, cost = value.depth / max(1, recording.layers), value.flops / max(1, recording.flops)
            cuts.append(Cut(name, aliases, tuple(value.copy.shape[1:]), places[i].kind, depth, cost, i in picked))
        found = tensors_in(recording.answer)
        if len(found) == 1:
            self._dtypes["output"] = found[0].dtype
            cuts.append(_end("output", found[0], tuple(name for name in recording.output if name != "output")))
        self._form = with_first(recording.answer, torch.empty(0))
        self.plain = isinstance(recording.answer, Tensor)
        self.cuts = tuple(cuts)

    # -- which ends of modules are cuts --------------------------------------------------------------------------

    def _legal(self, recording: Recording) -> list[Value]:
        """The values that cross alone, by one run each; before that, two runs on the example must agree."""
        if not tensors_in(recording.answer):
            raise NotCuttable(
                f"to cut {self.name}",
                f"an output in which no tensor can be seen: {type(recording.answer).__name__}",
                "return a tensor, or tensors in tuples, lists, dicts or dataclasses",
            )
        values = [v for v in recording.values if v.copy.ndim >= 2 and v.copy.shape[0] == _ROWS]
        paths = [value.ends[0].path for value in values]
        with torch.no_grad():
            # Taken as a bottom takes them: a run that is watched operator by operator may round differently.
            taken, answer = Taking(self.view, list(self._kwargs), [*paths, OUTPUT]).take(self._args, self._kwargs)
            self._check_repeatable(answer)
            pairs = zip(values, taken, strict=False)
            return [v for v, tensor in pairs if self._crosses_alone(v, tensor, answer, recording.order)]

    def _recorded(self) -> Recording:
        try:
            return record(self.view, self._args, self._kwargs)
        except StitchError:
            raise
        except Exception as problem:
            raise NotCuttable(
                f"to cut {self.name}",
                f"it runs alone, and not while its operators are counted: {problem}",
                "use PyTorch's own operators where tensors are read by other programs",
            ) from problem

    def _crosses_alone(self, value: Value, tensor: Tensor, answer: Any, order: Sequence[str]) -> bool:
        path = value.ends[0].path
        top = self._putting(path, value.copy.shape[1:])
        try:
            found, above = top.put(tensor, self._args[1:], dict(list(self._kwargs.items())[1:]))
        except NotCuttable:
            return False
        # An answer may be the same though the network went another way to it: then something else crosses.
        return above == order[order.index(path) :] and same(found, answer)

    def _passed(self, main: Tensor) -> list[str]:
        """The modules that a run on another main input passes."""
        args, kwargs = list(self._args), dict(self._kwargs)
        if args:
            args[0] = main
        else:
            kwargs[next(iter(kwargs))] = main
        with torch.no_grad():
            way: list[str] = Passing(self.view, [])(*args, **kwargs)
            return way

    def _check_repeatable(self, answer: Any) -> None:
        if same(answer, self._run()):
            return
        with _one_randomness(self._main):
            first = self._run()
        with _one_randomness(self._main):
            drawn = same(first, self._run())
        found, do = (
            ("it draws random numbers", "take the randomness out of its forward in eval mode")
            if drawn
            else (
                "it remembers something outside its modules, draws from numpy, or an operator is not deterministic",
                "let its modules hold all that changes, and use deterministic operators",
            )
        )
        raise NotCuttable(
            f"to cut {self.name}",
            f"two runs on one input differ in eval mode, so no half of it can be checked: {found}",
            do,
        )

    def _run(self) -> Any:
        with torch.no_grad(), standard_attention():
            return run_untouched(self.view, self._args, self._kwargs)

    def _place(self, value: Value, recording: Recording) -> Place:
        path, shape = value.ends[0].path, value.copy.shape
        later = recording.order[recording.order.index(path) :]
        near = any(isinstance(self._modules[other], _CHANNELS_FIRST) for other in later)
        kind = "map" if len(shape) == 3 and near else _kind_by_rank(value.copy)
        pooled = kind == "vector" or (kind == "map" and all(size == 1 for size in shape[2:]))
        raw = value.layers == 0 and shape.numel() == self._main.numel()
        closed = tuple(end.path for end in value.ends)
        return Place(closed, value.ends[0].open, path, value.layers, kind, pooled, raw)

    # -- halves --------------------------------------------------------------------------------------------------

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        return Taking(self.view, list(self._kwargs), [self._path_of[cut.name] for cut in cuts])

    def _top(self, cut: Cut) -> tuple[nn.Module, Callable[[Any], Any]]:
        if cut.name == "output":
            return Giving(), partial(with_first, self._form)
        return self._putting(self._path_of[cut.name], cut.shape), Whole()

    def _putting(self, path: str, shape: Sequence[int | None]) -> Putting:
        words = self._main.ndim == 2 and not self._main.is_floating_point()
        # The numbers of a sentence may be more or fewer than in the example, and so may the tensors made of them.
        follow = words and len(shape) > 1 and shape[0] == self._main.shape[1]
        return Putting(self.view, list(self._kwargs), path, self._noise, follow=follow)

    def _dtype(self, cut: Cut) -> torch.dtype:
        return self._dtypes[cut.name]

    def _crossing(self, name: str) -> Sequence[str] | None:
        if name not in self._modules or not name:
            return None
        return [name, "and at least one tensor that only the exported graph could name"]

    def _nearest(self, name: str) -> Sequence[str]:
        return [cut.name for cut in self.blocks][:2]


@contextmanager
def _one_randomness(main: Tensor) -> Iterator[None]:
    """The same random numbers of torch's each time; afterwards its generators are as before."""
    with torch.random.fork_rng([main.device] if main.is_cuda else []):
        torch.manual_seed(0)
        yield


def _few(args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """A few rows of every input that has as many as the main one; repeated, where there are fewer."""
    rows = (*args, *kwargs.values())[0].shape[0]

    def few(tensor: Tensor) -> Tensor:
        return tensor.detach()[torch.arange(_ROWS) % rows] if tensor.shape[0] == rows else tensor.detach()

    return tuple(map(few, args)), {name: few(tensor) for name, tensor in kwargs.items()}


def _end(name: str, value: Tensor, aliases: tuple[str, ...] = ()) -> Cut:
    share = float(name == "output")
    return Cut(name, aliases, tuple(value.shape[1:]), _kind_by_rank(value), share, share, False)


def _kind_by_rank(value: Tensor) -> Kind:
    return "vector" if value.ndim == 2 else "map" if value.ndim == 4 else "tokens"

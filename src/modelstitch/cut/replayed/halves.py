"""Bottoms and tops of a replayed network: the view, run under hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

from modelstitch.cut.frozen import SwitchingNorm, standard_attention
from modelstitch.cut.norms import switching_view
from modelstitch.cut.replayed.noise import Noise
from modelstitch.cut.replayed.structures import first_tensor, with_first
from modelstitch.cut.untouched import run_untouched
from modelstitch.errors import NotCuttable, StitchError

# Places that are no module's end; no module path holds a space.
INPUT, OUTPUT = "the input", "the output"

Hook = Callable[[nn.Module, Any, Any], Any]


class _Enough(BaseException):
    """Ends a run once a bottom has its tensors; no ``Exception``, so that no forward takes it for one of its own."""


R = TypeVar("R", bound="Replay")


class Replay(nn.Module):
    """Runs a view under hooks; nothing of its state and of the inputs changes.

    Args:
        view: the frozen network.
        names: the keywords of its inputs, in order; empty where it takes them by position.
    """

    def __init__(self, view: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.view, self._names = view, tuple(names)

    def _call(self, hooks: Mapping[str, Hook], args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Any:
        """Inputs given in order go to the keywords that the network was captured with, if there were any."""
        with _hooked(self.view, hooks), standard_attention():
            if not self._names:
                return run_untouched(self.view, args, kwargs)
            return run_untouched(self.view, (), dict(zip(self._names, args, strict=False)) | dict(kwargs))

    def _main(self, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Tensor:
        return args[0] if args else kwargs[self._names[0]] if self._names else next(iter(kwargs.values()))

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


class Taking(Replay):
    """Gives copies of what modules give, and stops after the last of them.

    Args:
        view: the frozen network.
        names: as for :class:`Replay`.
        places: module paths; ``INPUT`` and ``OUTPUT`` for the two ends.
    """

    def __init__(self, view: nn.Module, names: Sequence[str], places: Sequence[str]) -> None:
        super().__init__(view, names)
        self._places = tuple(places)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> tuple[Tensor, ...]:
        """The tensors at the places, in their order."""
        return self.take(args, kwargs)[0]

    def take(self, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], Any]:
        """The tensors at the places, and what the network answers; None where it was stopped before."""
        taken: dict[str, Tensor | None] = {INPUT: self._main(args, kwargs)}
        wanted, enough = set(self._places), _Enough()

        def taking(path: str) -> Hook:
            def hook(module: nn.Module, inputs: Any, given: Any) -> None:
                found = first_tensor(given)
                # A copy: what comes next may write into it.
                taken[path] = None if found is None else found.clone()
                if taken.keys() >= wanted:
                    raise enough

            return hook

        answer = None
        if not taken.keys() >= wanted:
            try:
                answer = self._call({path: taking(path) for path in wanted - {INPUT, OUTPUT}}, args, kwargs)
                taken[OUTPUT] = first_tensor(answer)
            except _Enough as reached:
                # A network may hold halves itself, which are not to stop each other's runs.
                if reached is not enough:
                    raise
        return tuple(_found(taken, place) for place in self._places), answer


class Passing(Replay):
    """Tells which modules a run passes."""

    def forward(self, *args: Tensor, **kwargs: Tensor) -> list[str]:
        """Their paths, in the order of their ends."""
        way: list[str] = []

        def noting(path: str) -> Hook:
            return lambda *_: way.append(path)

        self._call({path: noting(path) for path, _ in self.view.named_modules() if path}, args, kwargs)
        return way


class Putting(Replay):
    """Runs the view on noise, with a tensor in the place of what a module gives.

    Args:
        view: the frozen network.
        names: as for :class:`Replay`.
        path: of the module; ``INPUT`` runs the view on the tensor itself.
        noise: for the layers below.
        follow: whether the noise is as long as the tensor: a sentence of words.
    """

    def __init__(self, view: nn.Module, names: Sequence[str], path: str, noise: Noise, *, follow: bool) -> None:
        super().__init__(view, names)
        self._path, self._noise, self._follow = path, noise, follow

    def forward(self, value: Tensor, *side: Tensor, **kwargs: Tensor) -> Any:
        """What the network answers when that tensor crosses."""
        if self._path == INPUT:
            return self._call({}, (value, *side), kwargs)
        return self.put(value, side, kwargs)[0]

    def put(self, value: Tensor, side: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> tuple[Any, list[str]]:
        """What the network answers when that tensor crosses, and which modules ended from there on."""
        times, above = 0, list[str]()

        def put(module: nn.Module, inputs: Any, given: Any) -> Any:
            nonlocal times
            times += 1
            above.append(self._path)
            # A copy: what comes next may write into it.
            return with_first(given, value.clone())

        def note(path: str) -> Hook:
            return lambda *_: above.append(path) if above else None

        paths = [path for path, _ in self.view.named_modules() if path and path != self._path]
        rows = self._noise.rows(value, self._follow)
        with _within_domain(self._path):
            answer = self._call({**{path: note(path) for path in paths}, self._path: put}, (rows, *side), kwargs)
        if times != 1:
            raise _another_way(self._path, f"ran {times} times" if times else "did not run")
        return answer, above


class Giving(nn.Module):
    """The top at the output: the tensor itself, whatever side inputs come with it."""

    def forward(self, value: Tensor, *side: Tensor, **kwargs: Tensor) -> Tensor:
        """The tensor."""
        return value


def _found(taken: Mapping[str, Tensor | None], place: str) -> Tensor:
    found = taken.get(place)
    if found is None:
        raise _another_way(place, "gave no tensor" if place in taken else "did not run")
    return found


def _another_way(path: str, here: str) -> NotCuttable:
    return NotCuttable(
        f"to run the layers on one side of {path!r}",
        f"a network whose way depends on its data: {path!r} ran once when it was captured, and here it {here}",
        "cut at a place that the network passes once, whatever its input",
    )


@contextmanager
def _within_domain(path: str) -> Iterator[None]:
    """The one place where errors of the network's own code on noise are met; on its input it raises none."""
    try:
        yield
    except StitchError:
        raise
    except Exception as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise NotCuttable(
            f"to run the layers after {path!r} alone",
            f"a network that is replayed whole on noise, and refuses it: {told}",
            "cut it elsewhere, or make it exportable by torch.export, which needs no noise",
        ) from problem


@contextmanager
def _hooked(view: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    handles = [view.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

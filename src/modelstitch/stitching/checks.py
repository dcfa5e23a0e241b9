"""What is checked before any number: that networks, targets and task belong together, and that halves make a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modelstitch.compute import exact_float32, home_of
from modelstitch.cut import Capture, Cut, capture
from modelstitch.cut.frozen import frozen_view, standard_attention
from modelstitch.cut.untouched import own_state
from modelstitch.data import Batch, Examples, side_inputs
from modelstitch.errors import NotCuttable, NumericalFailure, TaskMismatch
from modelstitch.networks import Network, check_raw
from modelstitch.penalty import BATCH
from modelstitch.support.tensors import Inputs, call, leaves
from modelstitch.tasks import Task, answer_of, guess

_CHECKED = 64
NamedNetwork = tuple[str, nn.Module]


def settled_task(
    task: Task | None, networks: Sequence[NamedNetwork], examples: Examples, bottoms: Sequence[NamedNetwork] = ()
) -> Task:
    """The task that was given, or the one that it can only be; the answers of every network that lends tops suit it.

    Args:
        task: as the caller gave it.
        networks: those whose whole answers are judged, the one that lends its top last.
        examples: to measure on.
        bottoms: those that lend bottoms alone: what they answer is not looked at, so they need no head.

    Raises:
        TaskMismatch: the answers of one of them, the targets and the task do not belong together.
        NumericalFailure: one of them answers with numbers that are not finite.
        SettingError: the task cannot be guessed.
        ShapeMismatch: one of them refuses the examples.
    """
    batch = examples.batch(slice(0, _CHECKED))
    _answers(bottoms, batch, examples)
    answers = _answers(networks, batch, examples)
    last = answers[networks[-1][0]]
    if task is None:
        try:
            task = guess(examples, last)
        except TaskMismatch as error:
            raise TaskMismatch(f"{error.asked} of {networks[-1][0]}", error.found, error.do) from error
    for name, found in answers.items():
        _check(name, found, Batch(batch.inputs, answer_of(last)) if task.answers_are_targets else batch, task)
    return task


def settled_both(
    task: Task | None, a: NamedNetwork, b: NamedNetwork, examples: Examples
) -> tuple[Task, dict[str, TaskMismatch]]:
    """The task of two networks that both may lend tops; one of them may lack a head, and lends bottoms alone.

    Args:
        task: as the caller gave it.
        a: the one network.
        b: the other.
        examples: to measure on.

    Returns:
        The task, and by the name of a network without a head why it is none; see `settled_task` for what is raised.
    """
    refusals: dict[str, TaskMismatch] = {}
    settled: Task | None = None
    for top, bottom in ((b, a), (a, b)):
        try:
            settled = settled_task(settled or task, [top], examples, [bottom])
        except TaskMismatch as error:
            refusals[top[0]] = error
    if settled is None:
        raise refusals[b[0]]
    return settled, refusals


def _answers(networks: Sequence[NamedNetwork], batch: Batch, examples: Examples) -> dict[str, Any]:
    """What each network answers to a batch, all of it finite."""
    answers: dict[str, Any] = {}
    for name, network in networks:
        check_raw(name, network, batch.inputs)
        answers[name] = _answer(network, batch)
        if answers[name] is None:
            # It refuses the data; capturing it says why.
            capture(network, batch.to(home_of(network)).inputs)
        if not _finite(answers[name]):
            # Asked before anything is cut: NaN is unequal to itself, so every check of the halves would blame them.
            asked, do = f"to run {name} on {examples.name!r}", "train it again, or load sound weights"
            raise NumericalFailure(asked, "scores that are not finite", do)
    return answers


def _check(name: str, outputs: Any, batch: Batch, task: Task) -> None:
    try:
        task.check(outputs, batch)
    except TaskMismatch as error:
        raise TaskMismatch(f"{error.asked} by {name}", error.found, error.do) from error


def _finite(outputs: Any) -> bool:
    tensors = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return all(bool(leaf.isfinite().all()) for leaf in tensors)


def _answer(network: nn.Module, batch: Batch) -> Any:
    """A network's answer in eval mode, by a frozen view that leaves its mode alone; None if it refuses."""
    try:
        view = frozen_view(network)
        with torch.no_grad(), own_state(view):
            return call(view, batch.to(home_of(network)).inputs)
    except NotCuttable:
        raise
    except Exception:  # its own code may raise anything; capturing it says what
        return None


def check_identity(one: Network, cuts: Sequence[Cut], examples: Examples) -> None:
    """Before any experiment: each cut, stitched to itself with the identity, gives the frozen network bit for bit.

    A graph is the same for all examples, so the first of them tell. A network that is replayed may go another way for
    each, so all are run, once for each cut and set of examples.

    Raises:
        NotCuttable: it does not, so no number measured there could be trusted.
    """
    fresh = list(dict.fromkeys(cuts))
    if not one.captured.replayed:
        return _check_batch(one, fresh, examples.batch(slice(0, _CHECKED)).to(one.device).inputs)
    done = _SEEN.setdefault(one.captured, WeakKeyDictionary()).setdefault(examples, set())
    fresh = [cut for cut in fresh if cut not in done]
    for index in torch.split(examples.order(), BATCH) if fresh else ():
        _check_batch(one, fresh, examples.batch(index).to(one.device).inputs)
    done.update(fresh)
    return None


# What has been checked already, of each replayed network on each set of examples.
_SEEN: WeakKeyDictionary[Capture, WeakKeyDictionary[Examples, set[Cut]]] = WeakKeyDictionary()


def _check_batch(one: Network, cuts: Sequence[Cut], inputs: Inputs) -> None:
    with torch.no_grad(), standard_attention(), exact_float32():
        expected = pytree.tree_leaves(call(one.captured.top("input"), inputs))
        for cut in cuts:
            activation = call(one.captured.bottom(cut), inputs)
            given = one.captured.top(cut).after(activation, side_inputs(inputs), leaves(inputs)[0])
            for found, wanted in zip(pytree.tree_leaves(given), expected, strict=True):
                if isinstance(wanted, Tensor) and not torch.equal(found, wanted):
                    raise _unlike(one, cut, found, wanted)


def _unlike(one: Network, cut: Cut, found: Tensor, wanted: Tensor) -> NotCuttable:
    differ = (
        "of other shapes" if found.shape != wanted.shape else f"that differ by up to {_distance(found, wanted):.3g}"
    )
    return NotCuttable(
        f"cut {cut.name!r} of {one.name} as a self-stitch",
        f"outputs {differ}, where none may",
        "cut elsewhere, and report the network: its halves do not make it whole",
    )


def _distance(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).abs().max())

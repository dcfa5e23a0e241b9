"""Networks and stitched networks tested: run over test examples, and judged by a task."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from modelstitch.activations import Activations, Sources, outputs_over, with_task
from modelstitch.compute import exact_float32, home_of
from modelstitch.cut import capture_of
from modelstitch.cut.frozen import frozen_view, standard_attention
from modelstitch.cut.untouched import own_state
from modelstitch.data import Examples, as_examples
from modelstitch.errors import DataError, NumericalFailure
from modelstitch.networks import Network, module_of
from modelstitch.parallel import ranks
from modelstitch.penalty.penalty import Penalty, penalties_of
from modelstitch.stitched import Stitched
from modelstitch.support.modes import own_modes
from modelstitch.support.tensors import call
from modelstitch.tasks import Outcome, Task, joined_outcome

Evaluated = Callable[..., Any]
"""Anything that is called with inputs and answers; an `nn.Module` is also put into eval mode while it is tested."""
BATCH = 512


@own_modes()
def evaluate(network: Evaluated | str, data: object, *, task: Task | None = None, batch_size: int = BATCH) -> Outcome:
    """Run a network over test examples, in their order, and judge its answers.

    No gradient is recorded. A module runs in eval mode on the device of its parameters, and every submodule's training
    flag is as it was afterwards, also after an error.

    Args:
        network: is called with the inputs of a batch; or a reference to it (`modelstitch.load_network`).
        data: the test examples: what `modelstitch.data.as_examples` takes.
        task: what its answers are judged by; guessed where it can only be one.
        batch_size: examples per batch; has no influence on the answers beyond rounding.

    Returns:
        The outcome of every example.

    Raises:
        TaskMismatch: the answers, the targets and the task do not belong together.
        DataError: there are no examples.
        NumericalFailure: an output is not finite.
    """
    network = _called(network)
    with _eval_mode(network):
        task, examples = with_task(as_examples(data), network, task)
    return judged(network, examples, task, size=batch_size)


def penalty(
    stitched: Evaluated, top_network: Evaluated | str, data: object, *, task: Task | None = None, seed: int = 0
) -> Penalty:
    """The penalty ``L(B>m ∘ s ∘ A≤l) - L(B)`` by the task's first score, with its paired interval.

    Args:
        stitched: the stitched network.
        top_network: the whole network ``B`` whose top it uses, or a reference to it.
        data: test examples that neither the networks nor the stitch have seen.
        task: what answers are judged by; guessed where it can only be one.
        seed: of the resampling behind the interval.

    Returns:
        In the unit of the score, positive where the stitched network is worse. `penalties` gives every score.

    Raises:
        TaskMismatch: the answers, the targets and the task do not belong together.
        DataError: there are no examples.
        NumericalFailure: an output is not finite.
    """
    return next(iter(penalties(stitched, top_network, data, task=task, seed=seed).values()))


@own_modes()
def penalties(
    stitched: Evaluated, top_network: Evaluated | str, data: object, *, task: Task | None = None, seed: int = 0
) -> dict[str, Penalty]:
    """The penalty by each of the task's scores, by its name; arguments and errors as of `penalty`."""
    top_network = _called(top_network)
    if isinstance(top_network, nn.Module):
        # The halves are frozen and use the standard attention; weights that take gradients, and the fused one, round
        # differently, so that a network could differ from its own halves in the last digits of its loss.
        top_network = frozen_view(top_network)
    with standard_attention():
        task, examples = with_task(as_examples(data), top_network, task)
        ours, theirs = (judged(network, examples, task) for network in (stitched, top_network))
    return penalties_of(ours, theirs, task, seed=seed)


def _called(network: Evaluated | str) -> Evaluated:
    """The module where a reference was given, or what `load_network` returned."""
    return module_of(network) if isinstance(network, (str, Network)) else network


@exact_float32()
def judged(network: Evaluated, examples: Examples, task: Task, *, size: int = BATCH) -> Outcome:
    """The outcome of a network by a task whose targets are there; modes and errors as of `evaluate`."""
    if not len(examples):
        raise DataError(asked=f"the outcome of {examples.name!r}", found="no examples", do="give at least one example")
    outcomes, indices = [], []
    with torch.no_grad(), _eval_mode(network):
        for index, outputs, batch in outputs_over(network, examples, size=size):
            task.check(outputs, batch)
            outcomes.append(task.judge(outputs, batch))
            indices.append(index)
    return joined_outcome(outcomes).take(torch.cat(indices).argsort())


@torch.no_grad()
@exact_float32()
def evaluate_all(
    stitched: Sequence[Stitched], sources: Sources, task: Task, *, size: int = BATCH
) -> list[Outcome | NumericalFailure]:
    """Test stitched networks over one bottom network together: the bottom runs once a batch.

    Args:
        stitched: in eval mode, with bottoms of one captured network.
        sources: the test examples, and what networks give over them.
        task: what answers are judged by.
        size: examples a batch; has no influence on the answers beyond rounding.

    Returns:
        For each its outcome, or why it has none; a failure stops no other.
    """
    sizes = [size * one.bottom.cut.bytes(sources.examples.longest) for one in stitched]
    parts = sources.compute.chunks(sizes)
    return [one for part in parts for one in _one_pass(stitched[part], sources, task, size)]


def _one_pass(
    stitched: Sequence[Stitched], sources: Sources, task: Task, size: int
) -> list[Outcome | NumericalFailure]:
    parts: list[list[Outcome]] = [[] for _ in stitched]
    failures: dict[int, NumericalFailure] = {}
    label = f"{len(stitched)} stitched networks on {sources.examples.name}"
    order = sources.examples.order()
    for activations, batch in _below(stitched, sources, size, order, label):
        for position, (one, activation) in enumerate(zip(stitched, activations, strict=True)):
            if position in failures:
                continue
            outputs = one.above(activation, batch)
            task.check(outputs, batch)
            try:
                parts[position].append(task.judge(outputs, batch))
            except NumericalFailure as failure:
                failures[position] = failure
    everyone = ranks().gathered((parts, failures))
    failures = {position: failure for _, found in reversed(everyone) for position, failure in found.items()}
    turn, whole = ranks().count, len(torch.split(order, size))
    # Whole batches in turn, not parts of each: kernels may round by the size of a batch, and so answers stay the same.
    return [
        failures.get(i)
        or joined_outcome([everyone[batch % turn][0][i][batch // turn] for batch in range(whole)]).take(order.argsort())
        for i in range(len(stitched))
    ]


def _below(
    stitched: Sequence[Stitched], sources: Sources, size: int, order: torch.Tensor, label: str
) -> Iterator[tuple[list[torch.Tensor], Any]]:
    """The activations below each stitch; bottoms with statistics of their own run one by one."""
    own = any(one.bottom.own_statistics for one in stitched)
    if not own:
        source: Activations = sources.of(capture_of(stitched[0].bottom))
        with source.opened():
            for _, found, batch in source.batches([one.bottom.cut for one in stitched], size, order, label=label):
                yield found, batch
        return
    home = home_of(stitched[0])
    for index in ranks().turns(torch.split(order, size)):
        batch = sources.examples.batch(index).to(home)
        yield [call(one.bottom, batch.inputs) for one in stitched], batch.without_main()


@contextlib.contextmanager
def _eval_mode(network: Evaluated) -> Iterator[None]:
    if not isinstance(network, nn.Module):
        yield
        return
    # The flags are set one by one: `train()` and `eval()` may be overridden, to keep layers frozen or to merge weights,
    # and would then not bring back what was there.
    before = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in before:
            module.training = False
        # A forward that counts its calls changes a buffer in eval mode too.
        with own_state(network):
            yield
    finally:
        for module, training in before:
            module.training = training

"""How a network learns its targets: SGD on a task's loss, as `modelstitch.pretraining.descent` has it.

Order and augmentation are keyed by seed and epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from modelstitch.activations import outputs_over
from modelstitch.compute import Compute, home_of
from modelstitch.cut.frozen import frozen_view
from modelstitch.data import Batch, Examples, Samples, as_examples, epoch_order, steps_per_epoch
from modelstitch.errors import DataError, SettingError, did_you_mean
from modelstitch.pretraining.descent import Curve, Schedule, descend
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import call
from modelstitch.tasks import Classification, Task, guess, joined_outcome

BATCH = 256
"""Examples that are judged at a time."""
_LOOKED_AT = 20


def train_supervised(
    network: nn.Module,
    data: object,
    *,
    schedule: Schedule,
    seed: int,
    task: Task | None = None,
    compute: Compute | None = None,
    after_epoch: Callable[[Curve], None] | None = None,
    freeze: Sequence[str] = (),
) -> Curve:
    """Train a network in place, and leave it in eval mode on the device where it was.

    Args:
        network: is called with the inputs of a batch; gives what the task judges, such as logits ``(n, classes)``.
        data: what to learn: `Examples`, augmented as they say, or what `modelstitch.data.as_examples` takes.
        schedule: how long and how fast.
        seed: keys the order of the examples and their augmentation.
        task: whose loss to lower; guessed where it can only be one.
        compute: where; by default this process's own device where there are several, else where the network is.
        after_epoch: called with the curve so far, to look at the network as it is then; it may change its mode and
            nothing else.
        freeze: names of modules, as shell patterns, that stay bit for bit as they are: no gradient, and batch norms
            by their running statistics.

    Returns:
        One row per epoch, measured on the augmented examples while they are learnt: ``epoch``, ``loss``, and of a
        classification ``error`` in percent.

    Raises:
        DataError: the examples cannot be learnt from.
        TaskMismatch: outputs, targets and task do not belong together.
        NumericalFailure: the loss is not finite.
        SettingError: a pattern that matches no module, nothing is left to train, or the task cannot be guessed.
    """
    examples = as_examples(data)
    if not steps_per_epoch(len(examples), schedule.batch_size):
        raise DataError(f"train on {examples.name!r}", f"{len(examples)} examples", "give two or more")
    task = task_for(network, examples, task)
    frozen = frozen_modules(network, freeze)
    held = [weight for one in frozen for weight in one.parameters() if weight.requires_grad]

    def batches(epoch: int) -> Iterator[Batch]:
        order = epoch_order(len(examples), schedule.batch_size, generator("order", seed, epoch))
        return examples.batches(schedule.batch_size, order, generator("augmentation", seed, epoch))

    for weight in held:
        weight.requires_grad_(False)
    try:
        return descend(
            network,
            batches,
            examples=len(examples),
            label=examples.name,
            task=task,
            schedule=schedule,
            compute=compute,
            after_epoch=after_epoch,
            frozen=frozen,
        )
    finally:
        for weight in held:
            weight.requires_grad_(True)


def task_for(network: nn.Module, examples: Examples, task: Task | None) -> Task:
    """The task that was given, or the one that it can only be; the number of classes is left to the network.

    Raises:
        TaskMismatch: no task fits the network's outputs and the targets.
        SettingError: several fit.
    """
    if task is not None:
        return task
    if isinstance(examples, Samples):
        return Classification()
    # Of the batch, not of the examples: a network may have outputs for more classes than it learns.
    batch = examples.batch(slice(0, _LOOKED_AT)).to(home_of(network))
    with torch.no_grad():
        return guess(batch, call(frozen_view(network), batch.inputs))


def scores_of(
    network: nn.Module, examples: Examples, task: Task, *, compute: Compute | None = None
) -> dict[str, float]:
    """What a network's answers are worth, by the name of each of the task's scores, in their units.

    Args:
        network: in eval mode, on any device; it is left on its own.
        examples: what to judge it on.
        task: by what.
        compute: where, as of `train_supervised`.

    Raises:
        TaskMismatch: outputs, targets and task do not belong together.
        NumericalFailure: an output is not finite.
    """
    outcomes = []
    with (compute or Compute()).hosting(network), torch.no_grad():
        for _, outputs, batch in outputs_over(network, examples, size=BATCH):
            task.check(outputs, batch)
            outcomes.append(task.judge(outputs, batch))
    sums = joined_outcome(outcomes).sums
    return {score.name: score.value(sums[score.name]) for score in task.scores}


def frozen_modules(network: nn.Module, freeze: Sequence[str]) -> list[nn.Module]:
    """The modules that patterns name, with all within them; errors as of `train_supervised`."""
    paths = dict(network.named_modules())
    for pattern in freeze:
        if not any(path and fnmatchcase(path, pattern) for path in paths):
            do = did_you_mean(pattern, paths, "name modules such as 'layer1.0', or 'layer1.*' for all within")
            raise SettingError(f"freeze {pattern!r}", f"no module of that name in {type(network).__name__}", do)
    found = [one for path, one in paths.items() if path and any(fnmatchcase(path, pattern) for pattern in freeze)]
    held = {id(weight) for one in found for weight in one.parameters()}
    if all(id(weight) in held for weight in network.parameters()):
        raise SettingError(f"freeze {', '.join(freeze)}", "nothing left to train", "leave something out")
    return found

"""Examples whose targets are a network's own answers: what makes every task possible without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from modelstitch.activations.run import outputs_over
from modelstitch.compute import exact_float32, home_of
from modelstitch.data import Batch, Examples
from modelstitch.errors import DataError
from modelstitch.support.tensors import call
from modelstitch.tasks import Task, answer_of, guess

_MOST = 4e9
# As what is judged (`modelstitch.penalty`): padded otherwise, a network would differ from itself in the last digit.
_BATCH = 512


@dataclass(frozen=True, eq=False)
class Answered(Examples):
    """Examples with other targets: the answers of a network, example by example.

    Args:
        examples: the inputs; their own targets are not read.
        answers: ``(n, ...)``, on the CPU.
    """

    examples: Examples
    answers: Tensor

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the examples."""
        return self.examples.name

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, index: Tensor | slice) -> Batch:
        """The examples, with the answers for targets."""
        return replace(self.examples.batch(index), targets=self.answers[_on_cpu(index)])

    def without_main(self, index: Tensor | slice) -> Batch:
        """The side inputs, with the answers for targets."""
        return replace(self.examples.without_main(index), targets=self.answers[_on_cpu(index)])

    def take(self, index: Tensor | slice) -> Answered:
        """The examples at these indices with their answers."""
        return Answered(self.examples.take(index), self.answers[_on_cpu(index)])

    def on(self, device: str) -> Answered:
        """The inputs stored on a device; the answers stay where they are."""
        return Answered(self.examples.on(device), self.answers)

    def order(self) -> Tensor:
        """That of the examples."""
        return self.examples.order()

    @property
    def ragged(self) -> bool:
        """Whether the shape of an example depends on its batch."""
        return self.examples.ragged

    @property
    def longest(self) -> int:
        """The longest axis of an example."""
        return self.examples.longest

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs as they are stored."""
        return self.examples.nbytes

    @property
    def fingerprint(self) -> str:
        """That of the examples: whose answers these are, a record says elsewhere."""
        return self.examples.fingerprint


@torch.no_grad()
@exact_float32()
def answered(examples: Examples, network: Callable[..., Any], *, label: str = "") -> Answered:
    """The examples with a network's own answers for targets.

    Args:
        examples: the inputs.
        network: whose answers; in eval mode.
        label: what is being done, for the progress bar.

    Raises:
        DataError: answers whose shape depends on the batch, or that take more than 4 GB.
    """
    asked = f"the answers to {examples.name!r} as targets"
    if examples.ragged and _as_long_as_examples(network, examples):
        found = "examples of several lengths, whose answers are padded otherwise in each batch"
        raise DataError(asked, found, "give examples of one length")
    parts, order = [], examples.order()
    for _, outputs, _ in outputs_over(network, examples, size=_BATCH, label=label):
        parts.append(answer_of(outputs).cpu())
        if len(parts) == 1 and parts[0][0].nbytes * len(examples) > _MOST:
            found = f"{parts[0][0].nbytes * len(examples) / 1e9:.1f} GB of them"
            raise DataError(asked, found, "give fewer examples: `examples.first(n)`")
    return Answered(examples, torch.cat(parts)[order.argsort()])


def _as_long_as_examples(network: Callable[..., Any], examples: Examples) -> bool:
    """Whether short and long examples have answers of other shapes, as where there is one for each token."""
    # Two of each: a batch of one may be cut and run otherwise than all others.
    ends = examples.take(examples.order()[[0, 0, -1, -1]])
    shapes = {answer_of(outputs).shape[1:] for _, outputs, _ in outputs_over(network, ends, size=2)}
    return len(shapes) > 1


@torch.no_grad()
def with_task(examples: Examples, network: Callable[..., Any], task: Task | None) -> tuple[Task, Examples]:
    """The task, guessed where it can only be one, and the examples with the targets that it reads.

    Args:
        examples: the inputs, and targets where there are any.
        network: whose outputs the task judges; in eval mode.
        task: the one that was asked for.

    Raises:
        TaskMismatch: no task fits the network's outputs and the targets.
        SettingError: several fit.
        DataError: as of `answered`.
    """
    task = task or guess(examples, call(network, examples.batch(slice(0, 2)).to(home_of(network)).inputs))
    return task, answered(examples, network) if task.answers_are_targets else examples


def _on_cpu(index: Tensor | slice) -> Tensor | slice:
    return index.cpu() if isinstance(index, Tensor) else index

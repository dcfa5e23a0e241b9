"""What a network answers on test examples, and whether two networks were asked the same."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from modelstitch.cut.untouched import own_state
from modelstitch.data.samples import Samples
from modelstitch.errors import ClassMismatch, DataError, NumericalFailure
from modelstitch.tensors import Labels

Network = Callable[[Tensor], Tensor]
"""Anything that maps a batch of inputs to logits; an `nn.Module` is also put into eval mode while it is tested."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network answered, example by example.

    Args:
        labels: the right classes.
        predicted: the classes of the largest logits; the first of them on a tie.
        loss: cross-entropy of every example, in nats.
    """

    labels: Int64[Tensor, " n"]
    predicted: Int64[Tensor, " n"]
    loss: Float64[Tensor, " n"]

    @property
    def n(self) -> int:
        """How many examples there were."""
        return len(self.labels)

    @property
    def wrong(self) -> Bool[Tensor, " n"]:
        """Which answers are wrong."""
        return self.predicted != self.labels

    @property
    def error(self) -> float:
        """The share of wrong answers, in percent."""
        return 100 * int(self.wrong.sum()) / self.n

    @property
    def mean_loss(self) -> float:
        """The mean cross-entropy, in nats."""
        return float(self.loss.mean())


# The shape of the logits is left open so that wrong ones get our error, which names what to do.
def outcome_of(logits: Float[Tensor, "..."], labels: Labels) -> Outcome:
    """Judge logits by the right classes.

    Args:
        logits: one row of class scores for each example.
        labels: the right classes.

    Returns:
        The outcome, on the CPU, with the loss in float64.

    Raises:
        ClassMismatch: the logits are no ``(n, classes)`` matrix, or a label has no column in it.
        NumericalFailure: a logit is not finite.

    Example:
        >>> outcome = outcome_of(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
        >>> outcome.error, round(outcome.mean_loss, 4)
        (50.0, 0.7201)
    """
    # To the CPU first: not every device has float64.
    logits, labels = logits.detach().cpu().double(), labels.detach().cpu().long()
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ClassMismatch(
            asked=f"the outcome of {len(labels)} examples",
            found=f"logits of shape {tuple(logits.shape)}",
            do="the network must return one row of class scores for each example",
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise ClassMismatch(
            asked=f"the outcome for labels from {int(labels.min())} to {int(labels.max())}",
            found=f"logits for {logits.shape[1]} classes",
            do="test the network on data with its own classes, counted from 0",
        )
    bad = int((~torch.isfinite(logits)).sum())
    if bad:
        raise NumericalFailure(
            asked=f"the outcome of {len(labels)} examples",
            found=f"{bad} of {logits.numel()} logits not finite",
            do="look for the first layer of the network, or the stitch, that returns inf or nan",
        )
    return Outcome(labels, logits.argmax(1), nn.functional.cross_entropy(logits, labels, reduction="none"))


def evaluate(network: Network, samples: Samples, *, batch_size: int = 512) -> Outcome:
    """Run a network over test examples, in their order, and judge its answers.

    No gradient is recorded. A module runs in eval mode on the device of its parameters, and every submodule's training
    flag is as it was afterwards, also after an error.

    Args:
        network: maps a batch of inputs to logits.
        samples: the test examples.
        batch_size: examples per batch; has no influence on the answers beyond rounding.

    Returns:
        The outcome of every example.

    Raises:
        ClassMismatch: the network does not answer with one row of ``samples.classes`` scores for each example.
        DataError: there are no examples.
        NumericalFailure: a logit is not finite.
    """
    outcomes = []
    device = _device_of(network)
    with torch.no_grad(), _eval_mode(network), _buffers_kept(network):
        for inputs, labels in samples.batches(batch_size):
            # A copy: a network may write into its input.
            logits = network(inputs.to(device, copy=True))
            if logits.ndim != 2 or logits.shape[1] != samples.classes:
                raise ClassMismatch(
                    asked=f"answers to {samples.name!r}, which has {samples.classes} classes",
                    found=f"logits of shape {tuple(logits.shape)} for {len(labels)} examples",
                    do="test the network on data with its own classes",
                )
            outcomes.append(outcome_of(logits, labels))
    if not outcomes:
        raise DataError(asked=f"the outcome of {samples.name!r}", found="no examples", do="give at least one example")
    return joined_outcome(outcomes)


def joined_outcome(parts: Sequence[Outcome]) -> Outcome:
    """The outcome on several batches of examples, in their order.

    Args:
        parts: one a batch, at least one.
    """
    return Outcome(
        labels=torch.cat([part.labels for part in parts]),
        predicted=torch.cat([part.predicted for part in parts]),
        loss=torch.cat([part.loss for part in parts]),
    )


def agreement(a: Outcome, b: Outcome) -> float:
    """The share of examples on which two networks give the same answer, right or wrong.

    Args:
        a: outcome of one network.
        b: outcome of another on the same examples.

    Returns:
        A share in [0, 1].

    Raises:
        DataError: the outcomes are not of the same examples in the same order, or of none.
    """
    require_same_examples(a, b)
    return int((a.predicted == b.predicted).sum()) / a.n


def require_same_examples(a: Outcome, b: Outcome) -> None:
    """Refuse to compare two networks example by example unless they were asked the same examples.

    Args:
        a: outcome of one network.
        b: outcome of another.

    Raises:
        DataError: the labels differ in number or order, or there are none.
    """
    if a.n == 0 or not torch.equal(a.labels, b.labels):
        raise DataError(
            asked="a comparison of two networks, example by example",
            found=f"outcomes of {a.n} and {b.n} examples" + (" with other labels" if a.n == b.n > 0 else ""),
            do="evaluate both networks on the same examples, at least one, in the same order",
        )


def _device_of(network: Network) -> torch.device:
    if isinstance(network, nn.Module):
        for tensor in itertools.chain(network.parameters(), network.buffers()):
            return tensor.device
    return torch.device("cpu")


def _buffers_kept(network: Network) -> contextlib.AbstractContextManager[None]:
    return own_state(network) if isinstance(network, nn.Module) else contextlib.nullcontext()


@contextlib.contextmanager
def _eval_mode(network: Network) -> Iterator[None]:
    if not isinstance(network, nn.Module):
        yield
        return
    # The flags are set one by one: `train()` and `eval()` may be overridden, to keep layers frozen or to merge weights,
    # and would then not bring back what was there.
    before = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, training in before:
            module.training = training

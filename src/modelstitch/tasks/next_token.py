"""The next token of a text: nats a token, perplexity, and the share of wrong tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.support.tensors import leaves
from modelstitch.tasks.shapes import integers
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told

# Logits that are held in float64 at a time: 32 MB. A vocabulary is large.
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class NextToken(Task):
    """A language model: position ``t`` of a text predicts its token ``t + 1``.

    - ``nats = Σ -log softmax(z_t)[y_{t+1}] / tokens``, in nats a token; also what fits minimise;
    - ``perplexity = exp(nats)``;
    - ``error = 100 · wrong tokens / tokens``, in percent.

    Outputs are logits ``(n, length, vocabulary)``; targets are the token ids of the same positions, ``(n, length)``,
    not shifted. A text counts by its predicted tokens. Intervals redraw whole texts, as the tokens of one text are not
    independent. A text of which no token is predicted adds nothing.

    Padding has no influence: a token is left out where its id is ``ignore``, and where the batch has a mask ``(n,
    length)``, if it or the position that predicts it is padding. No answers are kept, as batches differ in length.

    Args:
        ignore: the id, in the targets, of tokens that are not predicted.

    Example:
        >>> batch = Batch(torch.tensor([[1, 0, 1]]), torch.tensor([[1, 0, -100]]))
        >>> outcome = NextToken().judge(torch.zeros(1, 3, 2), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in NextToken().scores]
        [0.6931, 2.0, 0.0]

    Reference:
        Jelinek, Mercer, Bahl & Baker, "Perplexity, a measure of the difficulty of speech recognition tasks", 1977.
    """

    name: ClassVar[str] = "next_token"
    off: ClassVar[Mapping[str, Any]] = {"ignore": -100}
    ignore: int = -100

    @property
    def scores(self) -> tuple[Score, ...]:
        """Nats a token, the perplexity, and the share of wrong tokens."""
        return (
            Score("nats", "test nats per token", "nats a token"),
            Score("perplexity", "test perplexity", of=_perplexity),
            Score("error", "test error", "points", scale=100.0),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """One row of logits for each token, and tokens of the vocabulary.

        Raises:
            TaskMismatch: something else.
        """
        logits, tokens = answer_of(outputs), batch.targets
        asked = f"the next tokens of {batch.n} texts"
        if not _one_to_one(logits, tokens, batch.n):
            found = f"outputs: {told(logits)}, targets: {told(tokens)}"
            do = "give logits (n, length, vocabulary) and token ids (n, length), not shifted"
            raise TaskMismatch(asked, found, do)
        following = tokens[:, 1:][self._counted(batch)]
        if len(following) and not 0 <= int(following.min()) <= int(following.max()) < logits.shape[2]:
            found = f"tokens from {int(following.min())} to {int(following.max())}, and {logits.shape[2]} logits"
            raise TaskMismatch(asked, found, f"use the network's own tokens, and {self.ignore} for those left out")

    def weights(self, batch: Batch) -> Float[Tensor, " n"]:
        """How many tokens of each text are predicted."""
        return self._counted(batch).sum(1).float()

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The nats of each text, summed over its predicted tokens."""
        logits, counted = answer_of(outputs)[:, :-1], self._counted(batch)
        # Only what counts is touched: the logits of padding may be NaN, and their gradient would be, too.
        nats = cross_entropy(logits[counted], batch.targets[:, 1:][counted], reduction="none")
        return torch.zeros(counted.shape, dtype=nats.dtype, device=nats.device).masked_scatter(counted, nats).sum(1)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """The nats, the wrong tokens and the predicted tokens of each text in float64.

        Nats are found where the logits are, if that device has float64, so that they need not be copied.
        """
        logits, counted = answer_of(outputs).detach(), self._counted(batch)
        texts, positions = counted.nonzero(as_tuple=True)
        there = torch.device("cpu") if logits.device.type == "mps" else logits.device
        sums = torch.zeros(batch.n, 3, dtype=torch.float64)
        size = max(1, _AT_ONCE // logits.shape[2])
        for text, position in zip(torch.split(texts, size), torch.split(positions, size), strict=True):
            rows = require_finite(logits[text, position].to(there), batch.n)
            following = batch.targets[text, position + 1].to(there).long()
            nats = cross_entropy(rows, following, reduction="none")
            wrong = (rows.argmax(1) != following).double()
            found = torch.stack([nats, wrong, torch.ones_like(nats)], 1)
            sums.index_add_(0, text.cpu(), found.cpu())
        nats, wrong = sums[:, [0, 2]], sums[:, [1, 2]]
        return Outcome({"nats": nats, "perplexity": nats, "error": wrong})

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Logits for each token, and targets that are the inputs' own tokens but for those left out.

        Labels of tokens, and the hidden words of a masked language model, have the same shapes and are not shifted.
        """
        tokens = batch.targets
        if not _one_to_one(outputs, tokens, batch.n):
            return False
        read = [leaf for leaf in leaves(batch.inputs) if leaf.shape == tokens.shape and integers(leaf)]
        kept = tokens != cls.ignore
        return any(bool((leaf == tokens)[kept].all()) for leaf in read)

    def _counted(self, batch: Batch) -> Bool[Tensor, "n following"]:
        counted: Tensor = batch.targets[:, 1:] != self.ignore
        if batch.mask is not None and batch.mask.shape == batch.targets.shape:
            real = batch.mask.bool()
            counted = counted & real[:, 1:] & real[:, :-1]
        return counted


def _one_to_one(logits: Tensor, tokens: Any, n: int) -> bool:
    if not isinstance(tokens, Tensor) or tokens.ndim != 2 or not integers(tokens):
        return False
    return logits.is_floating_point() and logits.ndim == 3 and logits.shape[:2] == tokens.shape and len(logits) == n


def _perplexity(sums: Float64[Tensor, " k"]) -> float:
    nats, tokens = sums.tolist()
    asked = "the perplexity of a network"
    if tokens == 0:
        raise NumericalFailure(asked, "no predicted token", "judge texts of at least two tokens")
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        found = f"{nats / tokens:.0f} nats a token, whose exponential overflows"
        raise NumericalFailure(asked, found, "look for the part of the network that loses scale") from None

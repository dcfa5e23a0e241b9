"""What a task is: it judges outputs, one example at a time, and nothing else.

A task loads no data, samples nothing and prints nothing. It keeps what each example *adds* to a score, so that one
paired bootstrap serves every score exactly: an interval needs the sums of redrawn examples and no more. What is no
function of sums over examples (the area under a ROC curve) is no score here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.utils import _pytree as pytree

from modelstitch.data import Batch
from modelstitch.errors import DataError, NumericalFailure, TaskMismatch

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Score:
    """A named number that outputs are judged by.

    Args:
        name: as records call it.
        title: as figures call it.
        unit: such as ``points`` or ``nats``; empty where it has none.
        better: which side is better. A penalty is positive where the stitched network is worse, whichever it is.
        scale: of a weighted mean.
        of: turns the sum of what examples add, ``(k,)``, into the number. By default the weighted mean
            ``scale · sum[0] / sum[1]``.

    Example:
        >>> Score("error", "test error", "points", scale=100.0).value(torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double())
        50.0
    """

    name: str
    title: str
    unit: str = ""
    better: Better = "lower"
    scale: float = 1.0
    of: Callable[[Float64[Tensor, " k"]], float] | None = None

    def value(self, rows: Float64[Tensor, "n k"]) -> float:
        """The number for examples that add these rows."""
        # Column by column, each contiguous: a sum of one column must not depend on the others.
        return self.number(torch.stack([column.contiguous().sum() for column in rows.T]))

    def number(self, sums: Float64[Tensor, " k"]) -> float:
        """The number for what examples added in all.

        Raises:
            NumericalFailure: there is none, as nothing counts.
        """
        return ratio(self.scale * float(sums[0]), sums[1], self.title) if self.of is None else float(self.of(sums))

    def difference(self, stitched: Float64[Tensor, "n k"], top: Float64[Tensor, "n k"]) -> float:
        """How much worse the stitched network is: ``±(of(Σ stitched) - of(Σ top))``, positive where it is worse.

        Of a weighted mean the examples' differences are summed, so that equal examples cancel exactly.
        """
        sign = 1.0 if self.better == "lower" else -1.0
        if self.of is None and torch.equal(stitched[:, 1], top[:, 1]):
            changes = (stitched[:, 0] - top[:, 0]).contiguous().numpy()
            change = sign * self.scale * float(changes.sum()) + 0.0
            return ratio(change, stitched[:, 1].contiguous().sum(), self.title)
        # Adding 0 takes the sign off a zero: equal networks lose 0, not -0, of a score that is better higher.
        return sign * (self.value(stitched) - self.value(top)) + 0.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network's outputs are worth, example by example.

    Args:
        sums: by score, what each example adds, ``(n, k)`` in float64 on the CPU.
        answers: what was decided for each example, ``(n, ...)``, to see on how many two networks agree; None where
            nothing is decided.
    """

    sums: Mapping[str, Float64[Tensor, "n k"]]
    answers: Tensor | None = None

    @property
    def n(self) -> int:
        """How many examples there were."""
        return len(next(iter(self.sums.values())))

    def take(self, index: Tensor) -> Outcome:
        """The outcome of these examples, in that order."""
        answers = None if self.answers is None else self.answers[index]
        return Outcome({name: rows[index] for name, rows in self.sums.items()}, answers)


def joined_outcome(parts: Sequence[Outcome]) -> Outcome:
    """The outcome on several batches of examples, in their order.

    Args:
        parts: one a batch, at least one.
    """
    sums = {name: torch.cat([part.sums[name] for part in parts]) for name in parts[0].sums}
    answers = [part.answers for part in parts if part.answers is not None]
    return Outcome(sums, torch.cat(answers) if answers else None)


class Task(ABC):
    """What outputs are judged by.

    A task of your own is one class: ``scores``, and the three methods.

    Attributes:
        name: as records, recipes and the command line call it.
        off: fields that leave no trace in records while they hold these values.
        answers_are_targets: whether the targets are the answers of the top's own network, and no labels are read.
        scores: the first gives *the* penalty.
    """

    name: ClassVar[str]
    off: ClassVar[Mapping[str, Any]] = {}
    answers_are_targets: ClassVar[bool] = False

    @property
    @abstractmethod
    def scores(self) -> tuple[Score, ...]:
        """What it measures, the penalty's score first."""

    @abstractmethod
    def check(self, outputs: Any, batch: Batch) -> None:
        """Refuse outputs and targets that do not belong together.

        Raises:
            TaskMismatch: what was found, and what to do.
        """

    @abstractmethod
    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """What each example adds to the loss that fits minimise, with its gradient."""

    @abstractmethod
    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """What the outputs are worth.

        Raises:
            NumericalFailure: an output is not finite.
        """

    def weights(self, batch: Batch) -> Float[Tensor, " n"]:
        """What each example counts for in the mean loss: 1, unless a task counts otherwise (tokens, say)."""
        return torch.ones(batch.n)

    def loss(self, outputs: Any, batch: Batch) -> Float[Tensor, ""]:
        """The mean loss of a batch, ``Σ losses / Σ weights``; ``Σ losses`` where all weights are 0."""
        found: Tensor = self.losses(outputs, batch).sum() / (float(self.weights(batch).sum()) or 1.0)
        return found

    def score(self, name: str) -> Score:
        """One of its scores by name."""
        return next(one for one in self.scores if one.name == name)

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Whether these outputs and targets look like this task's: `guess` takes the only task that says so.

        By default no: such a task is always chosen by name.
        """
        return False

    @classmethod
    def suited(cls, outputs: Tensor, data: Any) -> Task:
        """The task with the settings that suit these outputs and this data, examples or a batch of them."""
        return cls()


def answer_of(outputs: Any) -> Tensor:
    """The tensor that a task reads of a network's outputs, whatever their form.

    A tensor is read itself; of a mapping or an object the value called ``logits``; else the first tensor.

    Raises:
        TaskMismatch: there is no tensor in it.

    Example:
        >>> answer_of({"hidden": torch.zeros(1), "logits": torch.ones(1)}), answer_of((torch.zeros(1), 3))
        (tensor([1.]), tensor([0.]))
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(named, Tensor):
        return named
    held = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    tensors = [leaf for leaf in pytree.tree_leaves(held) if isinstance(leaf, Tensor)]
    if not tensors:
        found = f"outputs of type {type(outputs).__name__} without a tensor in them"
        raise TaskMismatch("to read a network's outputs", found, "return a tensor, or one under the name 'logits'")
    return tensors[0]


def told(value: object) -> str:
    """What a value is, for an error: its type, and of a tensor also its shape.

    Example:
        >>> told(torch.zeros(2, 3)), told(None)
        ('float32 of shape (2, 3)', 'none')
    """
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return "none" if value is None else f"a {type(value).__name__}"


def ratio(amount: Any, weight: Any, title: str) -> float:
    """One sum over another, of a score with this title.

    Raises:
        NumericalFailure: the second sum is 0.

    Example:
        >>> ratio(1.0, 4.0, "test error")
        0.25
    """
    if float(weight) == 0.0:
        found = "examples whose weights add up to 0"
        raise NumericalFailure(f"the {title}", found, "judge examples of which at least one counts")
    return float(amount) / float(weight)


def require_finite(outputs: Tensor, n: int) -> Tensor:
    """The outputs detached and in float64, if all of them are numbers.

    Args:
        outputs: what a network returned, on a device that has float64; not every one has, the CPU does.
        n: for how many examples, for the error.

    Raises:
        NumericalFailure: an output is infinite or NaN.
    """
    outputs = outputs.detach().double()
    bad = int((~torch.isfinite(outputs)).sum())
    if bad:
        raise NumericalFailure(
            asked=f"the outcome of {n} examples",
            found=f"{bad} of {outputs.numel()} outputs not finite",
            do="look for the first layer of the network, or the stitch, that returns inf or nan",
        )
    return outputs


def agreement(a: Outcome, b: Outcome) -> float | None:
    """The share of examples on which two networks give the same answer, right or wrong, in [0, 1].

    Args:
        a: outcome of one network.
        b: outcome of another on the same examples.

    Returns:
        A share; the mean over examples of the share of equal decisions where an example has several. None where the
        task decides nothing.

    Raises:
        DataError: the outcomes are not of as many examples, or of none.
    """
    require_same_examples(a, b)
    if a.answers is None or b.answers is None:
        return None
    same = (a.answers == b.answers).reshape(a.n, -1)
    return int(same.sum()) / same.numel()


def require_same_examples(a: Outcome, b: Outcome) -> None:
    """Refuse to compare two networks example by example unless they were asked the same examples.

    Raises:
        DataError: the outcomes differ in number or in scores, or there are none.
    """
    if a.n == 0 or a.n != b.n or a.sums.keys() != b.sums.keys():
        raise DataError(
            asked="a comparison of two networks, example by example",
            found=f"outcomes of {a.n} and {b.n} examples, by {', '.join(a.sums)} and {', '.join(b.sums)}",
            do="evaluate both networks on the same examples, at least one, in the same order, by one task",
        )

"""Semantic segmentation, one class a pixel: the mean intersection over union, the pixel error and cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.tasks.shapes import integers
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told


@dataclass(frozen=True)
class Pixels(Task):
    """One class a pixel (or a voxel, or a position of a sequence).

    - ``mean_iou = 100 · mean_c (I_c / U_c)`` in percent, higher is better: over all images, ``I_c`` pixels are of class
      ``c`` and decided so, and ``U_c`` are either. A class that is neither seen nor decided is left out of the mean;
    - ``error = 100 · wrong pixels / pixels``, in percent;
    - ``loss = Σ -log softmax(z)[class] / pixels``, in nats a pixel; also what fits minimise.

    Outputs are class scores ``(n, classes, ...)``, targets integers ``(n, ...)`` over the same positions. An image
    counts by its pixels, and intervals redraw whole images, as the pixels of one are not independent: each keeps its
    intersections and unions, ``2 · classes`` numbers.

    Args:
        ignore: the class, in the targets, of pixels that nothing is asked of.

    Example:
        >>> batch = Batch(torch.zeros(1), torch.tensor([[0, 1, 1]]))
        >>> outcome = Pixels().judge(torch.tensor([[[2.0, 0.0, 1.0], [0.0, 2.0, 0.0]]]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in Pixels().scores]
        [50.0, 33.3333, 0.5224]

    Reference:
        Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", 2015, section 2.4
        (intersections and unions over all images, not image by image).
    """

    name: ClassVar[str] = "pixels"
    off: ClassVar[Mapping[str, Any]] = {"ignore": -100}
    ignore: int = -100

    @property
    def scores(self) -> tuple[Score, ...]:
        """The mean intersection over union, the share of wrong pixels, and the loss."""
        return (
            Score("mean_iou", "test mean IoU", "points", better="higher", of=_mean_iou),
            Score("error", "test error", "points", scale=100.0),
            Score("loss", "test loss", "nats"),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """A row of scores for each pixel, and a class for each that has a column in it.

        Raises:
            TaskMismatch: something else.
        """
        scores, classes = answer_of(outputs), batch.targets
        asked = f"the pixels of {batch.n} examples"
        if not _one_to_one(scores, classes, batch.n):
            found, do = f"outputs: {told(scores)}, targets: {told(classes)}", "give scores (n, classes, ...)"
            raise TaskMismatch(asked, found, f"{do} and integer classes (n, ...) of the same pixels")
        seen = classes[classes != self.ignore]
        if len(seen) and not 0 <= int(seen.min()) <= int(seen.max()) < scores.shape[1]:
            found = f"classes from {int(seen.min())} to {int(seen.max())}, and scores for {scores.shape[1]}"
            do = "use data with the network's own classes, counted from 0, and Pixels(ignore=…) for pixels of none"
            raise TaskMismatch(asked, found, do)

    def weights(self, batch: Batch) -> Float[Tensor, " n"]:
        """How many pixels of each image count."""
        counted: Tensor = batch.targets != self.ignore
        return counted.flatten(1).sum(1).float()

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The cross-entropy of each image, summed over its pixels, in nats."""
        nats: Tensor = cross_entropy(
            answer_of(outputs), batch.targets.long(), ignore_index=self.ignore, reduction="none"
        )
        return nats.flatten(1).sum(1)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """By image: intersections and unions, wrong pixels and the loss, in float64."""
        scores = require_finite(answer_of(outputs).cpu(), batch.n)
        there = Batch(batch.inputs, batch.targets.detach().cpu().long())
        counted = there.targets != self.ignore
        answers, pixels = scores.argmax(1), counted.flatten(1).sum(1).double()
        wrong = ((answers != there.targets) & counted).flatten(1).sum(1).double()
        sums = {
            "mean_iou": _overlaps(answers, there.targets, counted, scores.shape[1]),
            "error": torch.stack([wrong, pixels], 1),
            "loss": torch.stack([self.losses(scores, there), pixels], 1),
        }
        return Outcome(sums, answers)

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Maps of scores with at least two axes of positions, and an integer for each position."""
        return outputs.ndim > 3 and outputs.shape[1] > 1 and _one_to_one(outputs, batch.targets, batch.n)


def _one_to_one(scores: Tensor, classes: Any, n: int) -> bool:
    if not isinstance(classes, Tensor) or not integers(classes) or not scores.is_floating_point() or scores.ndim < 3:
        return False
    return classes.shape == (len(scores), *scores.shape[2:]) and len(scores) == n


def _overlaps(answers: Tensor, classes: Tensor, counted: Tensor, k: int) -> Float64[Tensor, "n sums"]:
    """By image: of each class the pixels of both, then those of either."""
    # Pixels that do not count fall into a class of their own, which is dropped.
    ours, theirs = (one.masked_fill(~counted, k).flatten(1) for one in (answers, classes))
    size = (k + 1) ** 2
    places = torch.arange(len(ours))[:, None] * size + ours * (k + 1) + theirs
    pairs = torch.bincount(places.flatten(), minlength=len(ours) * size)
    table = pairs.reshape(-1, k + 1, k + 1)[:, :k, :k].double()
    both = table.diagonal(dim1=1, dim2=2)
    return torch.cat([both, table.sum(1) + table.sum(2) - both], 1)


def _mean_iou(sums: Float64[Tensor, " k"]) -> float:
    both, either = sums.reshape(2, -1)
    seen = either > 0
    if not bool(seen.any()):
        raise NumericalFailure("the mean IoU", "images of which no pixel counts", "judge images with classes")
    return 100 * float((both[seen] / either[seen]).mean())

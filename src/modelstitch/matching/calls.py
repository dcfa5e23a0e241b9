"""The calls: one fit, or many at once."""

from __future__ import annotations

from collections.abc import Sequence

from modelstitch.activations import Sources, with_task
from modelstitch.compute import Compute
from modelstitch.cut import Bottom, Top, capture_of
from modelstitch.data import as_examples
from modelstitch.errors import NumericalFailure
from modelstitch.matching.chain import chained
from modelstitch.matching.fit import Fit, Job, Known
from modelstitch.matching.matching import BatchNorm, Matching
from modelstitch.matching.task import TaskLoss
from modelstitch.moments import Moments
from modelstitch.stitches import Family
from modelstitch.support.modes import own_modes
from modelstitch.tasks import Imitation, Task


@own_modes()
def fit(
    family: Family,
    bottom: Bottom,
    top: Top,
    train: object,
    *,
    by: Matching | Sequence[Matching] | None = None,
    task: Task | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    moments: Moments | None = None,
    compute: Compute | None = None,
) -> Fit:
    """Choose the stitch from its family: ``argmin over s in S`` of what the matching lowers.

    The networks are never changed: bottom and top hold their weights as buffers without gradients.

    Args:
        family: the set S.
        bottom: the layers of A up to a cut.
        top: the layers of B after a cut.
        train: the examples to fit on, or what `modelstitch.data.as_examples` takes; never those to measure on.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise. Of a list each goes on from
            where the one before it ended.
        task: what outputs are judged by; guessed where it can only be one. Direct matching needs none.
        batch_norm: ``frozen`` or ``batch``.
        seed: keys a random start and the order of the examples.
        moments: of the rows at the two cuts over ``train``, where they are known already.
        compute: room for activations; it changes no result. Halves compute where they are.

    Returns:
        The stitched network and how it was reached.

    Raises:
        ShapeMismatch: the family cannot map the one cut onto the other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
        TaskMismatch: outputs, targets and task do not belong together.
        NumericalFailure: a constant target, or a loss that is not finite.
    """
    told = {"by": by, "task": task, "batch_norm": batch_norm, "seed": seed, "compute": compute}
    (found,) = fit_all(family, [(bottom, top)], train, moments=[moments], **told)  # type: ignore[arg-type]
    if isinstance(found, NumericalFailure):
        raise found
    return found


@own_modes()
def fit_all(
    family: Family,
    halves: Sequence[tuple[Bottom, Top]],
    train: object,
    *,
    by: Matching | Sequence[Matching] | None = None,
    task: Task | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    moments: Known | None = None,
    compute: Compute | None = None,
) -> list[Fit | NumericalFailure]:
    """Choose many stitches at once: what `fit` gives for each alone, with one run of the bottom network for all.

    Args:
        family: the set S.
        halves: bottoms of one captured network, each with the top of another (or the same) to join it to.
        train: as in `fit`.
        by: as in `fit`.
        task: as in `fit`; the same for all.
        batch_norm: as in `fit`.
        seed: as in `fit`; the same for all.
        moments: of the rows at each pair of cuts over ``train``, where they are known already.
        compute: as in `fit`. Where one batch of activations at all cuts would not fit its memory, the bottom network
            runs once for each of several runs of cuts.

    Returns:
        For each what was found, or why there is nothing; a failure stops no other.

    Raises:
        ShapeMismatch: the family cannot map a cut onto its other.
        SettingError: the matching cannot fit the family, or no such batch-norm mode.
        TaskMismatch: outputs, targets and task do not belong together.
    """
    by, examples = chained(TaskLoss() if by is None else by), as_examples(train)
    if halves and by.descent and by.objective.against == "targets":
        task, examples = with_task(examples, capture_of(halves[0][1]).top("input"), task)
    elif by.descent:
        task = task or Imitation()
    with Sources(examples, compute) as sources:
        return Job(family, by, task, sources, batch_norm, seed).fit_all(halves, moments)

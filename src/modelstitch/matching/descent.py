"""Many stitches followed downhill at once, over one bottom network that runs once a batch.

For K stitches the least work of a step is one forward of the bottom network up to its deepest cut, and for each stitch
one forward and one input-gradient backward of its top. This does that and little more. Stitches do not see each other:
each has its own parameters, its own Adam moments and its own end, so that K at once give bit for bit what K alone give.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.activations import Activations, OwnStatistics, autocast
from modelstitch.cut import Capture, capture_of
from modelstitch.data import Batch, epoch_order, steps_per_epoch
from modelstitch.errors import NumericalFailure
from modelstitch.matching.matching import Descent
from modelstitch.parallel import among, ranks
from modelstitch.stitched import Stitched
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import unlowered
from modelstitch.tasks import Task

Source = Activations | OwnStatistics
References = Mapping[Capture, Activations]
"""The whole networks that lend the tops, over the same examples: what a matching against the top is held against."""
Step = tuple[list[Tensor], list[Batch]]
"""For each stitch the activation below it, and the batch with the targets that it is held against."""


@dataclass(frozen=True, eq=False)
class _Best:
    """A stitch at its lowest loss on the held-out examples."""

    loss: float
    epoch: int
    states: list[dict[str, Tensor]]


@dataclass(eq=False)
class _Run:
    """One stitch on its way."""

    stitched: Stitched
    reference: Capture | None = None
    curve: list[float] = field(default_factory=list)
    failure: NumericalFailure | None = None
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    seen: float = 0.0
    best: _Best | None = None
    stopped: bool = False
    checked: bool = False

    @property
    def live(self) -> bool:
        return self.failure is None and not self.stopped

    @property
    def learning(self) -> list[nn.Module]:
        """The stitch, and the top where it trains along."""
        top = self.stitched.top
        return [self.stitched.stitch, *([top] if any(one.requires_grad for one in top.parameters()) else [])]

    def group(self, by: Descent) -> dict[str, object]:
        """What the optimiser moves, and how fast at the beginning."""
        moved = [one for one in self.stitched.parameters() if one.requires_grad]
        # Every family has refused a number of channels that may vary.
        channels = self.stitched.bottom.cut.channels
        assert channels is not None
        return {"params": moved, "lr": by.rate(channels)}

    @property
    def label(self) -> str:
        return f"{self.stitched.bottom.cut.name} -> {self.stitched.top.cut.name}"


@dataclass(frozen=True)
class _Way:
    """What all runs of one descent have in common."""

    by: Descent
    task: Task
    seed: int
    source: Source
    references: References
    batch_statistics: bool

    def steps(self, runs: Sequence[_Run], order: Tensor, label: str = "") -> Iterator[Step]:
        """The batches along an order, for each run with what it is held against."""
        size = self.by.batch_size
        below = self.source.below([run.stitched.bottom for run in runs], size, order, label)
        wanted = {run.reference for run in runs if run.reference}
        answers = {one: self.references[one].batches([one.find("output")], size, order, share="part") for one in wanted}
        for activations, batch in below:
            held = {one: replace(batch, targets=next(given)[1][0]) for one, given in answers.items()}
            yield activations, [held[run.reference] if run.reference else batch for run in runs]


def descend(
    stitched: Sequence[Stitched],
    source: Source,
    by: Descent,
    task: Task,
    seed: int,
    *,
    batch_statistics: bool = False,
    references: References | None = None,
) -> list[tuple[float, ...] | NumericalFailure]:
    """Train stitches, and tops that were thawed, in place: Adam on the loss of their stitched networks.

    Args:
        stitched: their bottoms are halves of one captured network and take no gradient, nor do tops that nobody thawed.
        source: what the bottoms give over the examples to fit on.
        by: what to lower, how far and how fast.
        task: what outputs are judged by.
        seed: keys the order of the examples, which is the same for all.
        batch_statistics: whether the batch norms of bottoms and tops use the batch and update their clones; each
            stitch then runs a bottom of its own.
        references: the networks that lend the tops, where the objective is against them.

    Returns:
        For each stitch the mean loss of each epoch, or why it failed; a failure stops no other.

    Raises:
        TaskMismatch: the outputs are none of the task's.
    """
    against_top = by.objective.against == "top"
    runs = [_Run(one, capture_of(one.top) if against_top else None) for one in stitched]
    # Closed forms may round differently on different machines; from here on all processes do the same sums.
    ranks().copy_from_first(tensor for run in runs for tensor in run.stitched.stitch.state_dict().values())
    examples = len(source.examples)
    epochs = by.settled(examples).epochs or 1
    fit_on, held_out = _parts(examples, by, seed)
    way = _Way(by, task, seed, source, references or {}, batch_statistics)
    optimiser = torch.optim.Adam([run.group(by) for run in runs])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps_per_epoch(len(fit_on), by.batch_size))
    label = runs[0].label if len(runs) == 1 else f"{len(runs)} stitches"
    with source.opened():
        for epoch in range(epochs):
            live = [run for run in runs if run.live]
            _set_modes(live, batch_statistics, by.trains_top)
            order = fit_on[epoch_order(len(fit_on), by.batch_size, generator("stitch order", seed, epoch))]
            steps = way.steps(live, order, f"{label}, epoch {epoch + 1}/{epochs}")
            for whole, (below, batches) in zip(torch.split(order, by.batch_size), steps, strict=True):
                with among(ranks().sharing(len(whole))):
                    _step(live, below, batches, way)
                optimiser.step()
                optimiser.zero_grad()
                cosine.step()
            _end_epoch(live)
            if len(held_out):
                _stop_early([run for run in live if run.live], held_out, way)
            if not any(run.live for run in runs):
                break
    return [_result(run) for run in runs]


def _parts(examples: int, by: Descent, seed: int) -> tuple[Tensor, Tensor]:
    """Which examples to fit on, and which to hold out for an early stop; the test set never takes part."""
    if by.patience is None:
        return torch.arange(examples), torch.arange(0)
    order = torch.randperm(examples, generator=generator("held out", seed))
    tenth = max(1, examples // 10)
    return order[tenth:].sort().values, order[:tenth].sort().values


def _set_modes(runs: Sequence[_Run], batch_statistics: bool, tops_train: bool) -> None:
    for run in runs:
        run.stitched.stitch.train()
        run.stitched.bottom.train(batch_statistics)
        run.stitched.top.train(batch_statistics or tops_train)


def _step(runs: Sequence[_Run], below: Sequence[Tensor], batches: Sequence[Batch], way: _Way) -> None:
    weight = 0.0
    for run, activation, batch in zip(runs, below, batches, strict=True):
        loss = _loss(run, activation, batch, way)
        loss.backward()  # type: ignore[no-untyped-call]
        weight = float(way.by.weights(batch, way.task).sum())
        if ranks().counts:
            # Kept on the device: asking for the number would wait for it at every step.
            run.total = run.total + loss.detach().double() * (1 if ranks().several else weight)
            run.seen += weight
    parameters = (parameter for run in runs for parameter in run.stitched.stitch.parameters())
    ranks().average_gradients(parameters, weight)


def _loss(run: _Run, activation: Tensor, batch: Batch, way: _Way) -> Tensor:
    """The mean over the batch; over several processes, whose parts are uneven, the sum over this one's part."""
    with autocast(way.by.precision, activation):
        outputs: Any = run.stitched.above(activation, batch)
    if not run.checked:
        # Once is enough, and looking at the targets waits for a device that computes.
        way.by.check_outputs(outputs, batch, way.task)
        run.checked = True
    outputs = unlowered(outputs)
    if ranks().several:
        return way.by.losses(outputs, batch, way.task).sum()
    return way.by.loss(outputs, batch, way.task)


def _end_epoch(runs: Sequence[_Run]) -> None:
    seen = [torch.tensor(run.seen, dtype=torch.float64).to(run.total.device) for run in runs]
    ranks().sum([*(run.total for run in runs), *seen])
    for run, weight in zip(runs, seen, strict=True):
        mean = float(run.total) / float(weight)
        run.curve.append(mean)
        run.total, run.seen = torch.zeros((), dtype=torch.float64), 0.0
        if not math.isfinite(mean):
            do = "lower the learning rate, or look at the activations at the two cuts"
            run.failure = NumericalFailure(f"a fit downhill: {run.label}", f"a loss of {mean}", do)


@torch.no_grad()
def _stop_early(runs: Sequence[_Run], held_out: Tensor, way: _Way) -> None:
    """Judge each stitch on the held-out examples; keep its best, and stop it when its patience is over."""
    if not runs:
        return
    for run in runs:
        run.stitched.eval()
    losses, counted = (torch.zeros(len(runs), dtype=torch.float64) for _ in range(2))
    for whole, (below, batches) in zip(
        torch.split(held_out, way.by.batch_size), way.steps(runs, held_out), strict=True
    ):
        with among(ranks().sharing(len(whole))):
            for index, (run, activation, batch) in enumerate(zip(runs, below, batches, strict=True)):
                weight = float(way.by.weights(batch, way.task).sum())
                loss = float(_loss(run, activation, batch, way)) * (1 if ranks().several else weight)
                losses[index] += loss * ranks().counts
                counted[index] += weight * ranks().counts
    ranks().sum([losses, counted])
    for run, held_out_loss in zip(runs, (losses / counted).tolist(), strict=True):
        if run.best is None or held_out_loss < run.best.loss:
            states = [copy.deepcopy(part.state_dict()) for part in run.learning]
            run.best = _Best(held_out_loss, len(run.curve), states)
        run.stopped = len(run.curve) - run.best.epoch >= (way.by.patience or 0)


def _result(run: _Run) -> tuple[float, ...] | NumericalFailure:
    if run.failure is not None:
        return run.failure
    if run.best is not None:
        for part, state in zip(run.learning, run.best.states, strict=True):
            part.load_state_dict(state)
    return tuple(run.curve)


def reestimate(stitched: Stitched, source: OwnStatistics, seed: int, batch_size: int = 128) -> None:
    """Run once over the examples in train mode, so that the cloned running statistics become the stitched network's."""
    stitched.train()
    label = f"{stitched.bottom.cut.name} -> {stitched.top.cut.name}, statistics"
    order = epoch_order(len(source.examples), batch_size, generator("stitch order", seed, 0))
    steps = source.below([stitched.bottom], batch_size, order, label)
    with torch.no_grad():
        for whole, ((activation,), batch) in zip(torch.split(order, batch_size), steps, strict=True):
            with among(ranks().sharing(len(whole))):
                stitched.above(activation, batch)

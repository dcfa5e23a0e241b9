"""The engine: many stitches followed downhill at once, over one bottom network that runs once a batch.

For K stitches the least work of a step is one forward of the bottom network up to its deepest cut, and for each stitch
one forward and one input-gradient backward of its top. The engine does that and little more. Stitches do not see each
other: each has its own parameters, its own Adam moments and its own end, so that K at once give bit for bit what K
alone give.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modelstitch.budget import Budget
from modelstitch.data import Samples, epoch_order, steps_per_epoch
from modelstitch.errors import NumericalFailure, TaskMismatch
from modelstitch.matching.activations import Activations, OwnStatistics, autocast
from modelstitch.matching.how import FineTune, TaskLoss
from modelstitch.parallel import among, ranks
from modelstitch.progress import track
from modelstitch.seeding import generator
from modelstitch.stitched import Stitched


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
    curve: list[float] = field(default_factory=list)
    failure: NumericalFailure | None = None
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    seen: int = 0
    best: _Best | None = None
    stopped: bool = False

    @property
    def live(self) -> bool:
        return self.failure is None and not self.stopped

    @property
    def learning(self) -> list[nn.Module]:
        """The stitch, and the top where it trains along."""
        top = self.stitched.top
        return [self.stitched.stitch, *([top] if any(one.requires_grad for one in top.parameters()) else [])]

    def group(self, how: TaskLoss) -> dict[str, object]:
        """What the optimiser moves, and how fast at the beginning."""
        moved = [one for one in self.stitched.parameters() if one.requires_grad]
        # Every family has refused a number of channels that may vary.
        channels = self.stitched.bottom.cut.channels
        assert channels is not None
        return {"params": moved, "lr": how.rate(channels)}

    @property
    def label(self) -> str:
        return f"{self.stitched.bottom.cut.name} -> {self.stitched.top.cut.name}"


def descend(
    stitched: Sequence[Stitched],
    train: Samples,
    how: TaskLoss,
    seed: int,
    *,
    batch_statistics: bool,
    device: str,
    budget: Budget,
) -> list[tuple[float, ...] | NumericalFailure]:
    """Train stitches, and tops that were thawed, in place: Adam on the cross-entropy of their stitched networks.

    Args:
        stitched: their bottoms are halves of one captured network and take no gradient, nor do tops that nobody thawed.
        train: the examples.
        how: how far and how fast.
        seed: keys the order of the examples, which is the same for all.
        batch_statistics: whether the batch norms of bottoms and tops use the batch and update their clones; each
            stitch then runs a bottom of its own.
        device: where the networks are.
        budget: room for activations kept from one epoch to the next.

    Returns:
        For each stitch the mean loss of each epoch, in nats, or why it failed; a failure stops no other.

    Raises:
        TaskMismatch: the outputs are not one row of class scores an example.
    """
    runs = [_Run(one) for one in stitched]
    # Closed forms may round differently on different machines; from here on all processes do the same sums.
    ranks().copy_from_first(tensor for run in runs for tensor in run.stitched.stitch.state_dict().values())
    epochs = how.over(len(train)).epochs or 1
    fit_on, held_out = _parts(len(train), how, seed)
    optimiser = torch.optim.Adam([run.group(how) for run in runs])
    per_epoch = steps_per_epoch(len(fit_on), how.batch_size)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * per_epoch)
    label = runs[0].label if len(runs) == 1 else f"{len(runs)} stitches"
    with _source(runs, train, how, epochs > 1, batch_statistics, device, budget) as source:
        for epoch in range(epochs):
            live = [run for run in runs if run.live]
            _set_modes(live, batch_statistics, isinstance(how, FineTune))
            order = fit_on[epoch_order(len(fit_on), how.batch_size, generator("stitch order", seed, epoch))]
            batches = source.batches([run.stitched.bottom for run in live], order)
            tracked = track(batches, f"{label}, epoch {epoch + 1}/{epochs}", per_epoch)
            for whole, (below, labels) in zip(torch.split(order, how.batch_size), tracked, strict=True):
                with among(ranks().sharing(len(whole))):
                    _step(live, below, labels, train.classes, how)
                optimiser.step()
                optimiser.zero_grad()
                cosine.step()
            _end_epoch(live)
            if len(held_out):
                _stop_early([run for run in live if run.live], source, held_out, train.classes, how)
            if not any(run.live for run in runs):
                break
    return [_result(run) for run in runs]


def _parts(examples: int, how: TaskLoss, seed: int) -> tuple[Tensor, Tensor]:
    """Which examples to fit on, and which to hold out for an early stop; the test set never takes part."""
    if how.patience is None:
        return torch.arange(examples), torch.arange(0)
    order = torch.randperm(examples, generator=generator("held out", seed))
    tenth = max(1, examples // 10)
    return order[tenth:].sort().values, order[:tenth].sort().values


def _source(
    runs: Sequence[_Run],
    train: Samples,
    how: TaskLoss,
    again: bool,
    batch_statistics: bool,
    device: str,
    budget: Budget,
) -> Activations | OwnStatistics:
    """Where the activations below the stitches come from; ``again`` says that each is needed in more than one epoch."""
    if batch_statistics:
        return OwnStatistics(train, how.batch_size, device, how.precision)
    return Activations(
        [run.stitched.bottom for run in runs],
        train,
        batch_size=how.batch_size,
        device=device,
        precision=how.precision,
        budget=budget,
        # A folder has a use for them afterwards.
        keep=again or budget.folder is not None,
    )


def _set_modes(runs: Sequence[_Run], batch_statistics: bool, tops_train: bool) -> None:
    for run in runs:
        run.stitched.stitch.train()
        run.stitched.bottom.train(batch_statistics)
        run.stitched.top.train(batch_statistics or tops_train)


def _step(runs: Sequence[_Run], below: Sequence[Tensor], labels: Tensor, classes: int, how: TaskLoss) -> None:
    for run, activation in zip(runs, below, strict=True):
        loss = _loss(run, activation, labels, classes, how)
        loss.backward()  # type: ignore[no-untyped-call]
        if ranks().counts:
            # Kept on the device: asking for the number would wait for it at every step.
            run.total = run.total + loss.detach().double() * _weight(labels)
            run.seen += len(labels)
    parameters = (parameter for run in runs for parameter in run.stitched.stitch.parameters())
    ranks().average_gradients(parameters, len(labels))


def _weight(labels: Tensor) -> int:
    """What makes a loss the sum over this process's examples: one of several has summed it already."""
    return 1 if ranks().several else len(labels)


def _loss(run: _Run, activation: Tensor, labels: Tensor, classes: int, how: TaskLoss) -> Tensor:
    """The mean over the batch; over several processes, whose parts are uneven, the sum over this one's part."""
    with autocast(how.precision, str(activation.device)):
        logits = run.stitched.top(run.stitched.stitch(activation))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != classes:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        found = f"outputs of shape {shape} for {classes} classes"
        raise TaskMismatch("a fit by task loss", found, "use a network that returns one score a class")
    logits = logits.float() if how.precision == "bfloat16" else logits
    return cross_entropy(logits, labels, reduction="sum" if ranks().several else "mean")


def _end_epoch(runs: Sequence[_Run]) -> None:
    seen = [torch.tensor(run.seen, device=run.total.device) for run in runs]
    ranks().sum([*(run.total for run in runs), *seen])
    for run, examples in zip(runs, seen, strict=True):
        mean = float(run.total) / int(examples)
        run.curve.append(mean)
        run.total, run.seen = torch.zeros((), dtype=torch.float64), 0
        if not math.isfinite(mean):
            do = "lower the learning rate, or look at the activations at the two cuts"
            run.failure = NumericalFailure(f"a fit by task loss: {run.label}", f"a loss of {mean}", do)


@torch.no_grad()
def _stop_early(
    runs: Sequence[_Run], source: Activations | OwnStatistics, held_out: Tensor, classes: int, how: TaskLoss
) -> None:
    """Judge each stitch on the held-out examples; keep its best, and stop it when its patience is over."""
    if not runs:
        return
    for run in runs:
        run.stitched.eval()
    losses = torch.zeros(len(runs), dtype=torch.float64)
    batches = source.batches([run.stitched.bottom for run in runs], held_out)
    for whole, (below, labels) in zip(torch.split(held_out, how.batch_size), batches, strict=True):
        with among(ranks().sharing(len(whole))):
            for index, (run, activation) in enumerate(zip(runs, below, strict=True)):
                loss = float(_loss(run, activation, labels, classes, how))
                losses[index] += loss * _weight(labels) * ranks().counts / len(held_out)
    ranks().sum([losses])
    for run, held_out_loss in zip(runs, losses.tolist(), strict=True):
        if run.best is None or held_out_loss < run.best.loss:
            states = [copy.deepcopy(part.state_dict()) for part in run.learning]
            run.best = _Best(held_out_loss, len(run.curve), states)
        run.stopped = len(run.curve) - run.best.epoch >= (how.patience or 0)


def _result(run: _Run) -> tuple[float, ...] | NumericalFailure:
    if run.failure is not None:
        return run.failure
    if run.best is not None:
        for part, state in zip(run.learning, run.best.states, strict=True):
            part.load_state_dict(state)
    return tuple(run.curve)


def reestimate(stitched: Stitched, train: Samples, seed: int, device: str, batch_size: int = 128) -> None:
    """Run once over the examples in train mode, so that the cloned running statistics become the stitched network's."""
    stitched.train()
    label = f"{stitched.bottom.cut.name} -> {stitched.top.cut.name}, statistics"
    with torch.no_grad():
        order = epoch_order(len(train), batch_size, generator("stitch order", seed, 0))
        for inputs, _ in track(train.batches(batch_size, order), label, steps_per_epoch(len(train), batch_size)):
            with among(ranks().sharing(len(inputs))):
                stitched(ranks().part(inputs).to(device))

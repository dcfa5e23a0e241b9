"""What a recipe will do before it does it: what is there, what is missing, and what that may cost.

Times are measured, not looked up: one training step of each network on this machine, and from that, by shares of
floating-point operations, everything else. They are estimates: half or twice as much is no surprise.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from modelstitch.compute import Compute
from modelstitch.cut import Cut, capture
from modelstitch.records import open_records
from modelstitch.stitching import Cuts, pairs_at
from modelstitch.support.memory import GB
from modelstitch.support.tensors import Inputs, call
from modelstitch.sweep.context import Context
from modelstitch.sweep.kinds import settings_of
from modelstitch.sweep.network_store import built_for, schedule_for
from modelstitch.sweep.plan import PairJob, Training
from modelstitch.sweep.run import context_of, trainings
from modelstitch.tasks import answer_of

_LIBRARIES = 0.6e9
"""Bytes of memory that the libraries and small networks take."""
_BATCH = 128


@dataclass(frozen=True)
class Estimate:
    """What a run would do.

    Attributes:
        networks: to train, by name, with the seconds each may take.
        networks_there: those trained already, or loaded.
        stitchings: by job, how many it asks for.
        stitchings_there: how many of them the store holds.
        comparisons: how many pairs to compare.
        seconds: in all, one job after the other.
        memory: bytes of memory that one process may take.
        disk: bytes that networks and stitches may take.
    """

    networks: dict[str, float]
    networks_there: tuple[str, ...]
    stitchings: dict[str, int]
    stitchings_there: int
    comparisons: int
    seconds: float
    memory: float
    disk: float


@dataclass(frozen=True)
class _Pace:
    """How fast a network is here.

    Attributes:
        seconds: of a training step, for each example.
        opening: seconds until it is captured, which is most of what tiny networks take.
        cuts: its blocks.
        every: all its cuts.
        bytes: of its weights.
    """

    seconds: float
    opening: float
    cuts: tuple[Cut, ...]
    every: tuple[Cut, ...]
    bytes: int


@dataclass(frozen=True)
class _Cost:
    count: int
    seconds: float
    bytes: int


def estimate(text: str, path: str | Path, *, networks: str | Path, compute: Compute | None = None) -> Estimate:
    """The outlook of a recipe; nothing is trained, fitted or written.

    Args:
        text: the recipe, YAML.
        path: of the store; it need not exist.
        networks: as of `run_recipe`, whose errors these are.
        compute: as of `run_recipe`.
    """
    context = context_of(text, networks=networks, compute=compute)
    jobs = trainings(context.plan)
    missing = [job for job in jobs if not context.networks.has(job, context.data)]
    paces = {name: _pace(context, name) for name in context.plan.names}
    training = {job.network: _training_seconds(job, context, paces[job.network]) for job in missing}
    pairs = {str(job): _pair(job, context, paces) for job in context.plan.pairs}
    total, there = sum(one.count for one in pairs.values()), _there(context, path)
    left = max(0.0, 1 - there / max(1, total))
    weights = sum(paces[job.network].bytes * (1 + len(job.checkpoints)) for job in missing)
    return Estimate(
        networks=training,
        networks_there=tuple(name for name in context.plan.names if context.has(name)),
        stitchings={name: one.count for name, one in pairs.items()},
        stitchings_there=there,
        comparisons=len(context.plan.comparisons),
        seconds=sum(training.values()) + left * sum(one.seconds for one in pairs.values()),
        memory=_LIBRARIES + GB * context.data.compute.memory,
        disk=weights + left * sum(one.bytes for one in pairs.values()),
    )


def _there(context: Context, path: str | Path) -> int:
    """Records of the recipe's networks that the store holds, by their names."""
    if not Path(path).exists():
        return 0
    names = set(context.plan.names)
    return sum({one.bottom_network, one.top_network} <= names for one in open_records(path).only(status="ok"))


def _pace(context: Context, name: str) -> _Pace:
    """Time one step of a network, or, where it is still to be trained, of a fresh one of its kind."""
    network = (
        context.network(name).module if context.has(name) else built_for(context.plan.training(name), context.data)
    )
    examples, device = context.data.whole.train, context.data.compute.place(network)
    begun = time.perf_counter()
    captured = capture(network, examples.example, kinds=context.plan.recipe.network_names()[name][0].kinds)
    opening = time.perf_counter() - begun
    seconds = _step(copy.deepcopy(network).to(device).train(), examples.batch(slice(0, _BATCH)).to(device).inputs)
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    return _Pace(seconds / _BATCH, opening, captured.blocks, captured.cuts[1:-1], size)


def _step(network: nn.Module, inputs: Inputs) -> float:
    """Seconds of one forward and backward pass, the better of two."""
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        loss = answer_of(call(network, inputs)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        # Reading a number waits for a GPU.
        float(loss.detach())
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _training_seconds(job: Training, context: Context, pace: _Pace) -> float:
    train = context.data.learnt_by(job.asked).train
    return schedule_for(job.asked, train).epochs * len(train) * pace.seconds


def _pair(job: PairJob, context: Context, paces: dict[str, _Pace]) -> _Cost:
    """Every stitching of a pair; a forward pass is a third of a training step, as is the gradient of the input."""
    split, asked = context.data.split, job.asked
    fitted, tested = len(split.train), len(split.test)
    count, size = 0, 0
    # Both are captured, and so is each network with fresh weights; once more to hold the halves to the whole.
    fresh = sum(name in asked.controls for name in ("untrained", "stem_reset")) * (1 + asked.both_ways)
    seconds = (2 + fresh) * (paces[job.bottom].opening + paces[job.top].opening)
    ways = [(job.bottom, job.top)] + ([(job.top, job.bottom)] if asked.both_ways else [])
    # The top's own bottom with a fresh stem has the cuts and the pace of the top.
    alike = 1 + sum(name in asked.controls for name in ("untrained", "noise", "shuffled"))
    met = [(bottom, top, alike) for bottom, top in ways]
    met += [(top, top, 1) for _, top in ways if "stem_reset" in asked.controls]
    for bottom, top, times in met:
        below, above = paces[bottom], paces[top]
        for first, settings in settings_of(asked):
            found = pairs_at(asked.cuts, _chosen(below, asked.cuts), _chosen(above, asked.cuts), first.family)
            tops = sum(1 - y.cost for _, y in found) * above.seconds
            for setting in settings:
                descent = setting.by.descent
                epochs = (descent.settled(fitted).epochs or 0) if descent else 0
                each = epochs * fitted * 2 / 3 * tops + tested / 3 * tops
                each += (fitted + tested) * (below.seconds + above.seconds) / 3
                count, seconds = count + times * len(found), seconds + times * each
                size += times * sum(4 * (x.channels or 1) * (y.channels or 1) for x, y in found)
    if "self" in asked.controls:
        count += len(asked.seeds) * (len(paces[job.bottom].cuts) + len(paces[job.top].cuts))
    return _Cost(count, seconds, size)


def _chosen(pace: _Pace, cuts: Cuts) -> tuple[Cut, ...]:
    """The blocks, every cut, or those that are named."""
    if cuts == "all":
        return pace.every
    return pace.cuts if isinstance(cuts, str) else tuple(cut for cut in pace.every if cut.name in cuts)

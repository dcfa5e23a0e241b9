"""One job done, wherever it runs: a network trained, a pair stitched, a pair compared.

Nothing here writes to a run's store: what was found goes to the keeper that is given, or is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from modelstitch.comparison import Comparison, compare_all
from modelstitch.data import Examples
from modelstitch.errors import ShapeMismatch
from modelstitch.networks import Network
from modelstitch.recipe import Stitchings
from modelstitch.records import Record
from modelstitch.stitches import Family
from modelstitch.stitching import (
    Keeper,
    Measured,
    Pairing,
    Pairings,
    controls,
    pairings,
    run,
    settled_task,
)
from modelstitch.sweep.kinds import settings_of
from modelstitch.sweep.plan import CompareJob, PairJob
from modelstitch.sweep.run_data import RunData
from modelstitch.tasks import Task


class Collected:
    """A keeper in a worker: it holds what was measured until the driver of the run takes it."""

    def __init__(self, done: frozenset[str]) -> None:
        self._done = done
        self.measured: list[Measured] = []

    def finished(self, keys: Iterable[str]) -> Mapping[str, Record | None]:
        """Those keys that the run's store held when the job began."""
        return dict.fromkeys(key for key in keys if key in self._done)

    def append(self, record: Record, stitch: bytes | None = None) -> None:
        """Keep a record and its stitch."""
        self.measured.append(Measured(record, stitch))


def stitch_pair(
    job: PairJob, bottom: Network, top: Network, own: tuple[Examples, Examples], data: RunData, keeper: Keeper
) -> None:
    """Every stitching that a pair job asks for, each record given to the keeper as soon as its pairing is done.

    Args:
        job: what is asked.
        bottom: the network that lends its bottoms.
        top: the network that lends its tops.
        own: what the top and the bottom were trained on, for stitches that are fitted on what their top saw.
        data: the data.
        keeper: says what is done already, and takes the rest.

    Raises:
        StitchError: anything that makes the pair unfit to be stitched.
    """
    asked, test = job.asked, data.split.test
    lower, upper = ((one.name, one.module) for one in (bottom, top))
    task = settled_task(data.task, [lower, upper] if asked.both_ways else [upper], test, [lower])
    below, above = (one.ready(test.example, data.compute) for one in (bottom, top))
    if asked.fit_on == "all":
        found = _pairings(asked, below, above, data.split.train, task, data, both=asked.both_ways)
    else:
        found = _pairings(asked, below, above, own[0], task, data, both=False)
        found += _pairings(asked, above, below, own[1], task, data, both=False) if asked.both_ways else []
    if not any(pairing.pairs for pairing in found):
        raise ShapeMismatch(str(job), "no two cuts that the families can map", "choose other cuts or networks")
    run(found, keeper)


def _pairings(
    asked: Stitchings, below: Network, above: Network, train: Examples, task: Task, data: RunData, *, both: bool
) -> list[Pairing]:
    """The pairings of one direction or both, in every setting, controls after the stitchings."""
    found: list[Pairing] = []
    cuts = tuple(asked.cuts) if isinstance(asked.cuts, list) else asked.cuts
    made: Pairings | None = None
    chosen: Family | None = None
    for first, settings in settings_of(asked):
        chosen = chosen or first.family
        # One room for all settings: what a network gives does not depend on them.
        made = (
            replace(made, setting=first) if made else pairings(train, data.split.test, task, first, data.compute, cuts)
        )
        plain = made.directions(below, above, both=both)
        for bottom, top in [(below, above)] + ([(above, below)] if both else []):
            plain += controls(asked.controls, made, bottom, top)
        # Pairings of one family and seed share their moments, whatever the matching and the batch-norm mode.
        found += [replace(pairing, setting=setting) for setting in settings for pairing in plain]
        if "self" in asked.controls and first.family == chosen:
            found += [made.self_stitches(one) for one in (below, above)]
    return found


def compare_pair(job: CompareJob, a: Network, b: Network, data: RunData) -> Comparison:
    """Every measure of a compare job at every pair of block cuts, on the test examples.

    Args:
        job: what is asked.
        a: the first network.
        b: the second.
        data: the data.
    """
    names = (job.a, job.b)
    return compare_all(a, b, data.split.test, measures=job.measures, names=names, compute=data.compute)

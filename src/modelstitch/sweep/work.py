"""One job done, wherever it runs: a network trained, a pair stitched, a pair compared.

Nothing here writes to a run's store: what was found goes to the keeper that is given, or is returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import nn

from modelstitch.comparison import Comparison, compare_all
from modelstitch.data import Samples
from modelstitch.errors import ShapeMismatch
from modelstitch.recipe import Stitchings
from modelstitch.records import Record
from modelstitch.stitching import Measured, Prepared, check_classes, prepare
from modelstitch.sweep.groups import Group, Keeper, Shared, run
from modelstitch.sweep.material import Material
from modelstitch.sweep.plan import CompareJob, PairJob
from modelstitch.sweep.settings import family_of, settings_of


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
    job: PairJob, bottom: nn.Module, top: nn.Module, own: tuple[Samples, Samples], material: Material, keeper: Keeper
) -> None:
    """Every stitching that a pair job asks for, each record given to the keeper as soon as its group is done.

    Args:
        job: what is asked.
        bottom: the network that lends its bottoms.
        top: the network that lends its tops.
        own: what the top and the bottom were trained on, for stitches that are fitted on what their top saw.
        material: the data.
        keeper: says what is done already, and takes the rest.

    Raises:
        StitchError: anything that makes the pair unfit to be stitched.
    """
    asked, test = job.asked, material.split.test
    check_classes([(job.bottom, bottom), (job.top, top)], test)
    below, above = (
        prepare(network, name, test, device=material.device) for network, name in ((bottom, job.bottom), (top, job.top))
    )
    if asked.fit_on == "all":
        found = _groups(asked, below, above, material.split.train, material, both=asked.both_ways)
    else:
        found = _groups(asked, below, above, own[0], material, both=False)
        found += _groups(asked, above, below, own[1], material, both=False) if asked.both_ways else []
    if not any(group.pairs for group in found):
        raise ShapeMismatch(str(job), "no two cuts that the families can map", "choose other cuts or networks")
    run(found, keeper)


def _groups(
    asked: Stitchings, below: Prepared, above: Prepared, train: Samples, material: Material, *, both: bool
) -> list[Group]:
    """The groups of one direction or both, in every setting, controls after the stitchings."""
    found: list[Group] = []
    for first, settings in settings_of(asked):
        cuts = tuple(asked.cuts) if isinstance(asked.cuts, list) else asked.cuts
        base = Shared(train, material.split.test, first, cuts, material.budget)
        plain = base.directions(below, above, both=both)
        for bottom, top in [(below, above)] + ([(above, below)] if both else []):
            plain += base.controls(asked.controls, bottom, top)
        # Groups of one family and seed share their moments, whatever the matching and the batch-norm mode.
        found += [
            replace(group, shared=replace(group.shared, setting=setting)) for setting in settings for group in plain
        ]
        if "self" in asked.controls and first.family == family_of(asked.families[0]):
            found += [base.self_stitches(one) for one in (below, above)]
    return found


def compare_pair(job: CompareJob, a: nn.Module, b: nn.Module, material: Material) -> Comparison:
    """Every measure of a compare job at every pair of block cuts, on the test examples.

    Args:
        job: what is asked.
        a: the first network.
        b: the second.
        material: the data.
    """
    return compare_all(a, b, material.split.test, measures=job.measures, names=(job.a, job.b), device=material.device)

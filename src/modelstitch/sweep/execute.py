"""A recipe carried out: what is missing is trained, stitched and compared, and everything found goes to one store.

Called again it goes on. A job that fails is noted with its reason, and the rest goes on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import nn

from modelstitch.comparison import Comparison
from modelstitch.data import Samples
from modelstitch.errors import NotWritable, SettingError, StitchError, did_you_mean
from modelstitch.measures import MEASURES
from modelstitch.networks import LoadedNetwork, load_network, weights_fingerprint
from modelstitch.progress import track
from modelstitch.records import Records, Store
from modelstitch.stitching import Measured
from modelstitch.sweep.groups import Keeper
from modelstitch.sweep.library import Library, split_for
from modelstitch.sweep.plan import CompareJob, Job, PairJob, Plan, Training
from modelstitch.sweep.work import Material, compare_pair, stitch_pair


@dataclass(frozen=True)
class Failure:
    """A job that gave nothing, and why."""

    reason: str


Found = Path | list[Measured] | Comparison | Failure
"""What a job gives: a network's folder, records with their stitches, similarities, or a failure."""


class Engine(Protocol):
    """Where jobs run."""

    def run(self, jobs: list[Job], shop: Shop) -> Iterable[tuple[Job, Found]]:
        """Do the jobs, in any order; each comes back with what it gave."""

"""What jobs are done with: the plan, the data and the networks. It travels to wherever a job runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelstitch.comparison import Comparison
from modelstitch.data import Examples
from modelstitch.errors import NotWritable, Parted, StitchError
from modelstitch.networks import Network, load_network, on_raw
from modelstitch.parallel import ranks
from modelstitch.stitching import Keeper, Measured
from modelstitch.sweep.jobs import compare_pair, stitch_pair
from modelstitch.sweep.network_store import NetworkStore
from modelstitch.sweep.plan import Job, PairJob, Plan, Training
from modelstitch.sweep.run_data import RunData


@dataclass(frozen=True)
class Failure:
    """A job that gave nothing, and why."""

    reason: str


Found = Path | list[Measured] | Comparison | Failure
"""What a job gives: a network's folder, records with their stitches, similarities, or a failure."""


@dataclass(frozen=True)
class Context:
    """Everything a job needs.

    Attributes:
        plan: what is asked.
        data: the data.
        networks: the trained networks.
    """

    plan: Plan
    data: RunData
    networks: NetworkStore
    _loaded: dict[str, Network] = field(default_factory=dict, compare=False)

    def fresh(self) -> Context:
        """The same without anything loaded, to send to another process of this machine."""
        return Context(self.plan, replace(self.data), self.networks)

    def has(self, name: str) -> bool:
        """Whether a network is there; one that is loaded and not trained is tried when it is used."""
        return name in self.plan.loads or self.networks.has(self.plan.training(name), self.data)

    def network(self, name: str) -> Network:
        """A network under the name that the recipe gives it.

        Raises:
            StitchError: it is not there, or damaged.
        """
        if name not in self._loaded:
            if name in self.plan.loads:
                asked = self.plan.loads[name]
                self._loaded[name] = replace(load_network(asked.load), name=name, kinds=asked.kinds)
            else:
                # By the first process, which has written it: another host's disk may not show it yet.
                training = self.plan.training(name)
                self._loaded[name] = ranks().from_first(lambda: self.networks.load(training, self.data))
        return self._loaded[name]

    def together(self, names: Sequence[str]) -> tuple[list[Network], RunData]:
        """Networks that meet, and the data as both take them: raw where one of them prepares images itself.

        Raises:
            StitchError: as of `network`.
        """
        found = [self.network(name) for name in names]
        raw = on_raw(found, self.data.whole.train)
        return (found, self.data) if raw is None else (raw, self.data.raw)

    def own(self, name: str, data: RunData) -> Examples:
        """The train examples that a network was trained on; those of the recipe for one that was not trained by it."""
        if name in self.plan.loads:
            return data.split.train
        return data.learnt_by(self.plan.training(name).asked).train

    def do(self, job: Job, keeper: Keeper) -> Found:
        """Do one job; an error of the job is a failure, an error of the keeper ends the run.

        Args:
            job: what to do.
            keeper: takes the records of a pair as they are made.
        """
        # Whoever is still at the last job is waited for here.
        ranks().check_same("a job", str(job))
        try:
            return self._do(job, keeper)
        except (NotWritable, Parted):
            raise
        except Exception as error:
            ranks().all_fail(error)
            # Whatever it was, the other jobs can be done without it; Ctrl-C is no `Exception`.
            told = str(error) if isinstance(error, StitchError) else f"{type(error).__name__}: {error}"
            return Failure(told)

    def _do(self, job: Job, keeper: Keeper) -> Found:
        if isinstance(job, Training):
            return self.networks.train(job, self.data, *(self.network(name).module for name in job.needs))
        (first, second), data = self.together(job.needs)
        if isinstance(job, PairJob):
            own = [self.own(name, data) for name in (job.top, job.bottom)]
            stitch_pair(job, first, second, (own[0], own[1]), data, keeper)
            return []
        return compare_pair(job, first, second, data)

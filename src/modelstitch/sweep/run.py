"""A recipe carried out: what is missing is trained, stitched and compared, and everything found goes to one store.

Called again it goes on. A job that fails is noted with its reason, and the rest goes on without it. One process alone
writes the store, wherever the jobs run, and also where several processes share each of them (`modelstitch.launch`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import asdict
from pathlib import Path

from modelstitch.comparison import Comparison
from modelstitch.compute import Compute
from modelstitch.errors import SettingError, StitchError, did_you_mean
from modelstitch.measures import MEASURES
from modelstitch.parallel import ranks
from modelstitch.records import Records, Store
from modelstitch.support.files import expanded
from modelstitch.support.progress import track
from modelstitch.sweep.context import Context, Failure, Found
from modelstitch.sweep.executors import Executor, Here
from modelstitch.sweep.kinds import checked_recipe, task_of
from modelstitch.sweep.network_store import NetworkStore
from modelstitch.sweep.plan import CompareJob, Job, Plan, Training, plan_of
from modelstitch.sweep.run_data import RunData

Compared = tuple[str, str, str, str]
"""Measure, weights of both networks, and data."""


def run_recipe(
    text: str,
    store: Store,
    *,
    networks: str | Path = "networks",
    executor: Executor | None = None,
    compute: Compute | None = None,
) -> Records:
    """Carry out a recipe; what the store and the folder of networks hold already is not done again.

    Args:
        text: the recipe, YAML.
        store: takes the recipe, its records with their stitches, similarities, and the failures of whole jobs.
        networks: a folder of networks, shared by all recipes.
        executor: where jobs run; in this process, one after the other, unless told otherwise.
        compute: where, by default on the CPU, and how much room activations may take; it changes no record.

    Returns:
        The records of the store.

    Raises:
        SettingError: the text is no recipe, or it asks what cannot be.
        DataError: the data are not to be had.
        NotWritable: the store refuses, or its disk is full; what it holds is whole.
    """
    context = context_of(text, networks=networks, compute=compute)
    plan, executor = context.plan, executor or Here()
    store.add_recipe(plan.recipe.name, text)
    for wave in _waves(trainings(plan)):
        there = {name for name in plan.names if context.has(name)}
        _do(executor, [job for job in wave if _can_begin(job, there, store)], context, store, "networks")
    usable = {name for name in plan.names if _usable(name, context, store)}
    jobs: list[Job] = [*plan.pairs, *plan.comparisons]
    ready = [job for job in jobs if _can_begin(job, usable, store)]
    compared = _compared(store)
    _do(
        executor,
        [job for job in ready if not _is_compared(job, context, compared)],
        context,
        store,
        "pairs of networks",
    )
    return store.records()


def context_of(text: str, *, networks: str | Path = "networks", compute: Compute | None = None) -> Context:
    """The plan of a recipe with its data and networks; arguments and errors as of `run_recipe`."""
    plan = plan_of(checked_recipe(text))
    for name in plan.recipe.measures:
        if name not in MEASURES:
            do = did_you_mean(name, MEASURES, f"choose among {', '.join(MEASURES)}")
            raise SettingError(f"the measures of {plan.recipe.name}", f"no measure {name!r}", do)
    data = RunData(plan.recipe.data, compute or Compute(), task_of(plan.recipe))
    # Data that are not there end the run before the first hour of it, not after.
    _ = data.split
    return Context(plan, data, NetworkStore(expanded(networks)))


def _waves(jobs: Sequence[Training]) -> list[list[Job]]:
    """The trainings in the order in which they wait for each other; those of one wave do not."""
    waves = sorted({job.wave for job in jobs})
    return [[job for job in jobs if job.wave == wave] for wave in waves]


def trainings(plan: Plan) -> list[Training]:
    """One training for all networks that differ in their checkpoint alone."""
    alike = {(str(one.asked.trained_alike()), one.seed): one for one in plan.trainings}
    return list(alike.values())


def _do(executor: Executor, jobs: Sequence[Job], context: Context, store: Store, label: str) -> None:
    for job, found in track(executor.run(jobs, context, store), label, len(jobs)):
        _take(job, found, context, store)


def _take(job: Job, found: Found, context: Context, store: Store) -> None:
    """Put what a job gave where it belongs."""
    if isinstance(found, Failure):
        store.add_failure(str(job), found.reason)
        return
    if isinstance(found, Comparison):
        assert isinstance(job, CompareJob)
        weights = {
            f"weights_{side}": one.weights for side, one in zip("ab", context.together(job.needs)[0], strict=True)
        }
        store.add_similarities([{**asdict(one), **weights} for one in found])
    if isinstance(found, list):
        for one in found:
            store.append(one.record, one.stitch)
    store.clear_failure(str(job))


def _usable(name: str, context: Context, store: Store) -> bool:
    """Whether a network is there and sound; what is known of it goes to the store."""
    if not context.has(name):
        return False
    try:
        loaded = context.network(name)
    except StitchError as error:
        ranks().all_fail(error)
        store.add_failure(f"load {name}", str(error))
        return False
    store.clear_failure(f"load {name}")
    store.add_network(name, loaded.weights, loaded.config or {})
    return True


def _can_begin(job: Job, usable: Set[str], store: Store) -> bool:
    """Whether its networks are there; a job without them is a failure of its own, so that none is lost silently."""
    missing = [name for name in job.needs if name not in usable]
    if missing:
        store.add_failure(str(job), f"no network {' and '.join(missing)}: it could not be trained or loaded")
    return not missing


def _is_compared(job: Job, context: Context, there: Set[Compared]) -> bool:
    if not isinstance(job, CompareJob):
        return False
    weights = [one.weights for one in context.together(job.needs)[0]]
    return all((measure, *weights, context.data.split.test.name) in there for measure in job.measures)


def _compared(store: Store) -> set[Compared]:
    rows = store.similarities()
    return {(str(row["measure"]), str(row["weights_a"]), str(row["weights_b"]), str(row["data"])) for row in rows}

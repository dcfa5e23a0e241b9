"""``modelstitch sweep``: a recipe planned or carried out; ``modelstitch schema``: what a recipe may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelstitch.cli import inputs, runs
from modelstitch.cli.options import Device, Json, Threads
from modelstitch.cli.processes import shared
from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.compute import Compute
    from modelstitch.records import Records, Store
    from modelstitch.sweep.executors import Executor

_RAY = "Run jobs as tasks of Ray: 'local', or a cluster's address (extra: ray)."


Networks = Annotated[Path, typer.Option(help="Trained networks, shared by all recipes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and what it may cost.")]
Jobs = Annotated[int, typer.Option(help="How many jobs at once, each in a process of its own.")]
Ray = Annotated[str | None, typer.Option(help=_RAY)]
Memory = Annotated[float | None, typer.Option(help="GB of memory for activations, each job; 2 by default.")]


@shared
def sweep(
    recipe: Annotated[Path, typer.Argument(help="A YAML file; `modelstitch schema` tells what it may hold.")],
    size: Annotated[str | None, typer.Option(help="One of the recipe's own sizes.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's store; runs/NAME.sqlite by default. Resumes.")] = None,
    networks: Networks = Path("runs/networks"),
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    ray: Ray = None,
    memory: Memory = None,
    compute: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Carry out a recipe: train what is missing, stitch every pair, and keep each record as soon as it is there."""
    from modelstitch.recipe import read_recipe
    from modelstitch.sweep import KINDS

    asked, text = read_recipe(recipe, size, kinds=KINDS)
    path = out or Path("runs") / f"{asked.name}.sqlite"
    where: dict[str, Any] = {"jobs": jobs, "ray": ray, "compute": inputs.with_room(compute, memory), "threads": threads}
    found = carried_out(text, path, dry_run=dry_run, as_json=as_json, networks=networks, **where)
    if found is not None:
        runs.run(*found, as_json)


def carried_out(
    text: str,
    path: Path,
    *,
    dry_run: bool,
    as_json: bool,
    networks: Path,
    jobs: int,
    ray: str | None,
    compute: Compute,
    threads: int | None,
) -> tuple[Records, Store] | None:
    """What a recipe gave; None where only its outlook was asked for, and shown."""
    inputs.use_threads(threads)
    common: dict[str, Any] = {"networks": networks, "compute": compute}
    if dry_run:
        from modelstitch.sweep import estimate

        runs.estimate(estimate(text, path, **common), as_json)
        return None
    from modelstitch.records import Store
    from modelstitch.sweep import run_recipe

    store = Store(path)
    return run_recipe(text, store, executor=_executor(jobs, ray, compute), **common), store


def _executor(jobs: int, ray: str | None, compute: Compute) -> Executor:
    from modelstitch.parallel import ranks
    from modelstitch.sweep.executors import Here, Processes

    if ranks().several and (jobs != 1 or ray is not None):
        asked = f"{'--jobs' if jobs != 1 else '--ray'} over {ranks().count} processes"
        found = "processes that do each job together, and jobs side by side"
        raise SettingError(asked, found, "choose one: --devices and --nodes, or --jobs, or --ray")
    if ray is not None:
        from modelstitch.sweep.on_ray import OnRay

        if jobs != 1:
            raise SettingError("--jobs with --ray", "two ways to run jobs", "leave --jobs out: Ray has its own count")
        # Ray hides every GPU from a task that has reserved none.
        return OnRay(ray, gpus=float(str(compute.device).startswith("cuda")))
    return Here() if jobs == 1 else Processes(jobs)


def schema() -> None:
    """Print the JSON schema of recipes, for editors that check YAML while it is written."""
    from modelstitch.recipe import recipe_schema
    from modelstitch.sweep import KINDS

    typer.echo(json.dumps(recipe_schema(KINDS), indent=2))

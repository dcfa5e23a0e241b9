"""How plans and runs are shown: an outlook before the work, and what came of it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import typer

from modelstitch.cli import show

if TYPE_CHECKING:
    from modelstitch.records import Records, Store
    from modelstitch.sweep import Estimate


def estimate(found: Estimate, as_json: bool) -> None:
    """What a run would do, and what that may cost."""
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found)))
        return
    for name in found.networks_there:
        typer.echo(f"there   {name}")
    for name, seconds in found.networks.items():
        typer.echo(f"train   {name}, about {_duration(seconds)}")
    for name, count in found.stitchings.items():
        typer.echo(f"{name}: {count} stitchings")
    if found.comparisons:
        typer.echo(f"compare {found.comparisons} pairs of networks")
    total = sum(found.stitchings.values())
    typer.echo(f"{total} stitchings in all, {found.stitchings_there} of them there")
    size = f"up to {found.memory / 1e9:.1f} GB of memory a process, {found.disk / 1e6:,.0f} MB of disk"
    typer.echo(f"about {_duration(found.seconds)} one job after the other, {size}; estimated from one step of training")


def _duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def figures() -> None:
    """The paper's figures that a recipe re-creates, with what each takes."""
    from modelstitch.recipe import paper_recipe, paper_recipes, time_of

    for name in paper_recipes():
        recipe, _ = paper_recipe(name, "small")
        pairs = sum(len(each.pairs) * (1 + each.both_ways) for each in recipe.stitchings)
        typer.echo(f"{name:<12}{recipe.question}")
        typer.echo(f"{'':<12}{len(recipe.network_names())} networks, {pairs} pairs of them; {time_of(name)}")


def run(found: Records, store: Store, as_json: bool) -> None:
    """The records of a run, and its failures; exit code 1 where anything failed."""
    if found:
        show.records(found, {}, as_json)
    failures = store.failures()
    for job, reason in failures.items():
        show.talk(f"failed: {job}\n{reason}")
    show.talk(f"{len(found)} records in {store.path}; the page: modelstitch report {store.path}")
    if failures:
        raise typer.Exit(1)
    show.leave(found)

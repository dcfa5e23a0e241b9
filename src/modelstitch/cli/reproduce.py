"""``modelstitch reproduce``: a figure of Bansal, Nakkiran and Barak (2021), from training to page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelstitch.cli import inputs, runs, show
from modelstitch.cli.options import DataFolder, Device, Json, Threads
from modelstitch.cli.sweep import DryRun, Jobs, Memory, Networks, Ray, carried_out
from modelstitch.errors import SettingError


def reproduce(
    figure: Annotated[str | None, typer.Argument(help="Which figure; --list shows all.")] = None,
    size: Annotated[
        str, typer.Option(help="full (as in the paper, needs a GPU) or small (hours on 2 cores).")
    ] = "small",
    list_all: Annotated[bool, typer.Option("--list", help="Show every figure and what it costs.")] = False,
    data: Annotated[str | None, typer.Option(help="Another data set than the recipe's own.")] = None,
    data_folder: DataFolder = None,
    out: Annotated[Path, typer.Option(help="Folder of the run's store, page and figures.")] = Path("runs"),
    networks: Networks = Path("runs/networks"),
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    ray: Ray = None,
    memory: Memory = None,
    compute: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Run the recipe of a figure and write its page: what is there already is not done again."""
    if list_all:
        runs.figures()
        return
    if figure is None:
        raise SettingError("reproduce", "no figure named", "name one; `modelstitch reproduce --list` shows all")
    from modelstitch.recipe import paper_recipe

    asked, text = paper_recipe(figure, size, data, data_folder)
    path = out / f"{asked.name}.sqlite"
    where: dict[str, Any] = {"jobs": jobs, "ray": ray, "compute": inputs.with_room(compute, memory), "threads": threads}
    found = carried_out(text, path, dry_run=dry_run, as_json=as_json, networks=networks, **where)
    if found is None:
        return
    _show_page(path)
    runs.run(*found, as_json)


def _show_page(store: Path) -> None:
    """Write the page and the figures beside a store."""
    from modelstitch.report import findings_of, write_figures, write_page

    gathered, page, figures = findings_of(store), store.with_suffix(".html"), store.with_suffix("")
    write_page(gathered, page)
    write_figures(gathered, figures)
    show.talk(f"page: {page}; figures: {figures}")

"""``modelstitch report``: one page of a run, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelstitch.cli import show


def report(
    run: Annotated[Path, typer.Argument(help="A store that `modelstitch sweep` has written.")],
    out: Annotated[Path | None, typer.Option(help="The page; beside the run by default.")] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for the figures as SVG, PNG and PDF.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Which recipe, where the store holds several.")] = None,
) -> None:
    """Write one self-contained HTML page that works offline, without loading any network."""
    from modelstitch.report import findings_of, write_figures, write_page

    found = findings_of(run, recipe)
    page = out or run.with_suffix(".html")
    write_page(found, page)
    typer.echo(page)
    for path in write_figures(found, figures) if figures else ():
        typer.echo(path)
    show.talk(f"{len(found.records)} records of {found.name}")

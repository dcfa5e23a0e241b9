"""``modelstitch demo``: the whole thing in about a minute, on data that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelstitch.cli import show
from modelstitch.cli.options import Json, Seed


def demo(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("demo"),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train two small networks on handwritten digits, stitch them at every cut, both ways, and draw the figure."""
    from modelstitch.cli.run_demo import run_demo

    records = run_demo(out, seed=seed)
    show.records(records, {}, as_json)
    show.talk(f"written: {out}/penalty.html, {out}/penalty.png, {out}/records.sqlite and the networks in {out}/nets")
    show.leave(records)

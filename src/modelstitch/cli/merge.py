"""``modelstitch merge``: several runs become one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelstitch.cli import show
from modelstitch.cli.options import Json


def merge(
    into: Annotated[Path, typer.Argument(help="The store to add to; made if need be.")],
    sources: Annotated[list[Path], typer.Argument(metavar="FROM...", help="Other stores, or exports of records.")],
    as_json: Json = False,
) -> None:
    """Add everything of other runs to a store; a success that it holds stays, a failure gives way to a success."""
    from modelstitch.records import Store

    store = Store(into)
    for source in sources:
        show.talk(f"{source}: {store.merge(source):,} records taken")
    show.merged(into, len(store.keys()), as_json)

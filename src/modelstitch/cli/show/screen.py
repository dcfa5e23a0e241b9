"""The screen: tables for people, JSON lines for programs, talk on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table


def talk(line: str) -> None:
    """Say something that is no data."""
    typer.echo(line, err=True)


def table_of(*columns: str, left: int) -> Table:
    """A table whose first ``left`` columns are words and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        # Only words may break on a narrow terminal: half a number is another number.
        words = index < left
        table.add_column(column, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    return table


def put(table: Table) -> None:
    """A table on the screen, or whole into a pipe."""
    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(table)
        return
    # Nobody looks at a pipe: no colours, and room enough that nothing is cut off or broken.
    Console(file=sys.stdout, width=10_000, force_terminal=False, color_system=None, markup=False).print(table)


def json_line(row: dict[str, Any]) -> None:
    """One object on a line of its own."""
    typer.echo(json.dumps(row, ensure_ascii=False))


def cell(value: object) -> str:
    """Any value as a cell of a table."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    # A line break would break the table, and an escape sequence the terminal.
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)

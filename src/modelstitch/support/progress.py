"""Progress bars on a terminal, silence elsewhere: talk goes to stderr, data to stdout.

Nested calls share one display: rich allows a single live display per process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_display: Progress | None = None


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield the items, drawing a bar with the time left when stderr is a terminal.

    Args:
        items: what to go through.
        label: what is being done, in a few words.
        total: how many items there are.
    """
    global _display
    if not sys.stderr.isatty():
        yield from items
        return
    outermost = _display is None
    if _display is None:
        _display = _new_display()
        _display.start()
    display = _display
    task = display.add_task(label, total=total)
    try:
        for item in items:
            yield item
            display.advance(task)
    finally:
        display.remove_task(task)
        if outermost:
            display.stop()
            _display = None


def _new_display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

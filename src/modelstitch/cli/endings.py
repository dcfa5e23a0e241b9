"""How a run ends: with which exit code, and with which words on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from modelstitch.errors import StitchError

FAILED, WRONG, INTERRUPTED = 1, 2, 130


class Verbs(TyperGroup):
    """The verbs as one command that turns every foreseen ending into an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was typed."""
        try:
            with _notes():
                return super().invoke(ctx)
        except StitchError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(WRONG) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted: what was finished is kept, nothing is half written", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # The reader has seen enough. Without this, the interpreter would complain while it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit from error


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Warnings as one line of talk, without the line of code that raised them."""
    with warnings.catch_warnings():
        # `showwarning` is the hook that the standard library offers for this, and the block restores it.
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"note: {message}", err=True)
        yield

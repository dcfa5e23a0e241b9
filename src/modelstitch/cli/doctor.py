"""``modelstitch doctor``: what this machine has, and whether a stitching comes out right on it."""

from __future__ import annotations

import typer

from modelstitch.cli import show
from modelstitch.cli.endings import FAILED
from modelstitch.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Versions, devices, data sets found, and a self-check: a network stitched to itself must lose exactly nothing."""
    from modelstitch.cli.examine import examine

    checks = examine()
    show.checks(checks, as_json)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)

"""Where data files lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloaded data: ``$XDG_CACHE_HOME/modelstitch``, or ``~/.cache/modelstitch``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (expanded(root) if root else Path.home() / ".cache") / "modelstitch"


def data_folders(*named: str | Path | None) -> list[Path]:
    """The folders to look into, in order: those named, then ``$MODELSTITCH_DATA``; absent ones left out."""
    return [expanded(folder) for folder in (*named, os.environ.get("MODELSTITCH_DATA")) if folder]


def expanded(path: str | Path) -> Path:
    """The path with a leading ``~`` or ``~user`` as that home, where there is one.

    Example:
        >>> expanded("~/data") == Path.home() / "data", expanded("data")
        (True, PosixPath('data'))
    """
    # Not Path.expanduser, which raises for a user that does not exist.
    return Path(os.path.expanduser(path))

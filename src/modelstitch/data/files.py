"""Where data files lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloaded data: ``$XDG_CACHE_HOME/modelstitch``, or ``~/.cache/modelstitch``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "modelstitch"


def data_folders(*named: str | Path | None) -> list[Path]:
    """The folders to look into, in order: those named, then ``$MODELSTITCH_DATA``; absent ones left out."""
    return [Path(folder) for folder in (*named, os.environ.get("MODELSTITCH_DATA")) if folder]

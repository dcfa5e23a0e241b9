"""Where data files lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from modelstitch.support.files import expanded


def cache_folder() -> Path:
    """The folder for downloaded data: ``$XDG_CACHE_HOME/modelstitch``, or ``~/.cache/modelstitch``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (expanded(root) if root else Path.home() / ".cache") / "modelstitch"


def data_folders(*named: str | Path | None) -> list[Path]:
    """The folders to look into, in order: those named, then ``$MODELSTITCH_DATA``; absent ones left out."""
    return [expanded(folder) for folder in (*named, os.environ.get("MODELSTITCH_DATA")) if folder]

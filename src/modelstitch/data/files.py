"""Where data files lie on this machine, and how new ones get there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from modelstitch.errors import NotWritable


def cache_folder() -> Path:
    """The folder for downloaded data: ``$XDG_CACHE_HOME/modelstitch``, or ``~/.cache/modelstitch``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "modelstitch"


def data_folders(*named: str | Path | None) -> list[Path]:
    """The folders to look into, in order: those named, then ``$MODELSTITCH_DATA``; absent ones left out."""
    return [Path(folder) for folder in (*named, os.environ.get("MODELSTITCH_DATA")) if folder]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds all of it or none, whatever interrupts.

    Raises:
        NotWritable: the folder refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except PermissionError as error:
        do = "name another folder, or set XDG_CACHE_HOME or MODELSTITCH_DATA"
        raise NotWritable(f"write {path}", str(error), do) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

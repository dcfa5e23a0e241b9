"""One door to the disk: a reader finds a whole file or none, whatever interrupts the writer."""

from __future__ import annotations

import os
from pathlib import Path

from modelstitch.errors import NotWritable


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name in its own folder, then rename it; the folder is made if need be.

    Args:
        path: where the file shall lie; what lies there already is replaced.
        content: every byte of it.

    Raises:
        NotWritable: the place refuses; what lay there before is untouched.
    """
    path = expanded(path)
    # The process id keeps two writers apart; the leading dot keeps a glob from finding half a file.
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise refusal(path, error) from error


def expanded(path: str | Path) -> Path:
    """The path with a leading ``~`` or ``~user`` as that home, where there is one.

    Example:
        >>> expanded("~/data") == Path.home() / "data", expanded("data")
        (True, PosixPath('data'))
    """
    # Not Path.expanduser, which raises for a user that does not exist.
    return Path(os.path.expanduser(path))


def refusal(path: str | Path, error: OSError) -> NotWritable:
    """The error for a place that cannot be written to, with the system's own reason."""
    return NotWritable(f"write {path}", error.strerror or str(error), "name a file in a folder you may write to")

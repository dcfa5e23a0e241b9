"""Files of records: read whole, or appended to by several processes, each of which may be killed at any moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from modelstitch.errors import BadFile
from modelstitch.files import refusal
from modelstitch.records.lines import line_of, record_of
from modelstitch.records.record import Record
from modelstitch.records.table import Records


def open_records(path: str | Path) -> Records:
    """The records in a file, in the order of its lines.

    Args:
        path: written by `Records.save` or a `RecordFile`.

    Raises:
        BadFile: there is no such file, or a line of it is torn or foreign; the line number is named.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        do = "name a file that `Records.save` or a sweep has written"
        raise BadFile(f"open the records in {path}", error.strerror or str(error), do) from error
    return Records(record_of(line, f"{path}, line {number}") for number, line in enumerate(lines, 1))


class RecordFile:
    """A growing file of records: each append is on the disk before the call returns.

    A last line torn by a kill is dropped, so that a run killed at any moment loses the job in hand and nothing else.
    Works on POSIX systems, where a file can be locked.

    Args:
        path: the file; it and its folder are made if need be.

    Raises:
        NotWritable: the place refuses.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._locked():
            pass

    def append(self, record: Record) -> None:
        """Add one record; another process may append to the same file at the same time.

        Raises:
            NotWritable: the place refuses, or the disk is full.
        """
        with self._locked() as handle:
            # A write cut short by a full disk leaves a torn line, which the next opening drops.
            rest = line_of(record)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)

    def records(self) -> Records:
        """What is in the file, one record per key: the last one written, so that a repeat replaces a failure.

        Raises:
            BadFile: a line is foreign.
        """
        with self._locked():
            return Records({record.key: record for record in open_records(self.path)}.values())

    def keys(self) -> frozenset[str]:
        """The keys of what is in the file.

        Raises:
            BadFile: a line is foreign.
        """
        return frozenset(record.key for record in self.records())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file opened for appending, its torn last line dropped, closed to other processes for the while."""
        # Not every system has this module; there the rest of modelstitch works all the same.
        import fcntl

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._drop_torn_line(handle)
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            raise refusal(self.path, error) from error

    def _drop_torn_line(self, handle: int) -> None:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            os.ftruncate(handle, self.path.read_bytes().rfind(b"\n") + 1)

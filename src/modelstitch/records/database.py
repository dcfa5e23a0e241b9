"""The SQLite file under a store: made, opened for one transaction, closed again.

Nothing stays open between two calls. So a store survives a fork, may be used from any thread, and is one whole file
whenever nobody writes. Beware: do not open the file by other means while a store of this process is at work. Closing
any handle of a file drops all locks that the process has on it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from modelstitch.errors import BadFile, NotWritable, StitchError
from modelstitch.records.rows import TABLES
from modelstitch.support.files import refusal

T = TypeVar("T")

APPLICATION = int.from_bytes(b"MSTI", "big")
FORMAT = 2
PATIENCE = 60.0
"""Seconds to wait for another process that writes."""

_REFUSED = {
    sqlite3.SQLITE_FULL: "make room on that disk, then start again: what is stored is whole",
    sqlite3.SQLITE_BUSY: "wait until the other process is done with it, then start again",
    sqlite3.SQLITE_LOCKED: "wait until the other process is done with it, then start again",
    **dict.fromkeys(
        (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM),
        "name a file in a folder you may write to",
    ),
}
_NAME_ONE = "name a file that `modelstitch stitch --out` or `Records.save` has written"
_SMALLEST = 512
_TRIES, _TICK = 20, 0.02


def make(path: Path) -> None:
    """Make an empty store where there is none; check that what is there is one, and can be written to.

    Raises:
        NotWritable: the place refuses.
        BadFile: another file is there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from error
    if path.exists() and not path.is_file():
        raise NotWritable(f"write {path}", "no regular file", "name a file in a folder you may write to")
    # SQLite takes a file of one byte for an empty one, and would write over it.
    if 0 < _size(path) < _SMALLEST:
        raise _NoDatabase(f"write {path}", *_foreign(path))
    with _connected(path, "mode=rwc") as connection:
        if _is_empty(connection):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        # Asked again: another process may have been quicker.
        if _is_empty(connection):
            for table in TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        _check(connection, path)
        # Changes nothing, but a file that may only be read refuses it.
        connection.execute("DELETE FROM failures WHERE 0")
        connection.execute("COMMIT")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction: on the disk when the block ends, undone when it is left by an error or a kill.

    Raises:
        NotWritable: the place refuses, the disk is full, or another process does not let go.
        BadFile: the file is damaged.
    """
    with _connected(path, "mode=rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The store as it is at one moment, for the process that also writes it.

    Raises:
        NotWritable: the place refuses.
        BadFile: the file is damaged.
    """
    with _connected(path, "mode=rw") as connection:
        connection.execute("BEGIN")
        yield connection


def read_only(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    """Read a store that may lie in a folder that refuses writing; no file is made or changed.

    SQLite makes files beside a store even to read it, unless it is told that nobody writes. So it is told that, and
    what was read is read again if somebody did write.

    Args:
        path: the store.
        ask: reads from the connection; it may be called several times.

    Raises:
        BadFile: there is no store of this format, or it is damaged.
    """
    for _ in range(_TRIES):
        try:
            before = _state(path)
            # Two writes within one tick of the clock would look like one.
            time.sleep(_TICK if before.age < _TICK else 0)
            with _unchanged(path, before) as (connection, is_locked):
                _check(connection, path)
                found = ask(connection)
            if is_locked or _state(path) == before:
                return found
        except StitchError:
            if _state(path) == before:
                raise
        except OSError as error:
            raise BadFile(f"read {path}", error.strerror or str(error), _NAME_ONE) from error
    raise BadFile(f"read {path}", "another process that writes to it all the while", "try again")


def is_database(path: Path) -> bool:
    """Whether the content of a file is SQLite's, whatever its name.

    Raises:
        BadFile: there is no such file.
    """
    try:
        # An empty file is an empty database to SQLite, and an empty export to everybody else.
        return path.stat().st_size > 0 and read_only(path, lambda _: True)
    except _NoDatabase:
        return False
    except BadFile:
        return True
    except OSError as error:
        raise BadFile(f"read {path}", error.strerror or str(error), _NAME_ONE) from error


class _NoDatabase(BadFile):
    """Not SQLite's at all."""


@contextlib.contextmanager
def _unchanged(path: Path, state: _State) -> Iterator[tuple[sqlite3.Connection, bool]]:
    """A connection that makes and changes no file, and whether SQLite's locks keep writers from what it reads."""
    with contextlib.ExitStack() as stack:
        is_locked = state.sidecars and Path(f"{path}-shm").exists()
        if not state.sidecars:
            connection = stack.enter_context(_connected(path, "immutable=1"))
        elif is_locked:
            connection = stack.enter_context(_connected(path, "mode=ro"))
        else:
            # A log that lacks its index, as after a copy, or a journal: neither can be read before it is worked in.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for part in (path, Path(f"{path}-wal"), Path(f"{path}-journal")):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(part, folder / part.name)
            connection = stack.enter_context(_connected(folder / path.name, "mode=rw"))
        connection.execute("BEGIN")
        yield connection, is_locked


@dataclass(frozen=True)
class _State:
    """What changes when a store is written to."""

    inode: int
    size: int
    written: int
    sidecars: bool

    @property
    def age(self) -> float:
        """Seconds since the last write."""
        return time.time() - self.written / 1e9


def _state(path: Path) -> _State:
    found = path.stat()
    sidecars = any(_size(Path(f"{path}-{ending}")) for ending in ("wal", "journal"))
    return _State(found.st_ino, found.st_size, found.st_mtime_ns, sidecars)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _connected(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    try:
        uri = f"{path.absolute().as_uri()}?{how}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
    except sqlite3.DatabaseError as error:
        raise _told(path, how, error) from error


def _told(path: Path, how: str, error: sqlite3.DatabaseError) -> StitchError:
    # A number of three bytes, of which the last says what kind of error it is.
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    writes = how.startswith("mode=rw")
    if writes and kind in _REFUSED:
        return NotWritable(f"write {path}", str(error), _REFUSED[kind])
    asked = f"{'write' if writes else 'read'} {path}"
    if kind in _REFUSED:
        return BadFile(asked, str(error), _NAME_ONE)
    if kind == sqlite3.SQLITE_NOTADB:
        return _NoDatabase(asked, *_foreign(path))
    return _damaged(asked, path, str(error))


def _damaged(asked: str, path: Path, why: str) -> BadFile:
    do = f"save what is whole: `sqlite3 {path} .recover`; or run again what made it, into a new file"
    return BadFile(asked, f"a damaged store ({why})", do)


def _foreign(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        export = file.read(1) == b"{"
    if export:
        return "lines of JSON, an export", f"make a store of it: `modelstitch merge NEW.sqlite {path}`"
    return "no SQLite file", "name a new file, or a store that `modelstitch stitch --out` has written"


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(_number(connection, "application_id") == 0 and tables == 0)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is none of ours."""
    asked = f"open the store {path}"
    if _number(connection, "application_id") != APPLICATION:
        raise BadFile(asked, "a database of another program", _NAME_ONE)
    found = _number(connection, "user_version")
    if found != FORMAT:
        do = "read it with the modelstitch that wrote it"
        raise BadFile(asked, f"format {found}, where this modelstitch knows {FORMAT}", do)
    # SQLite misses whole pages, but reads half a page as if the rest were zeros.
    state = _state(path)
    if state.size % _number(connection, "page_size") and not state.sidecars:
        raise _damaged(asked, path, "its end is missing")


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

"""What is in a file of records, read without changing it: a store, while it is written or after, or an export."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modelstitch.errors import SettingError
from modelstitch.records.contents import all_failures, all_records, one_stitch
from modelstitch.records.database import is_database, read_only
from modelstitch.records.exporting import Answer
from modelstitch.records.lines import records_in_lines
from modelstitch.records.table import Records
from modelstitch.support.files import expanded

# Whatever a statement is called that changes nothing, it is made of these.
_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_records(path: str | Path) -> Records:
    """The records in a file, in order; the content says which kind of file it is, not the name.

    Args:
        path: a `Store`, or what `Records.save` has written; it may lie in a folder that refuses writing.

    Raises:
        BadFile: there is no such file, it is neither, or a record in it is torn or foreign.
    """
    path = expanded(path)
    if not is_database(path):
        return Records(records_in_lines(path))
    return read_only(path, lambda connection: all_records(connection, path))


def open_stitch(path: str | Path, key: str) -> bytes:
    """The fitted stitch of a record in a store, as safetensors.

    Raises:
        BadFile: there is no such store, or it is damaged.
        StitchNotFound: none is kept under that key.
    """
    path = expanded(path)
    return read_only(path, lambda connection: one_stitch(connection, path, key))


def open_failures(path: str | Path) -> dict[str, str]:
    """Why jobs of a run failed as a whole, by job; an export tells of none.

    Raises:
        BadFile: there is no such file, or it is damaged.
    """
    path = expanded(path)
    return read_only(path, all_failures) if is_database(path) else {}


def query(path: str | Path, sql: str) -> Answer:
    """What a store answers to a question in SQL, which can read everything and change nothing.

    Args:
        path: the store.
        sql: one statement that reads.

    Raises:
        SettingError: no such statement, or one that would write.
        BadFile: there is no such store, or it is damaged.
    """

    def ask(connection: sqlite3.Connection) -> Answer:
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY)
        try:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchall()
        # `Warning` is what Python 3.11 raises where there are two statements.
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorcode", None) in _DAMAGE:
                raise
            raise _refused(sql, error) from error
        if not columns:
            raise SettingError(f"ask {sql!r}", "no statement", "ask a SELECT")
        twice = [name for name in columns if columns.count(name) > 1]
        if twice:
            raise SettingError(f"ask {sql!r}", f"two columns {twice[0]!r}", f"name one of them: `{twice[0]} AS other`")
        return Answer(tuple(columns), rows)

    return read_only(expanded(path), ask)


def _refused(sql: str, error: Exception) -> SettingError:
    # SQLite looks at whether a view can be written to before it asks whether that is allowed.
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_AUTH or "because it is a view" in str(error):
        return SettingError(f"ask {sql!r}", f"a statement that does not only read ({error})", "ask a SELECT")
    return SettingError(f"ask {sql!r}", str(error), "see the tables: `--sql 'SELECT sql FROM sqlite_master'`")

"""What an open store holds: records and stitches read from their tables, and put into them.

Beware: each function works within the transaction of its caller.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelstitch.errors import BadFile, StitchNotFound
from modelstitch.records.left_out import LeftOut
from modelstitch.records.record import COLUMNS, Record
from modelstitch.records.rows import (
    FOUND_TABLES,
    SIMILARITY,
    NetworkRow,
    Row,
    found_rows,
    names,
    record_in,
    row_of,
    similarity_in,
    similarity_row,
)
from modelstitch.records.table import Records

_AT_ONCE = 500
# Made with its first row, so that stores of before are read and written as they are.
_LEFT_OUT = (
    "CREATE TABLE IF NOT EXISTS left_out (stitching TEXT NOT NULL, reason TEXT NOT NULL, UNIQUE (stitching, reason))"
)
_KEY, _STATUS, _CREATED = (list(COLUMNS).index(name) for name in ("key", "status", "created"))


def all_records(connection: sqlite3.Connection, path: Path) -> Records:
    """Every record of an open store, in the order in which their keys came."""
    return Records(_records(connection, path), all_left_out(connection))


def finished_records(connection: sqlite3.Connection, path: Path, keys: Iterable[str]) -> dict[str, Record]:
    """Of these keys, the records that are there and no failures."""
    asked = list(dict.fromkeys(keys))
    found: dict[str, Record] = {}
    # An old SQLite takes 999 values in a statement.
    for some in (asked[i : i + _AT_ONCE] for i in range(0, len(asked), _AT_ONCE)):
        where = f"WHERE key IN ({', '.join('?' * len(some))})"
        found |= {record.key: record for record in _records(connection, path, where, some, "AND status = 'ok'")}
    return found


def _records(
    connection: sqlite3.Connection, path: Path, where: str = "", values: Sequence[str] = (), also: str = ""
) -> Iterator[Record]:
    """The records of the rows that a condition chooses."""
    rows: dict[str, dict[str, list[Row]]] = {}
    for table, (order, columns) in FOUND_TABLES.items():
        rows[table] = defaultdict(list)
        for key, *row in connection.execute(
            f"SELECT key, {names(columns)} FROM {table} {where} ORDER BY key, {order}", values
        ):
            rows[table][key].append(tuple(row))
    asked = f"SELECT {names(COLUMNS)} FROM records_asked {where} {also} ORDER BY rowid"
    for row in connection.execute(asked, values).fetchall():
        found = {table: of.get(row[_KEY], []) for table, of in rows.items()}
        yield record_in(row, found, str(path))


def all_networks(connection: sqlite3.Connection, path: Path) -> list[NetworkRow]:
    """The networks of an open store, oldest first."""
    rows = connection.execute("SELECT name, weights, config FROM networks ORDER BY rowid")
    return [NetworkRow(name, weights, _config_in(config, path)) for name, weights, config in rows]


def all_failures(connection: sqlite3.Connection) -> dict[str, str]:
    """Why jobs failed, by job, oldest first."""
    return dict(connection.execute("SELECT job, reason FROM failures ORDER BY rowid").fetchall())


def all_left_out(connection: sqlite3.Connection) -> list[LeftOut]:
    """What runs left out, oldest first; a store that was made before this was kept tells of nothing."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'left_out'").fetchone()
    rows = connection.execute("SELECT stitching, reason FROM left_out ORDER BY rowid") if there else ()
    return [LeftOut(*row) for row in rows]


def leave_out(connection: sqlite3.Connection, left_out: Iterable[LeftOut]) -> None:
    """Keep what a run left out; of a repeat, what is there stays."""
    rows = list(left_out)
    if rows:
        connection.execute(_LEFT_OUT)
        connection.executemany("INSERT OR IGNORE INTO left_out VALUES (?, ?)", rows)


def one_stitch(connection: sqlite3.Connection, path: Path, key: str) -> bytes:
    """A fitted stitch of an open store.

    Raises:
        StitchNotFound: none is kept under that key.
    """
    found = connection.execute("SELECT weights FROM stitches WHERE key = ?", (key,)).fetchone()
    if found:
        return bytes(found[0])
    status = connection.execute("SELECT status FROM records_asked WHERE key = ?", (key,)).fetchone()
    there = f"a record of status {status[0]!r} and no stitch" if status else "no record of that key"
    raise StitchNotFound(f"the stitch of {key} in {path}", there, f"see the keys: `modelstitch records {path} --json`")


def put(connection: sqlite3.Connection, record: Record, stitch: bytes | None = None) -> bool:
    """Add a record, or put it in the place of a failure; returns whether that changed anything."""
    row, found = row_of(record), dict(found_rows(record))
    columns = names(COLUMNS)
    there = connection.execute(f"SELECT {columns} FROM records_asked WHERE key = ?", (record.key,)).fetchone()
    same = there == row and found == _found(connection, record.key)
    taken = there is None or _gives_way(there, row)
    if taken:
        # Not 'INSERT OR REPLACE', which would move the row to the end.
        connection.execute(
            f"INSERT INTO records_asked ({columns}) VALUES ({', '.join('?' * len(COLUMNS))}) "
            "ON CONFLICT (key) DO UPDATE SET " + ", ".join(f"[{name}] = excluded.[{name}]" for name in COLUMNS),
            row,
        )
        # What gives way is a failure, of which nothing was found.
        for table, rows in found.items():
            if rows:
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    # A stitch belongs to the numbers that were measured with it, not to those of a repeat elsewhere.
    if stitch is not None and (taken or same):
        connection.execute("INSERT OR IGNORE INTO stitches VALUES (?, ?)", (record.key, stitch))
    return taken


def _found(connection: sqlite3.Connection, key: str) -> dict[str, list[Row]]:
    asked = "SELECT * FROM {} WHERE key = ? ORDER BY {}"
    return {
        table: connection.execute(asked.format(table, order), (key,)).fetchall()
        for table, (order, _) in FOUND_TABLES.items()
    }


def _gives_way(there: Row, row: Row) -> bool:
    if there[_STATUS] == "ok":
        return False
    return bool(row[_STATUS] == "ok" or (row[_CREATED] >= there[_CREATED] and row != there))


def put_similarities(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add similarities; of a repeat, what is there stays."""
    columns = f"({names(SIMILARITY)}) VALUES ({', '.join('?' * len(SIMILARITY))})"
    connection.executemany(f"INSERT OR IGNORE INTO similarities {columns}", rows)


def take(own: sqlite3.Connection, other: sqlite3.Connection, path: Path) -> int:
    """Put everything of another store, which lies at ``path``, into one; returns how many records were new."""
    stitched = {key for (key,) in other.execute("SELECT key FROM stitches")}
    new = 0
    for record in all_records(other, path):
        new += put(own, record, one_stitch(other, path, record.key) if record.key in stitched else None)
    for table, columns in (("recipes", 2), ("networks", 3), ("failures", 2)):
        rows = other.execute(f"SELECT * FROM {table} ORDER BY rowid")
        own.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})", rows)
    rows = other.execute(f"SELECT {names(SIMILARITY)} FROM similarities ORDER BY rowid")
    put_similarities(own, [similarity_row(similarity_in(row, str(path))) for row in rows])
    leave_out(own, all_left_out(other))
    return new


def _config_in(config: object, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(str(config))
    except ValueError as error:
        raise BadFile(f"read a network in {path}", f"a configuration that is no JSON ({error})", "delete it") from error
    if not isinstance(found, dict):
        raise BadFile(f"read a network in {path}", f"the configuration {found!r}", "delete it")
    return found

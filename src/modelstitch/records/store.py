"""The store of a run: one SQLite file with everything that was asked and found, one transaction for each addition.

Whatever kills a process, what an addition has returned from is there, and nothing is there twice.
Beware: a killed writer may leave a file of the same name that ends in ``-wal``. It belongs to the store: the next
opening takes it in, and whoever copies the one before that copies both.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelstitch.errors import BadFile, SettingError, StitchNotFound
from modelstitch.parallel import by_first
from modelstitch.records.database import is_database, make, read_only, reading, writing
from modelstitch.records.lines import records_in_lines
from modelstitch.records.record import COLUMNS, Record
from modelstitch.records.rows import SIMILARITY, Row, names, record_in, row_of, similarity_in, similarity_row, to_json
from modelstitch.records.table import Records

_AT_ONCE = 500
_KEY, _STATUS, _CREATED = (list(COLUMNS).index(name) for name in ("key", "status", "created"))


@dataclass(frozen=True)
class StoredNetwork:
    """A network that records speak of.

    Attributes:
        name: what they call it.
        weights: fingerprint of its weights.
        config: how it was built and trained, as far as is known.
    """

    name: str
    weights: str
    config: dict[str, Any]


class Store:
    """A growing file of what a run asked and found: each addition is on the disk before the call returns.

    Several processes may write to one store at the same time. Where they do one thing together (`modelstitch.launch`),
    the first alone opens the file, and all call each method.

    Args:
        path: the file; it and its folder are made if need be.

    Raises:
        NotWritable: the place refuses, the disk is full, or another process does not let go; of every method that adds.
        BadFile: no store of this format, or damaged; of every method.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        by_first(make)(self.path)

    @by_first
    def append(self, record: Record, stitch: bytes | None = None) -> None:
        """Add one record, or put it in the place of a failure of the same key; a success is never replaced.

        Args:
            record: what was found.
            stitch: the fitted stitch as safetensors; kept if the record is.

        Raises:
            SettingError: a failure with a stitch, or a number that no column can hold.
        """
        if stitch is not None and record.status == "failed":
            raise SettingError(f"store the failed {record.stitching}", "a stitch", "leave it out: nothing was measured")
        with writing(self.path) as connection:
            _put(connection, row_of(record), stitch)

    @by_first
    def records(self) -> Records:
        """All records, one per key, in the order in which their keys came."""
        with reading(self.path) as connection:
            return all_records(connection, self.path)

    @by_first
    def keys(self) -> frozenset[str]:
        """The keys of all records, failures among them."""
        with reading(self.path) as connection:
            return frozenset(key for (key,) in connection.execute("SELECT key FROM records"))

    @by_first
    def finished(self, keys: Iterable[str]) -> dict[str, Record]:
        """Of these keys, the records that are there and no failures."""
        asked = list(dict.fromkeys(keys))
        rows: list[Row] = []
        with reading(self.path) as connection:
            # An old SQLite takes 999 values in a statement.
            for some in (asked[i : i + _AT_ONCE] for i in range(0, len(asked), _AT_ONCE)):
                where = f"status = 'ok' AND key IN ({', '.join('?' * len(some))})"
                rows += connection.execute(f"SELECT {names(COLUMNS)} FROM records WHERE {where}", some)
        return {row[_KEY]: record_in(row, str(self.path)) for row in rows}

    @by_first
    def stitch(self, key: str) -> bytes:
        """The fitted stitch of a record, as safetensors.

        Raises:
            StitchNotFound: none is kept under that key.
        """
        with reading(self.path) as connection:
            return one_stitch(connection, self.path, key)

    @by_first
    def add_recipe(self, name: str, text: str) -> None:
        """Keep a recipe as it was written; a text that is there already is not kept twice."""
        self._add("INSERT OR IGNORE INTO recipes VALUES (?, ?)", name, text)

    @by_first
    def recipes(self) -> list[tuple[str, str]]:
        """The name and the text of each recipe, oldest first."""
        return [(name, text) for name, text in self._all("SELECT name, text FROM recipes ORDER BY rowid")]

    @by_first
    def add_network(self, name: str, weights: str, config: Mapping[str, Any]) -> None:
        """Keep what is known of a network; of each name and weights, what was told first stays.

        Raises:
            SettingError: the configuration cannot be written as JSON.
        """
        try:
            told = to_json(dict(config))
        except (TypeError, ValueError) as error:
            raise SettingError(f"store the network {name}", str(error), "give a configuration that is JSON") from error
        self._add("INSERT OR IGNORE INTO networks VALUES (?, ?, ?)", name, weights, told)

    @by_first
    def networks(self) -> list[StoredNetwork]:
        """The networks, oldest first."""
        rows = self._all("SELECT name, weights, config FROM networks ORDER BY rowid")
        return [StoredNetwork(name, weights, _config_in(config, self.path)) for name, weights, config in rows]

    @by_first
    def add_similarities(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add what a comparison found, all of it or nothing; of a repeat, what was found first stays.

        Args:
            rows: the fields of a `modelstitch.comparison.Similarity` each, with ``weights_a`` and ``weights_b``.

        Raises:
            SettingError: other columns, or values of another type.
            NumericalFailure: a number is not finite.
        """
        values = [similarity_row(row) for row in rows]
        with writing(self.path) as connection:
            _put_similarities(connection, values)

    @by_first
    def similarities(self) -> list[dict[str, object]]:
        """What `add_similarities` took, oldest first."""
        rows = self._all(f"SELECT {names(SIMILARITY)} FROM similarities ORDER BY rowid")
        return [similarity_in(row, str(self.path)) for row in rows]

    @by_first
    def add_failure(self, job: str, reason: str) -> None:
        """Keep why a job failed as a whole; an older reason of the same job is replaced."""
        self._add("INSERT OR REPLACE INTO failures VALUES (?, ?)", job, reason)

    @by_first
    def clear_failure(self, job: str) -> None:
        """Forget the failure of a job that has succeeded since."""
        self._add("DELETE FROM failures WHERE job = ?", job)

    @by_first
    def failures(self) -> dict[str, str]:
        """Why jobs failed, by job, oldest first."""
        with reading(self.path) as connection:
            return all_failures(connection)

    @by_first
    def merge(self, path: str | Path) -> int:
        """Add everything of another store, or the records of an export; what this store has found stays.

        A failure gives way to a success, or to a failure that is not older. All is added, or nothing.

        Args:
            path: the other store, or what `Records.save` has written.

        Returns:
            How many records were added, or took the place of a failure.

        Raises:
            BadFile: it is neither, or damaged.
        """
        path = Path(path)
        with writing(self.path) as own:
            if not is_database(path):
                return sum(_put(own, row_of(record)) for record in records_in_lines(path))
            own.execute("SAVEPOINT before")

            def take(other: sqlite3.Connection) -> int:
                # Read again where another process wrote to the other store meanwhile.
                own.execute("ROLLBACK TO before")
                return _take(own, other, path)

            return read_only(path, take)

    def _add(self, statement: str, *values: str) -> None:
        with writing(self.path) as connection:
            connection.execute(statement, values)

    def _all(self, statement: str) -> list[Row]:
        with reading(self.path) as connection:
            return connection.execute(statement).fetchall()


def all_records(connection: sqlite3.Connection, path: Path) -> Records:
    """Every record of an open store, in the order in which their keys came."""
    rows = connection.execute(f"SELECT {names(COLUMNS)} FROM records ORDER BY rowid")
    return Records(record_in(row, str(path)) for row in rows)


def all_failures(connection: sqlite3.Connection) -> dict[str, str]:
    """Why jobs failed, by job, oldest first."""
    return dict(connection.execute("SELECT job, reason FROM failures ORDER BY rowid").fetchall())


def one_stitch(connection: sqlite3.Connection, path: Path, key: str) -> bytes:
    """A fitted stitch of an open store.

    Raises:
        StitchNotFound: none is kept under that key.
    """
    found = connection.execute("SELECT weights FROM stitches WHERE key = ?", (key,)).fetchone()
    if found:
        return bytes(found[0])
    status = connection.execute("SELECT status FROM records WHERE key = ?", (key,)).fetchone()
    there = f"a record of status {status[0]!r} and no stitch" if status else "no record of that key"
    raise StitchNotFound(f"the stitch of {key} in {path}", there, f"see the keys: `modelstitch records {path} --json`")


def _put(connection: sqlite3.Connection, row: Row, stitch: bytes | None = None) -> bool:
    """Add a row, or replace a failure by it; returns whether that changed anything."""
    columns = names(COLUMNS)
    there = connection.execute(f"SELECT {columns} FROM records WHERE key = ?", (row[_KEY],)).fetchone()
    taken = there is None or _gives_way(there, row)
    if taken:
        # Not 'INSERT OR REPLACE', which would move the row to the end.
        connection.execute(
            f"INSERT INTO records ({columns}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (key) DO UPDATE SET "
            + ", ".join(f"[{name}] = excluded.[{name}]" for name in COLUMNS),
            row,
        )
    # A stitch belongs to the numbers that were measured with it, not to those of a repeat elsewhere.
    if stitch is not None and (taken or there == row):
        connection.execute("INSERT OR IGNORE INTO stitches VALUES (?, ?)", (row[_KEY], stitch))
    return taken


def _gives_way(there: Row, row: Row) -> bool:
    if there[_STATUS] == "ok":
        return False
    return bool(row[_STATUS] == "ok" or (row[_CREATED] >= there[_CREATED] and row != there))


def _put_similarities(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    columns = f"({names(SIMILARITY)}) VALUES ({', '.join('?' * len(SIMILARITY))})"
    connection.executemany(f"INSERT OR IGNORE INTO similarities {columns}", rows)


def _take(own: sqlite3.Connection, other: sqlite3.Connection, path: Path) -> int:
    """Everything of another store."""
    stitched = {key for (key,) in other.execute("SELECT key FROM stitches")}
    new = 0
    for record in all_records(other, path):
        new += _put(own, row_of(record), one_stitch(other, path, record.key) if record.key in stitched else None)
    for table, columns in (("recipes", 2), ("networks", 3), ("failures", 2)):
        rows = other.execute(f"SELECT * FROM {table} ORDER BY rowid")
        own.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})", rows)
    rows = other.execute(f"SELECT {names(SIMILARITY)} FROM similarities ORDER BY rowid")
    _put_similarities(own, [similarity_row(similarity_in(row, str(path))) for row in rows])
    return new


def _config_in(config: object, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(str(config))
    except ValueError as error:
        raise BadFile(f"read a network in {path}", f"a configuration that is no JSON ({error})", "delete it") from error
    if not isinstance(found, dict):
        raise BadFile(f"read a network in {path}", f"the configuration {found!r}", "delete it")
    return found

"""The store of a run: one SQLite file with everything that was asked and found, one transaction for each addition.

Whatever kills a process, what an addition has returned from is there, and nothing is there twice.
Beware: a killed writer may leave a file of the same name that ends in ``-wal``. It belongs to the store: the next
opening takes it in, and whoever copies the one before that copies both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelstitch.errors import SettingError
from modelstitch.parallel import by_first
from modelstitch.records import contents
from modelstitch.records.database import is_database, make, read_only, reading, writing
from modelstitch.records.left_out import LeftOut
from modelstitch.records.lines import records_in_lines
from modelstitch.records.record import Record
from modelstitch.records.rows import SIMILARITY, NetworkRow, Row, names, similarity_in, similarity_row, to_json
from modelstitch.records.table import Records
from modelstitch.support.files import expanded


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
        self.path = expanded(path)
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
            contents.put(connection, record, stitch)

    @by_first
    def records(self) -> Records:
        """All records, one per key, in the order in which their keys came."""
        with reading(self.path) as connection:
            return contents.all_records(connection, self.path)

    @by_first
    def keys(self) -> frozenset[str]:
        """The keys of all records, failures among them."""
        with reading(self.path) as connection:
            return frozenset(key for (key,) in connection.execute("SELECT key FROM records_asked"))

    @by_first
    def finished(self, keys: Iterable[str]) -> dict[str, Record]:
        """Of these keys, the records that are there and no failures."""
        with reading(self.path) as connection:
            return contents.finished_records(connection, self.path, keys)

    @by_first
    def stitch(self, key: str) -> bytes:
        """The fitted stitch of a record, as safetensors.

        Raises:
            StitchNotFound: none is kept under that key.
        """
        with reading(self.path) as connection:
            return contents.one_stitch(connection, self.path, key)

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
    def networks(self) -> list[NetworkRow]:
        """The networks, oldest first."""
        with reading(self.path) as connection:
            return contents.all_networks(connection, self.path)

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
            contents.put_similarities(connection, values)

    @by_first
    def similarities(self) -> list[dict[str, object]]:
        """What `add_similarities` took, oldest first."""
        rows = self._all(f"SELECT {names(SIMILARITY)} FROM similarities ORDER BY rowid")
        return [similarity_in(row, str(self.path)) for row in rows]

    @by_first
    def leave_out(self, left_out: Iterable[LeftOut]) -> None:
        """Keep what a run could not stitch; `records` tells of it."""
        with writing(self.path) as connection:
            contents.leave_out(connection, left_out)

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
            return contents.all_failures(connection)

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
        path = expanded(path)
        with writing(self.path) as own:
            if not is_database(path):
                return sum(contents.put(own, record) for record in records_in_lines(path))
            own.execute("SAVEPOINT before")

            def take(other: sqlite3.Connection) -> int:
                # Read again where another process wrote to the other store meanwhile.
                own.execute("ROLLBACK TO before")
                return contents.take(own, other, path)

            return read_only(path, take)

    def _add(self, statement: str, *values: str) -> None:
        with writing(self.path) as connection:
            connection.execute(statement, values)

    def _all(self, statement: str) -> list[Row]:
        with reading(self.path) as connection:
            return connection.execute(statement).fetchall()

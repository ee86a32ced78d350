"""The store in a file of the workspace: SQLite, which many processes of one machine read and write."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data.features.store import Clock, StoreUnavailable, described, now_us, packed, unpacked
from data.features.table import Features

WAIT_S = 2.0  # for another process that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS versions (
    view TEXT, version TEXT, time INTEGER, ends INTEGER, described TEXT, PRIMARY KEY (view, version)
);
CREATE TABLE IF NOT EXISTS rows (
    view TEXT, version TEXT, place INTEGER, id TEXT, packed BLOB, PRIMARY KEY (view, version, id)
) WITHOUT ROWID;
"""
_SOME = " AND id IN (SELECT value FROM json_each(?))"


class SqliteFeatures:
    """Features in a file.

    Args:
        path: of the file; made where it is absent, with its folder.
        clock: that says when features have ended.
    """

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self._path, self._clock, self._lock = path, clock, threading.Lock()
        self._opened: sqlite3.Connection | None = None

    def put(self, view: str, features: Features, ttl_s: float) -> str:
        """As of ``FeatureStore``; what has ended is deleted."""
        told, version = described(features, ttl_s), features.version
        rows = zip(range(len(features)), features.ids, packed(features), strict=True)
        with self._connection() as database:
            ends = json.loads(told)["ends"]
            made = database.execute(
                "INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?)", (view, version, features.time, ends, told)
            )
            if made.rowcount:
                of_each = ((view, version, *row) for row in rows)
                database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", of_each)
            self._delete_ended(database, view)
        return version

    def latest(self, view: str) -> str | None:
        """As of ``FeatureStore``."""
        asked = "SELECT version FROM versions WHERE view = ? AND ends > ? ORDER BY time DESC, version DESC LIMIT 1"
        with self._connection() as database:
            found = database.execute(asked, (view, now_us(self._clock))).fetchone()
        return None if found is None else str(found[0])

    def get(self, view: str, version: str, ids: Sequence[str] | None = None) -> Features | None:
        """As of ``FeatureStore``."""
        asked = "SELECT id, packed FROM rows WHERE view = ? AND version = ?"
        given: list[str] = [view, version]
        if ids is not None:
            asked, given = asked + _SOME, [*given, json.dumps(list(ids))]
        with self._connection() as database:
            told = database.execute("SELECT described FROM versions WHERE view = ? AND version = ?", (view, version))
            kept = told.fetchone()
            rows = [] if kept is None else database.execute(f"{asked} ORDER BY place", given).fetchall()
        if kept is None:
            return None
        return unpacked(kept[0], [id_ for id_, _ in rows], [row for _, row in rows], now_us(self._clock))

    def close(self) -> None:
        """As of ``FeatureStore``."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _delete_ended(self, database: sqlite3.Connection, view: str) -> None:
        ended = "FROM versions WHERE view = ?1 AND ends <= ?2"
        for delete in (f"DELETE FROM rows WHERE view = ?1 AND version IN (SELECT version {ended})", f"DELETE {ended}"):
            database.execute(delete, (view, now_us(self._clock)))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection, by one thread at a time; what is done with it is kept whole or not at all."""
        with self._lock:
            try:
                with self._open() as database:
                    yield database
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            opened = sqlite3.connect(self._path, timeout=WAIT_S, check_same_thread=False)
            opened.execute("PRAGMA journal_mode = WAL")
            opened.executescript(_TABLES)
            self._opened = opened
        return self._opened

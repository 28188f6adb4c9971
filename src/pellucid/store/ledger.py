"""The ledger of a run: which unit of work was done, how it ended, what it cost. One SQLite file.

A unit is committed only after its result lies on disk, so whatever the ledger calls done can be
read; what was under way when the power went is done again, and nothing else is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..records.errors import StoreError
from ..records.study import Status

TABLE = """
CREATE TABLE IF NOT EXISTS unit (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, rows TEXT NOT NULL,
    status TEXT, reason TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0
)
"""
WAIT = 30_000


@dataclass(frozen=True)
class Entry:
    """One unit as the ledger knows it; ``status`` is None while it is under way."""

    key: str
    kind: str
    name: str
    rows: tuple[int, ...]
    status: Status | None
    reason: str
    seconds: float
    digest: str
    attempts: int


class Ledger:
    """The ledger in a run's folder. Raises :class:`StoreError` for a file that is damaged or locked for long."""

    def __init__(self, path: Path):
        self._path = path
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(TABLE)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use: children that were forked never share one."""
        try:
            connection = sqlite3.connect(self._path, timeout=WAIT / 1000, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous=FULL")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError("the run's ledger cannot be used", where=str(self._path), why=str(error)) from error

    def begin(self, key: str, kind: str, name: str, rows: Sequence[int]) -> None:
        """A unit is started; how often that happened is counted."""
        with self._connected() as connection:
            connection.execute(
                "INSERT INTO unit (key, kind, name, rows, attempts) VALUES (?, ?, ?, ?, 1) "
                "ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1, status = NULL",
                (key, kind, name, json.dumps([int(row) for row in rows])),
            )

    def finish(self, key: str, status: Status, *, reason: str = "", seconds: float = 0.0, digest: str = "") -> None:
        """A started unit ended; its result, if it has one, lies on disk by now."""
        with self._connected() as connection:
            connection.execute(
                "UPDATE unit SET status = ?, reason = ?, seconds = ?, digest = ? WHERE key = ?",
                (status, reason, seconds, digest, key),
            )

    def entries(self) -> dict[str, Entry]:
        """All units, in the order in which they were first started."""
        with self._connected() as connection:
            columns = "key, kind, name, rows, status, reason, seconds, digest, attempts"
            found = connection.execute(f"SELECT {columns} FROM unit ORDER BY rowid").fetchall()
        return {row[0]: Entry(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:]) for row in found}

"""What an endpoint answered, kept by what was asked: in memory, and in a folder where one is named.

An answer is on disk before it is used, so that a run which was killed pays for nothing twice. Answers stay unsure until
the canary has been asked again; where it answers otherwise, the unsure ones are dropped.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..records.errors import StoreError

TABLES = """
CREATE TABLE IF NOT EXISTS answer (
    key BLOB PRIMARY KEY, endpoint TEXT NOT NULL, value BLOB NOT NULL, seal BLOB NOT NULL, sure INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS canary (endpoint TEXT PRIMARY KEY, content TEXT NOT NULL);
"""
FILE = "answers.sqlite"
MOST_ON_DISK = 20_000_000
WAIT = 30.0
AT_ONCE = 500


@dataclass(frozen=True)
class Canary:
    """One row and what was answered to it, by which it is known whether the model is still the same.

    ``noise`` is the largest relative difference between answers to this very row, ``coupled`` that between its answers
    alone and beside another row, which was tried where ``paired``; ``version`` is what the reply said of its model.
    """

    row: Any
    answer: tuple[float, ...]
    noise: float = 0.0
    coupled: float = 0.0
    paired: bool = False
    version: str = ""


class Answers:
    """The answers of one endpoint, ``question`` being the digest of all that they depend on beside the row.

    ``remember`` of them at most stay in memory, the oldest go first. ``folder`` may be shared by several processes and
    endpoints. Raises :class:`StoreError` for a file that is damaged.
    """

    def __init__(self, question: str, *, remember: int, folder: str = ""):
        self._question, self._remember = question, remember
        self._path = Path(folder) / FILE if folder else None
        self._known: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._unsure: set[bytes] = set()
        self._canary: Canary | None = None
        self._gate = threading.Lock()

    def key(self, row: str) -> bytes:
        """The name of a row's answer: a hash of the row as it is sent and of the endpoint's question."""
        return blake2b(row.encode("utf-8", "surrogatepass"), digest_size=16, key=self._question[:32].encode()).digest()

    @property
    def place(self) -> str:
        """Where answers are kept beside memory; empty where nowhere."""
        return "" if self._path is None else str(self._path)

    @contextmanager
    def opened(self) -> Generator[Opened]:
        """The answers, ready to be looked up and added to; nothing stays open afterwards, so a fork shares nothing."""
        with self._connected() as connection:
            yield Opened(self, connection)

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection | None]:
        if self._path is None:
            yield None
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(TABLES)
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                "the endpoint's kept answers cannot be used",
                where=str(self._path),
                why=str(error),
                fix="name another folder in cache:, or remove this file",
            ) from error


class Opened:
    """Answers while they are being used. ``add`` may be called from several threads."""

    def __init__(self, answers: Answers, connection: sqlite3.Connection | None):
        self._of, self._connection = answers, connection

    def look(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """The answers that are known, by key."""
        known, found, missing = self._of._known, {}, []
        for key in dict.fromkeys(keys):
            if key in known:
                known.move_to_end(key)
                found[key] = known[key]
            else:
                missing.append(key)
        for start in range(0, len(missing) if self._connection is not None else 0, AT_ONCE):
            found.update(self._on_disk(missing[start : start + AT_ONCE]))
        return found

    def _on_disk(self, keys: list[bytes]) -> dict[bytes, np.ndarray]:
        assert self._connection is not None
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(f"SELECT key, value, seal, sure FROM answer WHERE key IN ({marks})", keys)
        found = {}
        for key, value, seal, sure in rows:
            if _seal(key, value) != seal:
                raise StoreError(
                    "a kept answer of the endpoint is damaged",
                    where=self._of.place,
                    fix="remove the file; the rows are asked again",
                )
            found[key] = np.frombuffer(value, dtype="<f8").astype(np.float64)
            if not sure:
                self._of._unsure.add(key)
        self._remembered(found)
        return found

    def add(self, answers: Mapping[bytes, np.ndarray]) -> None:
        """Keep answers that were just paid for; they are on disk when this returns."""
        with self._of._gate:
            if self._connection is not None:
                rows = [
                    (key, self._of._question, value, _seal(key, value))
                    for key, answer in answers.items()
                    if (value := answer.astype("<f8").tobytes())
                ]
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, 0)", rows)
                self._connection.execute("COMMIT")
            self._remembered(answers)
            self._of._unsure.update(answers)

    def _remembered(self, answers: Mapping[bytes, np.ndarray]) -> None:
        known = self._of._known
        known.update(answers)
        while len(known) > self._of._remember:
            known.popitem(last=False)

    @property
    def unsure(self) -> bool:
        """Whether answers came since the canary was asked last."""
        return bool(self._of._unsure)

    @property
    def canary(self) -> Canary | None:
        """The row by which a changed model is known; None before there is one."""
        if self._of._canary is None and self._connection is not None:
            query = "SELECT content FROM canary WHERE endpoint = ?"
            row = self._connection.execute(query, (self._of._question,)).fetchone()
            if row is not None:
                with suppress(ValueError, TypeError):  # a damaged one is as good as none
                    content = json.loads(row[0])
                    self._of._canary = Canary(**{**content, "answer": tuple(map(float, content["answer"]))})
        return self._of._canary

    def settle(self, canary: Canary) -> None:
        """From now on this is the canary."""
        self._of._canary = canary
        if self._connection is not None:
            content = (self._of._question, json.dumps(asdict(canary)))
            self._connection.execute("INSERT OR REPLACE INTO canary VALUES (?, ?)", content)

    def confirm(self) -> None:
        """The canary answered as before: what came until now is sure."""
        self._of._unsure.clear()
        if self._connection is None:
            return
        self._connection.execute("UPDATE answer SET sure = 1 WHERE endpoint = ? AND sure = 0", (self._of._question,))
        last = self._connection.execute("SELECT max(rowid) FROM answer").fetchone()[0] or 0
        self._connection.execute("DELETE FROM answer WHERE rowid <= ?", (last - MOST_ON_DISK,))

    def doubt(self) -> None:
        """The canary answered otherwise: what came since it was asked last is dropped, and memory starts anew."""
        self._of._known.clear()
        self._of._unsure.clear()
        self._of._canary = None
        if self._connection is not None:
            self._connection.execute("DELETE FROM answer WHERE endpoint = ? AND sure = 0", (self._of._question,))


def _seal(key: bytes, value: bytes) -> bytes:
    """A checksum by which a turned bit is noticed."""
    return blake2b(key + value, digest_size=8).digest()

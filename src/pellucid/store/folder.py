"""A run's folder: the question asked, the ledger of its units, their results, and what was made of them.

::

    question.json   what was asked; opening the folder with another question is an error
    ledger.sqlite   which unit of work is done
    results/        one file per unit, named by its key
    study.json      the study put together (written last)
    report.html, predictions.csv, contributions.csv, scores.csv, findings.csv
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..records.errors import StoreError
from ..records.files import digest, digest_file, dumps, read_json, write_bytes, write_json
from .ledger import Entry, Ledger

SPENT = "the time budget was spent"
"""Why a unit was skipped that another start of the same run takes up again."""
TABLES = ("predictions", "contributions", "scores", "findings", "failed")
WRITTEN = ("question.json", "study.json", "report.html", *(f"{table}.csv" for table in TABLES))
KEY = re.compile(r"[0-9a-f]{64}")


class Folder:
    """One run on disk.

    Raises :class:`StoreError` where the folder holds another question (unless ``fresh``), or is not
    a run at all.
    """

    def __init__(self, path: str | Path, question: Mapping[str, Any], *, fresh: bool = False):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise StoreError("a file stands where the run's folder should be", where=str(path))
        if fresh:
            self._clear()
        self._settle(dict(question))
        self.ledger = Ledger(self.path / "ledger.sqlite")

    def _clear(self) -> None:
        """Remove what an earlier run wrote, and nothing else."""
        if not (self.path / "question.json").exists():
            return
        shutil.rmtree(self.path / "results", ignore_errors=True)
        for file in self.path.iterdir():
            if file.name.startswith("ledger.sqlite") or file.name in WRITTEN:
                file.unlink()

    def _settle(self, question: dict[str, Any]) -> None:
        asked = self.path / "question.json"
        if not asked.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise StoreError("the folder is not empty and not a run of ours", where=str(self.path))
            (self.path / "results").mkdir(parents=True, exist_ok=True)
            write_json(asked, question)
            return
        before = read_json(asked)
        after = as_json(question)
        if before != after:
            keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            raise StoreError(
                f"the folder holds a run that asked something else ({', '.join(keys)} differ)",
                where=str(self.path),
                fix="choose another folder, or pass fresh=True (--fresh) to start over",
            )

    def result(self, key: str) -> Path:
        """Where a unit's result lies. The key is a hash, so no name from data ever becomes a path."""
        if not KEY.fullmatch(key):
            raise StoreError(f"{key[:40]!r} is not the key of a unit")
        return self.path / "results" / key

    def keep(self, key: str, content: bytes) -> str:
        """Write a unit's result; returns its digest for the ledger."""
        write_bytes(self.result(key), content)
        return digest_file(self.result(key))

    def is_done(self, entry: Entry | None) -> bool:
        """Whether a unit need not be done again: it ended, and its result (if it has one) is unharmed."""
        if entry is None or entry.status is None or entry.reason == SPENT:
            return False
        if entry.status != "ok":
            return True
        path = self.result(entry.key)
        return path.exists() and digest_file(path) == entry.digest


def as_json(value: Any) -> Any:
    """What ``value`` becomes on its way through a JSON file."""
    return json.loads(dumps(value))


def key_of(*parts: Any) -> str:
    """The key of a unit: a hash over everything its result depends on."""
    return digest(*(dumps(part) for part in parts))

"""Units of work in processes of their own, so that one that raises, hangs or exits costs itself and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from ..engine.listener import Listener
from ..records.errors import Cancelled, NotApplicable, PellucidError
from ..records.study import Status
from ..store.folder import SPENT, Folder
from ..store.ledger import Entry

SLACK = 1.0
"""Seconds by which a time limit must have grown before what ran out of time is tried again."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit: ``job()`` makes the bytes of its result.

    ``halves`` makes the two smaller units to try where it fails (None for a single item); ``brother`` makes the
    other half of the block that this one is half of, whose key is ``other_half``.
    """

    key: str
    kind: str
    name: str
    rows: tuple[int, ...]
    job: Callable[[], bytes]
    halves: Callable[[], list[Unit]] | None = None
    brother: Callable[[], Unit] | None = None
    other_half: str = ""

    @property
    def is_half(self) -> bool:
        return bool(self.other_half)


@dataclass
class _Running:
    unit: Unit
    process: Any
    pipe: Any
    began: float = field(default_factory=time.perf_counter)


def can_fork() -> bool:
    """Whether units can have processes of their own here."""
    return hasattr(os, "fork")


@dataclass
class Workshop:
    """Does units, several at once, each in a forked process with one thread and a time limit in seconds.

    A unit that fails is halved to the guilty item. So is one that takes too long, as long as one of two halves
    gets through: a method that hangs on both hangs on everything, and is not waited for again and again.
    Where processes cannot be forked (or ``isolated`` is False: a model on an accelerator, or with threads of its own)
    units are done one after another in this process, and a hang is not survived.
    """

    folder: Folder
    listener: Listener
    workers: int = 2
    timeout: float | None = None
    isolated: bool = True
    _waiting: list[Unit] = field(default_factory=list)
    _running: list[_Running] = field(default_factory=list)
    _deadline: float | None = None

    def run(self, units: Iterable[Unit], deadline: float | None = None) -> None:
        """Do all units that the ledger does not know as done, until ``deadline`` (on the monotonic clock).

        Raises :class:`Cancelled` when asked to stop.
        """
        known = self.folder.ledger.entries()
        self._waiting = [left for unit in units for left in self._open(unit, known)]
        self._running, self._deadline = [], deadline
        try:
            while self._waiting or self._running:
                if self.listener.cancelled():
                    raise Cancelled("stopped on request", fix="start the same run again to go on")
                while self._waiting and len(self._running) < (self.workers if self.isolated else 1):
                    self._start(self._waiting.pop(0))
                self._collect()
        finally:
            for left in self._running:
                left.process.kill()
                left.process.join()

    def _open(self, unit: Unit, known: dict[str, Entry]) -> list[Unit]:
        """What of a unit is still to do: itself, or the halves of a block that failed, or nothing."""
        entry = known.get(unit.key)
        if entry is None or not self.folder.is_done(entry) or self._too_soon(entry):
            return [unit]
        if unit.halves is None or entry.status not in ("failed", "timed out"):
            return []
        halves = unit.halves()
        if entry.status == "timed out" and unit.is_half and not self._other_half_passed(unit, known):
            return []
        return [left for half in halves for left in self._open(half, known)]

    def _too_soon(self, entry: Entry) -> bool:
        """Whether a unit that ran out of time would now be given clearly more of it."""
        return entry.status == "timed out" and (self.timeout is None or self.timeout > entry.seconds + SLACK)

    def _other_half_passed(self, unit: Unit, known: dict[str, Entry]) -> bool:
        other = known.get(unit.other_half)
        return other is not None and other.status == "ok"

    def _start(self, unit: Unit) -> None:
        self.folder.ledger.begin(unit.key, unit.kind, unit.name, unit.rows)
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._concluded(unit, "skipped", SPENT, 0.0, "")
            return
        if not self.isolated:
            began = time.perf_counter()
            status, reason, digest = _done(unit, self.folder)
            self._concluded(unit, status, reason, time.perf_counter() - began, digest)
            return
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_child, args=(unit, self.folder, there))
        process.start()
        there.close()
        self._running.append(_Running(unit, process, here))

    def _collect(self) -> None:
        """Take the results that are there, and end what ran out of time or died."""
        ready = wait([left.pipe for left in self._running], timeout=0.2) if self._running else []
        for left in list(self._running):
            seconds = time.perf_counter() - left.began
            if left.pipe in ready:
                status, reason, digest = self._message(left)
            elif self.timeout is not None and seconds > self.timeout:
                status, reason, digest = "timed out", f"no answer within {self.timeout:g} seconds", ""
            elif self._deadline is not None and time.monotonic() > self._deadline:
                status, reason, digest = "skipped", SPENT, ""
            else:
                continue
            if left.pipe not in ready:
                left.process.kill()
            left.process.join()
            left.pipe.close()
            self._running.remove(left)
            self._concluded(left.unit, status, reason, seconds, digest)

    def _message(self, left: _Running) -> tuple[Status, str, str]:
        try:
            return left.pipe.recv()
        except EOFError:
            left.process.join()
            return "failed", f"its process ended without an answer (exit code {left.process.exitcode})", ""

    def _concluded(self, unit: Unit, status: Status, reason: str, seconds: float, digest: str) -> None:
        self.folder.ledger.finish(unit.key, status, reason=reason, seconds=seconds, digest=digest)
        self.listener.advanced(1)
        self._waiting[:0] = self._next(unit, status)

    def _next(self, unit: Unit, status: Status) -> list[Unit]:
        """The smaller units that an end gives rise to; a half that hung waits for what the other half does."""
        if status == "failed":
            return list(unit.halves()) if unit.halves else []
        known = self.folder.ledger.entries()
        if status == "timed out" and unit.halves:
            return list(unit.halves()) if not unit.is_half or self._other_half_passed(unit, known) else []
        other = known.get(unit.other_half) if status == "ok" and unit.is_half else None
        if other is not None and other.status == "timed out" and unit.brother is not None:
            return self._next(unit.brother(), "timed out")
        return []


def _done(unit: Unit, folder: Folder) -> tuple[Status, str, str]:
    try:
        return "ok", "", folder.keep(unit.key, unit.job())
    except NotApplicable as error:
        return "skipped", str(error), ""
    except PellucidError as error:
        return "failed", str(error), ""
    except Exception as error:  # noqa: BLE001 — whatever a model or a third party's method raises costs this unit alone
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        return "failed", f"{type(error).__name__}: {error} ({where})"[:2000], ""


def _child(unit: Unit, folder: Folder, pipe: Connection) -> None:
    torch.set_num_threads(1)  # the parent's threads are not there any more after a fork
    pipe.send(_done(unit, folder))
    pipe.close()

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


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit: ``job()`` makes the bytes of its result. ``halves`` offers smaller units where it fails."""

    key: str
    kind: str
    name: str
    rows: tuple[int, ...]
    job: Callable[[], bytes]
    halves: Callable[[], list[Unit]] | None = None


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

    Where processes cannot be forked (or ``isolated`` is False: a model on an accelerator) units are done one after
    another in this process, and a hang is not survived.
    """

    folder: Folder
    listener: Listener
    workers: int = 2
    timeout: float | None = None
    isolated: bool = True
    deadline: float | None = None

    def run(self, units: Iterable[Unit]) -> None:
        """Do all units that the ledger does not know as done. Raises :class:`Cancelled` when asked to stop."""
        known = self.folder.ledger.entries()
        waiting = [unit for unit in units if not self._settled(unit, known)]
        running: list[_Running] = []
        try:
            while waiting or running:
                if self.listener.cancelled():
                    raise Cancelled("stopped on request", fix="start the same run again to go on")
                while waiting and len(running) < (self.workers if self.isolated else 1):
                    self._start(waiting.pop(0), running, waiting)
                self._collect(running, waiting)
        finally:
            for left in running:
                left.process.kill()
                left.process.join()

    def _settled(self, unit: Unit, known: dict[str, Entry]) -> bool:
        entry = known.get(unit.key)
        if entry is None or not self.folder.is_done(entry):
            return False
        halves = unit.halves() if entry.status == "failed" and unit.halves else []
        if any(half.key in known for half in halves):
            return all(self._settled(half, known) for half in halves)
        return True

    def _start(self, unit: Unit, running: list[_Running], waiting: list[Unit]) -> None:
        self.folder.ledger.begin(unit.key, unit.kind, unit.name, unit.rows)
        if self.deadline is not None and time.monotonic() > self.deadline:
            self._end(unit, "skipped", SPENT, 0.0, "")
            return
        if not self.isolated:
            began = time.perf_counter()
            status, reason, digest = _done(unit, self.folder)
            self._concluded(unit, status, reason, time.perf_counter() - began, digest, waiting)
            return
        here, there = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_child, args=(unit, self.folder, there))
        process.start()
        there.close()
        running.append(_Running(unit, process, here))

    def _collect(self, running: list[_Running], waiting: list[Unit]) -> None:
        """Take the results that are there, and end what ran out of time or died."""
        ready = wait([left.pipe for left in running], timeout=0.2) if running else []
        for left in list(running):
            seconds = time.perf_counter() - left.began
            if left.pipe in ready:
                status, reason, digest = self._message(left)
            elif self.timeout is not None and seconds > self.timeout:
                left.process.kill()
                status, reason, digest = "timed out", f"no answer within {self.timeout:g} seconds", ""
            else:
                continue
            left.process.join()
            left.pipe.close()
            running.remove(left)
            self._concluded(left.unit, status, reason, seconds, digest, waiting)

    def _message(self, left: _Running) -> tuple[Status, str, str]:
        try:
            return left.pipe.recv()
        except EOFError:
            left.process.join()
            return "failed", f"its process ended without an answer (exit code {left.process.exitcode})", ""

    def _concluded(
        self, unit: Unit, status: Status, reason: str, seconds: float, digest: str, waiting: list[Unit]
    ) -> None:
        self._end(unit, status, reason, seconds, digest)
        if status == "failed" and unit.halves is not None:
            known = self.folder.ledger.entries()
            waiting[:0] = [half for half in unit.halves() if not self._settled(half, known)]

    def _end(self, unit: Unit, status: Status, reason: str, seconds: float, digest: str) -> None:
        self.folder.ledger.finish(unit.key, status, reason=reason, seconds=seconds, digest=digest)
        self.listener.advanced(1)


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
    torch.set_num_threads(1)  # what the parent's threads held is not there any more after a fork
    pipe.send(_done(unit, folder))
    pipe.close()

"""Progress bars on the terminal, and Ctrl-C that lets the work stop in good order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from .printing import Page, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

BETWEEN = 0.1
"""Seconds between two drawings of the bars."""


class Bars:
    """A listener that draws one bar per work under way, on stderr and only where that is a terminal.

    The bars are drawn by whoever tells of progress, not by a thread: processes are forked while they are shown, and a
    lock held by a thread would stay locked in the child.
    """

    def __init__(self, page: Page, quiet: bool = False) -> None:
        self.stopping = False
        self._drawn = 0.0
        self._tasks: list[TaskID] = []
        self._progress: Progress | None = None
        self._console = None if quiet or not sys.stderr.isatty() else page.err

    def started(self, what: str, total: int) -> None:
        if self._console is not None and self._progress is None:
            self._progress = _progress(self._console)
        if self._progress is not None:
            self._progress.start()
            description = visible(what).replace("[", "\\[")
            self._tasks.append(self._progress.add_task(description, total=total))

    def advanced(self, steps: int = 1) -> None:
        if self._progress is not None and self._tasks:
            self._progress.advance(self._tasks[-1], steps)
            self._draw()

    def finished(self) -> None:
        if self._progress is not None and self._tasks:
            self._progress.remove_task(self._tasks.pop())
            if not self._tasks:
                self.close()

    def cancelled(self) -> bool:
        self._draw()
        return self.stopping

    def close(self) -> None:
        """Take the bars off the screen."""
        if self._progress is not None:
            self._progress.stop()

    def _draw(self) -> None:
        if self._progress is not None and time.monotonic() - self._drawn > BETWEEN:
            self._drawn = time.monotonic()
            self._progress.refresh()


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    )  # fmt: skip


@contextmanager
def stoppable(bars: Bars, page: Page) -> Iterator[None]:
    """Within it, Ctrl-C (or SIGTERM) asks the work to stop after its step; a second one stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    here = os.getpid()

    def asked(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:
            return  # a unit in a process of its own: the main process ends it
        if bars.stopping:
            raise KeyboardInterrupt
        bars.stopping = True
        page.note("stopping after the step under way; Ctrl-C again stops at once")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        bars.close()
        for number, handler in before.items():
            signal.signal(number, handler)

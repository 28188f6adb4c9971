"""Runs one command: from what was typed to an exit code, with every error told in a sentence.

Exit codes: 0 done; 1 failed (the work broke off, or was stopped); 2 a request that cannot be served (a name, a file, an
option); 3 done, but some items failed, and they are listed.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from typer.core import TyperArgument, TyperCommand, TyperOption

from ..records.errors import Cancelled, LoadError, ModelError, PellucidError
from .options import ARGUMENTS, as_typed
from .printing import Page
from .progress import Bars, stoppable

DONE, FAILED, REFUSED, PARTLY = 0, 1, 2, 3


@dataclass(frozen=True)
class Desk:
    """What every command has at hand: its page, its listener, and the command line that was typed."""

    page: Page
    listener: Bars
    typed: str


class Command(TyperCommand):
    """A command with the options that all of them have."""

    def __init__(self, *args: Any, params: list[click.Parameter] | None = None, **fields: Any) -> None:
        for param in params or []:
            if isinstance(param, TyperArgument):
                param.help = ARGUMENTS.get(param.name or "")
        super().__init__(*args, params=[*(params or []), *map(_flag, ("json", "quiet", "debug"))], **fields)


_HELP = {
    "json": "Print one JSON object instead of sentences and tables.",
    "quiet": "Show no progress.",
    "debug": "Show where in the program an error arose.",
}


def _flag(name: str) -> click.Parameter:
    """Listed and accepted here; read by :func:`run`, which needs it before anything else is parsed."""
    return TyperOption(param_decls=[f"--{name}"], is_flag=True, default=False, expose_value=False, help=_HELP[name])


def run(command: click.Command, argv: Sequence[str]) -> int:
    """Run what was typed; returns the exit code, and raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few letters is no reason to fail
    page = Page(json="--json" in argv)
    desk = Desk(page, Bars(page, quiet="--quiet" in argv), shlex.join(["pellucid", *argv]))
    try:
        with stoppable(desk.listener, page):
            code = command.main(list(argv) or ["--help"], prog_name="pellucid", standalone_mode=False, obj=desk)
            sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except Exception as error:  # noqa: BLE001 — whatever happens is told as a sentence, with --debug as a traceback
        if "--debug" in argv:
            page.err.print(traceback.format_exc(), markup=False)
        return _told(error, page)


def _told(error: Exception, page: Page) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, BrokenPipeError):  # whoever read has seen enough; nothing more may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, PellucidError):
        page.error(as_typed(error))
        broke_off = isinstance(error, ModelError) and not isinstance(error, LoadError)
        return FAILED if broke_off or isinstance(error, Cancelled) else REFUSED
    if isinstance(error, click.ClickException):
        page.error(_usage(error))
        return REFUSED
    if isinstance(error, click.Abort):
        page.error("stopped; the same command goes on where a run stopped")
        return FAILED
    if isinstance(error, OSError):
        named = "" if error.filename is None else f"{error.filename}: "
        page.error(f"{named}this could not be read or written. {error.strerror or error}.")
        return FAILED
    page.error(f"{type(error).__name__}: {error}. This is a fault of the program; --debug shows where it arose.")
    return FAILED


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    ask = "" if context is None else f" See {context.command_path} --help."
    told = error.format_message().replace("a valid integer range", "a whole number")
    return told.rstrip(".") + "." + ask


def module_path() -> None:
    """Let ``package.module:factory`` name a module in the folder where the command is typed, after installed ones."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)

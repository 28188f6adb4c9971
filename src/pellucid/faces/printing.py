"""What the command line prints: sentences, tables that fit the window, JSON, errors; nothing from data is obeyed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..records.errors import PellucidError

PIPED = 160
"""Columns of a line where no terminal says how wide it is."""
NARROW = 72
GAP = 2
_ISOLATES = re.compile("[\u2068\u2069]")  # only they cannot reorder their surroundings; our own sentences hold them
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066\u2067\ufeff\ud800-\udfff]")


def visible(text: object) -> str:
    """``text`` with everything that could move the cursor, colour the screen or reorder words written out."""
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], _ISOLATES.sub("", str(text)))


class Page:
    """Where a command writes: answers to stdout, everything about the work to stderr.

    With ``json`` stdout carries one JSON object and nothing else.
    """

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self._wraps = sys.stdout.isatty() or bool(os.environ.get("COLUMNS"))
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def say(self, text: str = "", style: str = "") -> None:
        """A sentence. With ``json`` nothing is said."""
        if not self.json:
            self.out.print(Text(visible(text), style), soft_wrap=not self._wraps)

    def note(self, text: str) -> None:
        """A word about the work, beside the answer."""
        self.err.print(Text(visible(text)), soft_wrap=not sys.stderr.isatty())

    def table(self, rows: Sequence[Mapping[str, Any]], numbers: Sequence[str] = ()) -> None:
        """Rows under their columns; below each other where the window is too narrow for that."""
        if self.json or not rows:
            return
        columns = list(rows[0])
        cells = [[visible(row[name]) for name in columns] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
        if self.out.width < NARROW and sum(widths) + GAP * (len(widths) - 1) > self.out.width:
            self._stacked(columns, cells)
            return
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for name in columns:
            table.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        self.out.print(table)

    def _stacked(self, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        for row in cells:
            self.out.print(Text(row[0], "bold"))
            for name, cell in zip(columns[1:], row[1:], strict=True):
                if cell:
                    self.out.print(Text(f"  {name}: {cell}"))

    def record(self, value: Any) -> None:
        """The answer as JSON, where it was asked for."""
        if not self.json:
            return
        from ..records.files import dumps, plain

        text = dumps(value, indent=1)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # a terminal of few letters, or half a character in the data
            text = json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
        sys.stdout.write(text + "\n")

    def error(self, error: PellucidError | str) -> None:
        """Why there is no answer: a sentence on stderr, or with ``json`` an object on stdout."""
        if self.json:
            told = error.to_dict() if isinstance(error, PellucidError) else {"code": "UsageError", "what": error}
            self.record({"error": told | {"text": str(error)}})
        else:
            self.err.print(Text.assemble(("error: ", "bold red"), visible(error)), soft_wrap=not sys.stderr.isatty())


def _console(file: TextIO) -> Console:
    known = file.isatty() or bool(os.environ.get("COLUMNS"))
    return Console(file=file, highlight=False, emoji=False, width=None if known else PIPED)

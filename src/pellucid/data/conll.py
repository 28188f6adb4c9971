"""Reading a file of one word a line with its tag (the CoNLL shared tasks' form), every fault named by its line.

A line holds a word first and its tag last, parted by blanks or tabs (CoNLL-2003 has two columns between); an empty
line ends a text, a line ``-DOCSTART- …`` begins a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..records.errors import InputError, shorten
from .csv_text import LARGEST_CSV
from .lines import bounded, decoded

CONLL = (".conll", ".bio", ".iob", ".iob2")
MAYBE = (".txt", ".tsv", ".data")
"""Endings of tables that may be of this form all the same: told by their first lines."""
DOCUMENT = "-DOCSTART-"
HEAD, FEWEST = 2**16, 5
"""Bytes by which a file is told, and how many words they must hold at least."""
TAG = re.compile(r"O|[BIESLU]-\S+")
FIX = "give one word a line, its tag last, and an empty line between texts"


class _Word(NamedTuple):
    """What a line says: the number of its text and its document, its word and tag."""

    text: int
    document: int
    word: str
    tag: str


def is_conll(path: Path) -> bool:
    """Whether a file that can be read is of this form: by its ending, or by its first lines."""
    ending = path.suffix.lower()
    if ending not in MAYBE:
        return ending in CONLL
    with open(path, "rb") as file:
        head = file.read(HEAD)
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if next((line for line in lines if line.strip()), "").startswith(DOCUMENT):
        return True
    whole = lines if len(head) < HEAD else lines[:-1]
    rows = [_cells(line) for line in whole if line.strip()]
    parted = any(not line.strip() for line in whole)
    return parted and len(rows) >= FEWEST and all(len(row) > 1 and TAG.fullmatch(row[-1]) for row in rows)


def read_conll(path: Path) -> dict[str, list[Any]]:
    """Columns as JSON lines would have them: ``tokens`` and ``tags`` of each text, and its ``document`` where the file
    has several.

    Raises :class:`InputError`, with the line, for lines of fewer or more columns than the first, text that is not
    UTF-8, sizes beyond the caps, and for a file without words.
    """
    if (size := path.stat().st_size) > LARGEST_CSV:
        raise InputError(f"the file has {size:,} bytes; at most {LARGEST_CSV:,} are read", where=path.name)
    columns: dict[str, list[Any]] = {"tokens": [], "tags": [], "document": []}
    last = None
    for said in _words(path):
        if said.text != last:
            columns["tokens"].append([])
            columns["tags"].append([])
            columns["document"].append(said.document)
            last = said.text
        columns["tokens"][-1].append(said.word)
        columns["tags"][-1].append(said.tag)
    if last is None:
        raise InputError("the file holds no words", where=path.name, fix=FIX)
    if len(set(columns["document"])) == 1:
        del columns["document"]
    return columns


def _words(path: Path) -> Iterator[_Word]:
    text = document = width = 0
    with open(path, "rb") as file:
        for number, raw in bounded(file, path, FIX):
            where = f"{path.name}:{number}"
            line = decoded(raw, where).rstrip("\r\n")
            cells = _cells(line)
            if not cells or cells[0] == DOCUMENT:
                text += 1
                document += bool(cells)
            elif not (line.startswith("# ") and not TAG.fullmatch(cells[-1])):  # what is noted of the text that follows
                width = width or len(cells)
                _refuse_ragged(cells, width, where)
                yield _Word(text, document, cells[0], cells[-1])


def _cells(line: str) -> list[str]:
    """The columns of a line: by tabs where it has any, else by blanks."""
    if not line.strip():
        return []
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _refuse_ragged(cells: list[str], width: int, where: str) -> None:
    if len(cells) == 1:
        raise InputError(f"the word {shorten(cells[0], 30)!r} has no tag", where=where, fix=FIX)
    if len(cells) != width:
        raise InputError(f"the line has {len(cells)} columns, the first one {width}", where=where, fix=FIX)
    if not cells[-1]:
        raise InputError(f"the word {shorten(cells[0], 30)!r} has an empty tag", where=where, fix=FIX)

"""Reading a CSV file as columns of text cells, with every fault of its shape named by line.

The file is streamed through bounded records, so that a hostile one (a quote that never closes
over a gigabyte of newlines, a million columns) is refused early and cheaply.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..records.errors import InputError, shorten

MOST_COLUMNS = 10**5
LARGEST_RECORD = 2**24
LARGEST_CSV = 2**30
DELIMITERS = {";": "';'", "\t": r"'\t'", "|": "'|'"}


def read_cells(path: Path, delimiter: str | None = None, encoding: str | None = None) -> dict[str, list[str]]:
    """Column name → its cells as text, in the order of the file; blank lines are skipped.

    A byte-order mark and Windows line ends are understood. Raises InputError, with the line, for an
    empty file, no rows, blank or doubled names, ragged rows, an encoding or delimiter other than
    the one given, and sizes beyond the caps.
    """
    delimiter = _delimiter(path, delimiter)
    _probe(path, encoding)
    try:
        with open(path, encoding=encoding or "utf-8-sig", newline="") as file:
            return _columns(file, path, delimiter)
    except UnicodeError as error:
        raise _not_decodable(path, encoding) from error
    except LookupError as error:
        raise InputError(f"there is no text encoding {shorten(encoding)!r}", where=path.name) from error


def _delimiter(path: Path, given: str | None) -> str:
    if given is None:
        return "\t" if path.suffix.lower() == ".tsv" else ","
    if len(given) != 1 or given in '"\r\n':
        raise InputError(f"delimiter={given!r} is not one character", fix="give one such as ';'")
    return given


def _probe(path: Path, encoding: str | None) -> None:
    """Refuse by the first bytes and the size what is no UTF-8 table of text."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(4096)
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise InputError("the file is empty", where=path.name, fix="give a file with a header line and rows")
    if size > LARGEST_CSV:
        raise InputError(
            f"the file has {size:,} bytes; at most {LARGEST_CSV:,} are read as CSV",
            where=path.name,
            fix="store it as Parquet",
        )
    if encoding is None and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or head.count(0) > len(head) // 8):
        raise InputError("the text is UTF-16, not UTF-8", where=path.name, fix="pass encoding='utf-16'")
    if encoding is None and 0 in head:
        raise InputError("the file is not text: it holds zero bytes", where=path.name)


def _not_decodable(path: Path, encoding: str | None) -> InputError:
    if encoding is not None:
        return InputError(f"the text is not {encoding}", where=path.name, fix="pass another encoding= or none")
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST_RECORD), b""), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return InputError(
                    f"byte 0x{line[error.start]:02x} is not UTF-8 text",
                    where=f"{path.name}:{number}",
                    fix="pass encoding='latin-1' (or 'cp1252' for a file from Windows), or store it as UTF-8",
                )
    return InputError("the text is not UTF-8", where=path.name, fix="pass encoding='latin-1'")


class _Bounded:
    """The lines of a file; a record that runs on without end is an error instead of a full memory."""

    def __init__(self, file: IO[str], path: Path):
        self._file, self._path, self.spent = file, path, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LARGEST_RECORD + 1):
            self.spent += len(line)
            if self.spent > LARGEST_RECORD:
                raise InputError(
                    f"one row is longer than {LARGEST_RECORD:,} characters",
                    where=self._path.name,
                    why="a quote was probably never closed",
                )
            yield line


def _columns(file: IO[str], path: Path, delimiter: str) -> dict[str, list[str]]:
    lines = _Bounded(file, path)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    header: list[str] | None = None
    try:
        for row in reader:
            lines.spent = 0
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if header is None:
                header = checked_names([name.strip() for name in row], path.name, delimiter)
            elif len(row) != len(header):
                raise _ragged(path, reader.line_num, header, row)
            else:
                rows.append(row)
    except csv.Error as error:
        raise InputError(
            "the line is not valid CSV",
            where=f"{path.name}:{reader.line_num}",
            why=str(error),
            fix="close every quote, double a quote inside a quoted cell",
        ) from error
    if header is None or not rows:
        raise InputError("the file holds a header and no rows", where=path.name, fix="give a file with rows")
    return dict(zip(header, (list(column) for column in zip(*rows, strict=True)), strict=True))


def _ragged(path: Path, line: int, header: list[str], row: list[str]) -> InputError:
    trailing = len(row) == len(header) + 1 and row[-1] == ""
    fix = (
        "remove the delimiter at the end of the row" if trailing else "repair the row, or quote cells with a delimiter"
    )
    return InputError(f"expected {len(header)} fields, found {len(row)}", where=f"{path.name}:{line}", fix=fix)


def checked_names(names: list[str], where: str, delimiter: str | None = None) -> list[str]:
    """The column names, refused when blank, doubled, too many, or split by another delimiter."""
    if len(names) > MOST_COLUMNS:
        raise InputError(f"the table has {len(names):,} columns; at most {MOST_COLUMNS:,} are read", where=where)
    if delimiter is not None and len(names) == 1:
        for other, shown in DELIMITERS.items():
            if other != delimiter and other in names[0]:
                raise InputError(
                    f"the header is one field with {shown} inside: {shorten(names[0])!r}",
                    where=f"{where}:1",
                    fix=f"pass delimiter={shown}" + (" (and decimal=',' if numbers read 1,5)" if other == ";" else ""),
                )
    seen: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if not name.strip():
            trailing = " (the header ends with a delimiter)" if place == len(names) and place > 1 else ""
            raise InputError(f"column {place} has no name{trailing}", where=where, fix="name every column")
        if name in seen:
            raise InputError(
                f"the column name {shorten(name)!r} is used more than once (columns {seen[name]} and {place})",
                where=where,
                fix="rename one of the columns",
            )
        seen[name] = place
    return names

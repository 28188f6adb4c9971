"""The lines of a file, each of bounded length, so that a hostile one is refused early and cheaply."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..records.errors import InputError
from .csv_text import LARGEST_RECORD


def bounded(file: IO[bytes] | gzip.GzipFile, path: Path, fix: str) -> Iterator[tuple[int, bytes]]:
    """The numbered lines of an open file, without a byte-order mark before the first.

    Raises :class:`InputError` for a line longer than the cap; ``fix`` says what lines ought to hold.
    """
    number = 0
    while line := file.readline(LARGEST_RECORD + 1):
        number += 1
        if len(line) > LARGEST_RECORD:
            raise InputError(
                f"the line is longer than {LARGEST_RECORD:,} bytes", where=f"{path.name}:{number}", fix=fix
            )
        yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def decoded(line: bytes, where: str) -> str:
    """A line as text. Raises :class:`InputError` for bytes that are not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte 0x{line[error.start]:02x} is not UTF-8 text", where=where, fix="store the file as UTF-8"
        ) from error

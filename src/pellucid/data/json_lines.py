"""Reading JSON lines (one object a line, ``.jsonl`` or ``.jsonl.gz``) as columns, every fault named by its line.

The file is streamed through bounded lines, and what a packed one unpacks to is counted, so that a hostile file is
refused early and cheaply.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..records.errors import InputError, shorten
from .archives import HIGHEST_RATIO, RATIO_FROM
from .csv_text import LARGEST_CSV, checked_names
from .lines import bounded, decoded

JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def is_json_lines(path: Path) -> bool:
    return path.name.lower().endswith(JSON_LINES)


def read_lines(path: Path) -> dict[str, list[Any]]:
    """Key → its values line by line, None where a line lacks it; blank lines are skipped.

    Raises :class:`InputError`, with the line, for what is no JSON object, for doubled keys, NaN, text that is not
    UTF-8, a packed file that is damaged or unpacks to too much, and sizes beyond the caps.
    """
    rows, names = [], {}
    try:
        for number, line in _lines(path):
            rows.append(_object(line, f"{path.name}:{number}"))
            names.update(dict.fromkeys(rows[-1]))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the packed file ({path.stat().st_size:,} bytes) is truncated or damaged", where=path.name, why=str(error)
        ) from error
    if not rows:
        raise InputError("the file is empty", where=path.name, fix="give a file with one JSON object a line")
    checked_names(list(names), path.name)
    return {name: [row.get(name) for row in rows] for name in names}


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The numbered lines that are not blank, each of bounded length, all of bounded size."""
    packed = path.name.lower().endswith(".gz")
    size, seen = max(path.stat().st_size, 1), 0
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        for number, line in bounded(file, path, "give one JSON object a line"):
            seen += len(line)
            if seen > LARGEST_CSV:
                raise InputError(f"the file holds more than {LARGEST_CSV:,} bytes", where=path.name)
            if packed and seen > max(RATIO_FROM, HIGHEST_RATIO * size):
                raise InputError(
                    f"the packed file unpacks to more than {HIGHEST_RATIO} times its size",
                    where=path.name,
                    why="it looks like a decompression bomb",
                )
            if line.strip():
                yield number, line


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(decoded(line, where), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("the line is not valid JSON", where=where, why=shorten(error, 200)) from error
    if not isinstance(found, Mapping):
        raise InputError(
            f"the line holds a {type(found).__name__}, not an object",
            where=where,
            fix='write one object a line: {"text": "…", "label": "…"}',
        )
    if b"\\ud" in line.lower():
        _refuse_half_characters(found, where)
    return dict(found)


def _refuse_half_characters(found: Mapping[str, Any], where: str) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the line holds half a character: {error.object[max(error.start - 10, 0) : error.start + 10]!a}",
            where=where,
            why="a lone surrogate is no text that a file could keep",
            fix="repair the text",
        ) from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shorten(next(key for key in keys if keys.count(key) > 1))!r} occurs twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")

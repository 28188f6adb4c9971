"""Columns of lists beside texts: the passages that people marked as evidence.

JSON lines can carry lists. Those that are understood here are pairs [start, stop) of marked characters, or of marked
words where the column's name ends in ``_tokens``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..records.errors import InputError, UnknownName, shorten
from ..records.regions import Spans

EVIDENCE = ("spans", "evidence", "rationales", "rationale_tokens", "evidence_tokens")
"""Columns that are taken for evidence where none is named."""


def evidence_column(columns: dict[str, list[Any]], given: str | None) -> str | None:
    """The column of marked passages: the one that was named, else the first that looks like one."""
    if given is not None:
        if given not in columns:
            raise UnknownName.among("column", given, list(columns))
        return given
    return next((name for name in EVIDENCE if name in columns and all(map(_are_pairs, columns[name]))), None)


def as_spans(texts: Sequence[str], marked: Sequence[Any], name: str, where: str) -> Spans:
    """Marked passages as characters of the texts. Raises :class:`InputError` for a row whose passages do not fit."""
    for row, own in enumerate(marked, 1):
        if not _are_pairs(own):
            raise InputError(
                f"column {shorten(name)!r}, row {row}: {shorten(own, 40)} is no list of passages",
                where=where,
                fix="give [[start, stop], …] for each text, [] where nothing is marked",
            )
    pairs = [own or [] for own in marked]
    try:
        return Spans.of_words(texts, pairs) if name.endswith("_tokens") else Spans.of(texts, pairs)
    except InputError as error:
        raise InputError(f"column {shorten(name)!r}: {error.what}", where=f"{where}, {error.where}") from error


def _are_pairs(cell: Any) -> bool:
    return cell is None or (isinstance(cell, list) and all(is_list_of(pair, int) and len(pair) == 2 for pair in cell))


def is_list_of(cell: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(cell, list) and all(isinstance(part, kinds) and not isinstance(part, bool) for part in cell)

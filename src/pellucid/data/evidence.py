"""Columns of lists beside texts: the passages that people marked as evidence, and a tag for each word.

JSON lines can carry lists. Those that are understood are pairs [start, stop) of marked characters, or of marked words
where the column's name ends in ``_tokens``; and, where texts come as lists of words, as many tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..records.errors import InputError, UnknownName, shorten
from ..records.regions import Spans

EVIDENCE = ("spans", "evidence", "rationales", "rationale_tokens", "evidence_tokens")
"""Columns that are taken for evidence where none is named."""
WORDS, TAGS = "tokens", ("tags", "ner_tags")
TEXT = "text"


def joined_words(columns: dict[str, list[Any]], where: str) -> tuple[tuple[str, ...], ...] | None:
    """Make a column of texts out of one of words, in place; the tags of the words where there are any.

    Each text is its words with one blank between. Raises :class:`InputError` for tags that are not as many.
    """
    words = columns.get(WORDS)
    if words is None or TEXT in columns or not all(_is_list_of(row, str) for row in words):
        return None
    columns[TEXT] = [" ".join(row) for row in columns.pop(WORDS)]
    name = next((name for name in TAGS if name in columns), None)
    if name is None:
        return None
    tags = columns.pop(name)
    for row, (own, given) in enumerate(zip(words, tags, strict=True), 1):
        if not _is_list_of(given, (str, int)) or len(given) != len(own):
            raise InputError(
                f"{len(own)} words and {shorten(given, 30)} as their tags" if not isinstance(given, list)
                else f"{len(given)} tags for {len(own)} words",
                where=f"{where}, row {row}",
                fix="give one tag a word",
            )  # fmt: skip
    return tuple(tuple(map(str, row)) for row in tags)


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
    return cell is None or (isinstance(cell, list) and all(_is_list_of(pair, int) and len(pair) == 2 for pair in cell))


def _is_list_of(cell: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(cell, list) and all(isinstance(part, kinds) and not isinstance(part, bool) for part in cell)

"""Texts that come as lists of words, and a tag for each word."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..records.errors import InputError, shorten
from .evidence import is_list_of

WORDS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "ner")
"""Columns that are taken for words and for their tags where none is named."""
TEXT = "text"
Rows = tuple[tuple[str, ...], ...]


class TaggedWords(NamedTuple):
    """For each text its words and as many tags; ``name`` is the column of the tags."""

    words: Rows
    tags: Rows
    name: str


def joined_words(columns: dict[str, list[Any]], where: str, label: str | None = None) -> TaggedWords | None:
    """Make a column of texts out of one of words, in place; the words with their tags, where there are any.

    Each text is its words with one blank between. The tags are those of the column ``label``, or of the first that is
    called like one. Raises :class:`InputError` for tags that are not as many as the words.
    """
    own = next((name for name in WORDS if name in columns and all(is_list_of(row, str) for row in columns[name])), None)
    tagged = next((name for name in (label, *TAGS) if name in columns and _holds_lists(columns[name])), None)
    if own is None or (TEXT in columns and tagged is None):
        return None
    words = columns.pop(own)
    columns[TEXT] = [" ".join(row) for row in words]
    if tagged is None:
        return None
    tags = columns.pop(tagged)
    for row, (said, given) in enumerate(zip(words, tags, strict=True), 1):
        if not is_list_of(given, (str, int)) or len(given) != len(said):
            raise InputError(
                f"{len(said)} words and {shorten(given, 30)} as their tags" if not isinstance(given, list)
                else f"{len(given)} tags for {len(said)} words",
                where=f"{where}, row {row}",
                fix="give one tag a word",
            )  # fmt: skip
    return TaggedWords(tuple(map(tuple, words)), tuple(tuple(map(str, row)) for row in tags), tagged)


def _holds_lists(cells: list[Any]) -> bool:
    return any(isinstance(cell, list) for cell in cells)

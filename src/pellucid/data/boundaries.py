"""Where words and sentences of a text begin and end, in any script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..measures.vocabulary import UNSPACED

Span = tuple[int, int]
"""Where something begins and ends in a text, in characters."""

WORD = re.compile(rf"[{UNSPACED}][^\s\w]*|[^\s{UNSPACED}]+")
ENDING = re.compile(r"""[.!?…‥。！？]+["'”’»)\]」』）】]*(?=\s|$)|[。！？]+["'”’»)\]」』）】]*|\n\s*\n""")
ABBREVIATION = re.compile(
    r"(?:^|\s)(?:[A-Za-z]|[Mm]rs?|[Mm]s|[Dd]r|[Pp]rof|[Ss]t|[Vv]s|[Ee]tc|[Ff]ig|[Nn]o|e\.g|i\.e|cf)\.$"
)
EDGES = re.compile(r"^[^\w]+|[^\w]+$")


def words_of(text: str) -> tuple[Span, ...]:
    """The words of a text. Punctuation belongs to the word it is written to; where words are not parted by spaces,
    each character is one."""
    return tuple(found.span() for found in WORD.finditer(text))


def sentences_of(text: str) -> tuple[Span, ...]:
    """The sentences of a text, without the spaces around them. A full stop behind a common abbreviation or a single
    letter ends none; an empty line ends one."""
    spans, start = [], 0
    for end in ENDING.finditer(text):
        if end.group().startswith(".") and ABBREVIATION.search(text[start : end.start() + 1]):
            continue
        spans.append((start, end.end()))
        start = end.end()
    return tuple(span for span in (_trimmed(text, *span) for span in (*spans, (start, len(text)))) if span[0] < span[1])


def named(text: str, span: Span) -> str:
    """A word as one speaks of it: without the punctuation around it, where anything is left then."""
    word = text[slice(*span)]
    return EDGES.sub("", word) or word


def home(spans: Sequence[Span], units: Sequence[Span]) -> list[int]:
    """The unit in which each span begins (its first character that is in any); −1 for a span outside all of them."""
    found, unit = [], 0
    for start, stop in spans:
        while unit and units[unit - 1][1] > start:
            unit -= 1
        while unit < len(units) and units[unit][1] <= start:
            unit += 1
        within = unit < len(units) and units[unit][0] < stop
        found.append(unit if within else -1)
        unit = min(unit, len(units) - 1) if units else 0
    return found


def _trimmed(text: str, start: int, stop: int) -> Span:
    part = text[start:stop]
    return start + len(part) - len(part.lstrip()), stop - len(part) + len(part.rstrip())

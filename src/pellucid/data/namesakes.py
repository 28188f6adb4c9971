"""Columns that are named like the label: a copy of the answer that was left among the questions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ..records.errors import shorten
from ..records.messages import Caution

DOUBLED = re.compile(r"[.#]\d+$")
"""What readers of tables put behind a name that they met before: ``approved.1``, ``approved#2``."""


def namesakes(names: Iterable[str], label: str | None) -> tuple[Caution, ...]:
    """A caution for each column whose name is the label's but for capitals, spaces, punctuation or such a number."""
    if label is None:
        return ()
    found = [name for name in names if _alike(name, label)]
    return tuple(Caution.of("label_namesake", column=shorten(name), label=shorten(label)) for name in found)


def _alike(name: str, label: str) -> bool:
    own = _folded(label)
    if not own or name == label:  # a name of nothing but signs says nothing
        return name == label
    return own in (_folded(name), _folded(DOUBLED.sub("", name))) or _folded(DOUBLED.sub("", label)) == _folded(name)


def _folded(name: str) -> str:
    """Letters, numbers and the marks on them, in small letters."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in plain if unicodedata.category(sign)[0] in "LMN")

"""What matters over all rows, in plain sentences: the loss, the players that count, and those that cannot be told."""

from __future__ import annotations

import numpy as np

from pellucid.records.amounts import Z, rounding
from pellucid.records.errors import InputError
from pellucid.records.importance import Importance
from pellucid.records.messages import LANGUAGES

from .narrative import told_cautions
from .words import Words, cut, number, quoted, spread

MOST = 4


def paragraphs(importance: Importance, language: str = "en", *, output: int = 0) -> list[str]:
    """What was asked and found, how sure that is, and what it does not mean.

    Raises :class:`InputError` for an unknown language.
    """
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    found = importance.top(importance.players.most, output)
    ends = (float(end[0, output]) for end in (importance.base, importance.full))
    floor = rounding(*ends, *(value for _, value, _ in found))
    real = [entry for entry in found if abs(entry[1]) > floor]
    sure = [entry for entry in real if not np.isfinite(entry[2]) or abs(entry[1]) > Z * entry[2]]
    told, intervals = [_asked(importance, output, words)], []
    for code, sign in (("overall_most", 1), ("overall_harm", -1)):
        listed = [entry for entry in sure if entry[1] * sign > 0][::sign][:MOST]
        if listed:
            told.append(words.told(code, reasons=words.joined([_told(*entry, words) for entry in listed])))
            intervals += [words.told("overall_intervals")] if any(error > 0 for *_, error in listed) else []
    unsure = len(found) - len(sure)
    if unsure:
        told.append(words.told("overall_unclear", count=unsure, players=len(found)))
    gap = "" if language == "zh" else " "
    meaning = [*intervals[:1], words.told("overall_meaning"), *told_cautions(importance, words)]
    return [gap.join(told), gap.join(meaning)]


def text(importance: Importance, language: str = "en") -> str:
    """The same in one piece."""
    return ("" if language == "zh" else " ").join(paragraphs(importance, language))


def _asked(importance: Importance, output: int, words: Words) -> str:
    base, full = float(importance.base[0, output]), float(importance.full[0, output])
    code = "overall_exchanged" if importance.removal.get("name") == "Exchange" else "overall_absent"
    code = "overall_own" if importance.notes.get("loss") == "own" else code
    return words.told(
        code,
        method=words.method(importance.method),
        rows=f"{len(importance.ids):,}",
        loss=words.loss(importance, output),
        base=number(base),
        full=number(full),
    )


def _told(name: str, value: float, error: float, words: Words) -> str:
    return words.told("amount", name=quoted(name), amount=number(value, signed=True) + spread(error))

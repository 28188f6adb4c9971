"""A recording of a training in plain sentences: numbers that broke, gradients that died, weights that moved."""

from __future__ import annotations

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.messages import LANGUAGES
from pellucid.records.recording import KINDS, Recording

from .words import Words, cut, number, quoted

NAMED, DIED = 3, 1e-3
"""Series named in a sentence; a gradient whose spread fell below this share of its first."""


def paragraphs(found: Recording, language: str = "en") -> list[str]:
    """What is to be noticed. Raises :class:`InputError` for an unknown language."""
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    counts = {kind: len(found.of(kind)) for kind in KINDS}
    told = [words.told("recorded", epochs=len(found), **counts)]
    broken = [place for place in range(len(found.series)) if found.broken[:, place].any()]
    if broken:
        first = min(int(found.epochs[np.argmax(found.broken[:, place] > 0)]) for place in broken)
        told.append(words.told("recorded_broken", names=_names(found, broken, words), epoch=first))
    if len(found) > 1:
        spread = found.moments[:, :, 1]
        gone = [place for place in found.of("gradients") if spread[-1, place] < DIED * spread[0, place]]
        if gone:
            told.append(words.told("recorded_died", names=_names(found, gone, words)))
        moved = _moved(found)
        if moved is not None:
            place, by = moved
            told.append(words.told("recorded_moved", name=quoted(found.series[place][1]), by=number(by)))
    return [("" if language == "zh" else " ").join(told)]


def _moved(found: Recording) -> tuple[int, float] | None:
    """The weights whose spread changed most from the first epoch to the last, and by what factor."""
    places, spread = found.of("weights"), found.moments[:, :, 1]
    factors = {p: spread[-1, p] / spread[0, p] for p in places if spread[0, p] > 0 and spread[-1, p] > 0}
    if not factors:
        return None
    place = max(factors, key=lambda p: abs(np.log(factors[p])))
    return place, float(factors[place])


def _names(found: Recording, places: list[int], words: Words) -> str:
    names = [quoted(f"{found.series[place][0]}/{found.series[place][1]}") for place in places[:NAMED]]
    return words.joined(names) + (f" (+{len(places) - NAMED})" if len(places) > NAMED else "")


def text(found: Recording, language: str = "en") -> str:
    """The same in one piece."""
    return paragraphs(found, language)[0]

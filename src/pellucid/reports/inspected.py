"""An inspection in plain sentences: idle units, gradients from layer to layer, what training moved."""

from __future__ import annotations

import numpy as np

from pellucid.measures.units import LEAST, trend
from pellucid.records.errors import InputError
from pellucid.records.inspection import Inspection
from pellucid.records.messages import LANGUAGES

from .words import Words, cut, number, percent, quoted

NAMED, FALLS, RISES, SHATTERED = 3, 0.5, 2.0, 0.5
"""Layers named in a sentence; by what factor a layer gradients vanish or explode; below what likeness they shatter."""


def paragraphs(found: Inspection, language: str = "en") -> list[str]:
    """The facts and what they do not mean. Raises :class:`InputError` for an unknown language."""
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    head = words.told("inspected", layers=len(found.layers), units=f"{len(found.units):,}", rows=f"{len(found):,}")
    told = [head]
    kinds = {"dead": found.dead, "saturated": found.saturated, "twins": found.twins >= 0}
    if len(found) < LEAST:
        told.append(words.told("inspected_few", least=LEAST))
        kinds = {"saturated": found.saturated}
    told += [_counted(found, code, flags, words) for code, flags in kinds.items()]
    told += _gradients(found, words)
    if found.moved is not None and np.isfinite(found.moved).any():
        place = int(np.nanargmax(found.moved))
        share = percent(float(found.moved[place]))
        told.append(words.told("inspected_moved", name=quoted(found.parameters[place]), share=share))
    gap = "" if language == "zh" else " "
    return [gap.join(told), words.told("inspected_meaning")]


def _counted(found: Inspection, code: str, flags: np.ndarray, words: Words) -> str:
    counts = [int(flags[found.part(layer.name)].sum()) for layer in found.layers]
    if not sum(counts):
        return words.told(f"inspected_no_{code}")
    order = np.argsort(-np.array(counts), kind="stable")[:NAMED]
    places = [quoted(found.layers[i].name) + f" ({counts[i]}/{found.layers[i].size})" for i in order if counts[i]]
    return words.told(f"inspected_{code}", count=f"{sum(counts):,}", layers=words.joined(places))


def _gradients(found: Inspection, words: Words) -> list[str]:
    if found.gradients is None:
        return []
    factor = 1 / trend(found.gradients)  # towards the input
    first, last = number(found.gradients[0]), number(found.gradients[-1])
    code = "vanish" if factor < FALLS else "explode" if factor > RISES else "steady"
    told = [words.told(f"inspected_{code}", factor=number(factor), first=first, last=last)]
    if found.alignment < SHATTERED:
        told.append(words.told("inspected_shattered", likeness=number(found.alignment)))
    return told


def text(found: Inspection, language: str = "en") -> str:
    """The same in one piece."""
    return ("" if language == "zh" else " ").join(paragraphs(found, language))

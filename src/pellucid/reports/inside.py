"""What went on inside the network at a row, in plain sentences: the layers, what they pass on, the strongest units."""

from __future__ import annotations

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.messages import LANGUAGES
from pellucid.records.trace import Trace

from .narrative import told_cautions
from .words import Words, cut, isolated, number, percent, quoted

MOST, LAYERS = 4, 6


def paragraphs(
    trace: Trace, row: int = 0, language: str = "en", audience: str = "expert", *, output: int = 0
) -> list[str]:
    """Layer by layer its strongest units and what all of them add up to, and what this does not mean.

    A person whom it decides about is told what it is and where to look instead. Raises :class:`InputError` for an
    unknown language.
    """
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    if audience == "person":
        return [("" if language == "zh" else " ").join([words.told("machine"), words.told("inside_person")])]
    told = [words.told("trace_asked", method=words.method(trace.method), output=quoted(trace.outputs[row][output]))]
    for place, layer in enumerate(trace.layers[:LAYERS]):
        strongest = trace.top(MOST, row, output, layer.name)
        units = words.joined([f"{isolated(unit)} {number(value, signed=True)}" for unit, value in strongest])
        told.append(words.told("trace_layer", layer=quoted(layer.name), count=f"{layer.size:,}", units=units))
        if trace.gaps is not None and np.isfinite(trace.gaps[row, place, output]):
            told.append(_sum(trace, row, place, output, words))
    if len(trace.layers) > LAYERS:
        told.append(words.told("trace_more", count=len(trace.layers) - LAYERS))
    gap = "" if language == "zh" else " "
    return [gap.join(told), gap.join([words.told("trace_meaning"), *told_cautions(trace, words)])]


def _sum(trace: Trace, row: int, place: int, output: int, words: Words) -> str:
    assert trace.gaps is not None
    summed = trace.sums[row, place, output] if trace.several else trace.sums[row, place]
    change = trace.full[row, output] - trace.base[row, output]
    gap = percent(float(trace.gaps[row, place, output]))
    return words.told("trace_sum", sum=number(summed, signed=True), change=number(change, signed=True), gap=gap)


def text(trace: Trace, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    """The same in one piece."""
    return ("" if language == "zh" else " ").join(paragraphs(trace, row, language, audience))

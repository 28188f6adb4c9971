"""Attention in plain sentences: where each layer looks hardest, and what happens without what is looked at."""

from __future__ import annotations

from pellucid.records.attention import AttentionMaps
from pellucid.records.errors import InputError
from pellucid.records.messages import LANGUAGES

from .narrative import erasure_told, told_cautions
from .words import Words, cut, number, quoted

LAYERS = 6


def paragraphs(
    maps: AttentionMaps, row: int = 0, language: str = "en", audience: str = "expert", *, output: int = 0
) -> list[str]:
    """Layer by layer the largest weight, then the erasure test. It is of the network's inside, whoever reads it.

    Raises :class:`InputError` for an unknown language.
    """
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    told = [words.told("trace_asked", method=words.method(maps.method), output=quoted(maps.outputs[row][output]))]
    for layer in maps.layers[:LAYERS]:
        head, asking, answering, weight = maps.hardest(layer.name, row, output)
        at = {"head": head, "asking": asking, "answering": answering, "weight": number(weight)}
        told.append(words.told("attention_layer", layer=quoted(layer.name), heads=layer.shape[0], **at))
    if len(maps.layers) > LAYERS:
        told.append(words.told("trace_more", count=len(maps.layers) - LAYERS))
    gap = "" if language == "zh" else " "
    return [gap.join(told), gap.join([*erasure_told(maps, row, output, words), *told_cautions(maps, words)])]


def text(maps: AttentionMaps, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    """The same in one piece."""
    return ("" if language == "zh" else " ").join(paragraphs(maps, row, language, audience))

"""The path of a decision in plain sentences: the chain, the strongest units, what goes another way, what is lost."""

from __future__ import annotations

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.flow import BLOCKED, CANCELLED, STILL, Flow
from pellucid.records.messages import LANGUAGES

from .narrative import decision, told_cautions
from .words import Words, cut, isolated, percent, quoted, signed_percent

MOST, BESIDE, LOST = 3, 0.1, 0.5
"""Units that are named; from what share on another way, and a loss, is worth a sentence."""


def paragraphs(
    flow: Flow, row: int = 0, language: str = "en", audience: str = "expert", *, output: int = 0
) -> list[str]:
    """How the change of an output came about, layer by layer, and what this does not mean.

    A person whom it decides about is told the decision and where to look instead. Raises :class:`InputError` for an
    unknown language.
    """
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words, row = Words(language), flow.place_of(row)
    gap = "" if language == "zh" else " "
    if audience == "person":
        return [
            gap.join([words.told("machine"), decision(flow, row, output, words, audience), words.told("inside_person")])
        ]
    first = [decision(flow, row, output, words, "expert")]
    if flow.change(row, output):
        first += [*_units(flow, row, output, words), _chain(flow, row, output, words)]
    told = [*_ways(flow, row, output, words), *_lost(flow, row, output, words)]
    last = [words.told("path_meaning"), *told_cautions(flow, words)]
    return [gap.join(part) for part in (first, told, last) if part]


def unit_told(flow: Flow, cut_place: int, unit: int, row: int, words: Words) -> str:
    """A unit as a sentence names it: ``channel 17 of “layer2.0.conv1”``; at cut 0 a player."""
    if cut_place == 0:
        return quoted(flow.players.of(row)[unit])
    layer = flow.cuts[cut_place - 1]
    kind = flow.notes["places"][flow.notes["cuts"][cut_place - 1]]["unit"]
    return words.told(f"path_{kind}", unit=unit, layer=quoted(layer.name))


def _units(flow: Flow, row: int, output: int, words: Words) -> list[str]:
    """The single units inside the network through which most passes, one of each layer at most."""
    change, found = flow.change(row, output), []
    for place, layer in enumerate(flow.cuts, 1):
        unit = int(flow.chosen[row, place, 0, output])
        share = flow.value_of(place, unit, row, output) / change
        if layer.size > 1 and not _is_answer(flow, place, share):
            found.append((share, place, unit))
    strongest = sorted(found, key=lambda each: -abs(each[0]))[:MOST]
    told = [
        words.told("path_part", share=signed_percent(share), unit=unit_told(flow, place, unit, row, words))
        for share, place, unit in sorted(strongest, key=lambda each: each[1])
    ]
    return [words.told("path_units", parts=words.joined(told))] if told else []


def _is_answer(flow: Flow, place: int, share: float) -> bool:
    """Whether a unit of the last layer is the output that is explained: all passes through it, as it must."""
    return place == len(flow.cuts) and flow.notes["cuts"][-1] == len(flow.layers) - 1 and abs(share - 1) < 1e-3


def _chain(flow: Flow, row: int, output: int, words: Words) -> str:
    links = flow.links(row, output)
    names = [isolated(cut(link.name)) for link in links if link.unit is not None]
    return words.told("path_chain", chain=" → ".join(names) or "—", share=signed_percent(links[0].carried))


def _ways(flow: Flow, row: int, output: int, words: Words) -> list[str]:
    """The layer where the change is most evenly divided between the layer and what goes around it."""
    change = flow.change(row, output)
    if not change:
        return []
    beside = flow.besides[row, :, output] / change
    sums = np.array([flow.sum_of(layer.name, row, output) for layer in flow.layers]) / change
    place = int(np.argmax(np.minimum(np.abs(beside), np.abs(sums))))
    if not abs(beside[place]) >= BESIDE:
        return []
    said = {"layer": quoted(flow.layers[place].name), "share": signed_percent(float(beside[place]))}
    return [words.told("path_besides", **said, own=signed_percent(float(sums[place])))]


def _lost(flow: Flow, row: int, output: int, words: Words) -> list[str]:
    """The layers where most units are blocked, where most are the same as without the row, where most cancels.

    Layers through which less passes than the change are left aside: little can be lost there.
    """
    told, least = [], 0.999 * abs(flow.change(row, output))
    sizes = [flow.size_of(layer.name, row, output) for layer in flow.layers]
    for what, code in ((BLOCKED, "path_blocked"), (STILL, "path_still"), (CANCELLED, "path_cancelled")):
        shares = np.nan_to_num(flow.lost[row, :, what, output])
        inner = [place for place, layer in enumerate(flow.layers[:-1]) if layer.size > 1 and sizes[place] >= least]
        place = max(inner, key=lambda at: shares[at], default=0)
        if inner and shares[place] >= LOST:
            layer = flow.layers[place]
            share = percent(float(shares[place]))
            told.append(words.told(code, layer=quoted(layer.name), share=share, count=f"{layer.size:,}"))
    return told


def text(flow: Flow, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    """The same in one piece."""
    return ("" if language == "zh" else " ").join(paragraphs(flow, row, language, audience))

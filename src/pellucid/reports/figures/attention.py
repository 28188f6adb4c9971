"""Figures of attention maps: layers below each other, heads side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.attention import AttentionMaps
from pellucid.records.errors import InputError

from ..words import Words, fitted, number
from .images import coloured, png
from .theme import DIVERGING, table, themed

if TYPE_CHECKING:
    import altair as alt

MOST, SIDE = 12, 92
"""Layers and heads shown at most; the side of a map."""


def attention_grid(
    maps: AttentionMaps, row: int = 0, *, output: int = 0, layer: str | None = None, language: str = "en"
) -> alt.VConcatChart:
    """A row's maps, or those of one layer: a line for each asking token, a column for each answering one.

    All maps have one scale. Of more than twelve layers or heads the first ones are shown. Raises :class:`InputError`
    for an output that the record lacks.
    """
    import altair as alt

    if not 0 <= output < len(maps.outputs[row]):
        raise InputError(f"output {output} of a record of {len(maps.outputs[row])} outputs")
    words, lines = Words(language), []
    names = [each.name for each in maps.layers] if layer is None else [layer]
    shown = {name: _of(maps, name, row, output)[:MOST] for name in names[:MOST]}
    largest = max(float(each.max(initial=0)) for each in shown.values()) or 1.0
    for place, (name, heads) in enumerate(shown.items()):
        panels: list[Any] = []
        for head, weights in enumerate(heads):
            title = words("panel_head", head=head) if place == 0 else ""
            panels.append(_map(weights / largest).properties(title=title) if title else _map(weights / largest))
        lines.append(alt.hconcat(*panels, spacing=8, title=alt.Title(fitted(name, 40), anchor="start", fontWeight=400)))
    told = [words("attention_subtitle", largest=number(largest))]
    chart = alt.vconcat(*lines, spacing=10, title=alt.Title(words("attention_title"), subtitle=told))
    return themed(chart, words("alt_attention", layers=len(maps.layers), largest=number(largest)), "shrink")


def _of(maps: AttentionMaps, name: str, row: int, output: int) -> np.ndarray:
    found = maps.of(name)[row]
    return found[..., output] if maps.several else found


def _map(weights: np.ndarray) -> alt.Chart:
    """One map ``[T, S]`` of 0 to 1, at a fixed size."""
    import altair as alt

    pixels = coloured(weights, np.linspace(0, 1, 3), DIVERGING[2:])
    times = max(1, -(-2 * SIDE // max(pixels.shape[:2])))  # so that no viewer blurs it
    url = png(pixels.repeat(times, axis=0).repeat(times, axis=1))
    chart = alt.Chart(table([{"url": url}])).mark_image(width=SIDE, height=SIDE, aspect=False)
    at = {"x": alt.value(SIDE / 2), "y": alt.value(SIDE / 2)}
    return chart.encode(url="url:N", **at).properties(width=SIDE, height=SIDE)

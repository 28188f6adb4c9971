"""Figures of a recording: how each series is spread over the epochs, and one series' histograms as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.recording import Recording

from ..words import Words, cut, number
from .theme import DIVERGING, GOOD, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

MOST, ACROSS = 24, 3
"""Series drawn side by side at most; in a line."""


def spread_over_epochs(found: Recording, kind: str = "weights", *, language: str = "en") -> alt.ConcatChart:
    """For each series of a kind its median, middle half and 5 to 95 % over the epochs; at most 24, evenly chosen."""
    import altair as alt

    words, places = Words(language), found.of(kind)
    if len(places) > MOST:
        places = [places[int(i)] for i in np.linspace(0, len(places) - 1, MOST).round()]
    panels = []
    for place in places:
        lines = [
            {"epoch": int(epoch), "low": q[1], "first": q[2], "middle": q[3], "third": q[4], "high": q[5],
             "text": " · ".join(number(float(value)) for value in q[[1, 3, 5]])}
            for epoch, q in zip(found.epochs, found.quantiles[:, place], strict=True)
        ]  # fmt: skip
        base = alt.Chart(table(lines)).encode(x=alt.X("epoch:Q", title=None, axis=alt.Axis(tickMinStep=1, tickCount=4)))
        y = {"title": None, "axis": alt.Axis(tickCount=4)}
        layers: list[Any] = [
            base.mark_area(color=GOOD, opacity=0.18).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
            base.mark_area(color=GOOD, opacity=0.35).encode(y=alt.Y("first:Q", **y), y2="third:Q"),
            base.mark_line(color=GOOD, point=True).encode(y=alt.Y("middle:Q", **y), tooltip=["epoch:Q", "text:N"]),
        ]
        name = found.series[place][1]
        panels.append(
            alt.layer(*layers).properties(width=190, height=90, title=name if len(name) < 30 else cut(name, 30))
        )
    chart: Any = alt.concat(*panels, columns=ACROSS)
    return themed(chart, words("alt_recording", kind=words(f"recorded_{kind}"), epochs=len(found)), "shrink")


def histograms(found: Recording, kind: str, name: str, *, language: str = "en") -> alt.Chart:
    """One series' histograms, an epoch a column; darker where more numbers lie.

    Raises :class:`UnknownName` for a series that is not there.
    """
    import altair as alt

    words, place = Words(language), found.place(kind, name)
    lines = []
    for e, epoch in enumerate(found.epochs):
        low, high = found.low[e, place], found.high[e, place]
        if not np.isfinite(low):
            continue
        counts = found.counts[e, place]
        edges = np.linspace(low, high if high > low else low + 1e-9, len(counts) + 1)
        share = counts / counts.sum()
        lines += [
            {"epoch": int(epoch), "next": int(epoch) + 1, "low": float(a), "high": float(b), "share": float(each)}
            for a, b, each in zip(edges[:-1], edges[1:], share, strict=True)
        ]
    scale = alt.Scale(range=[DIVERGING[2], GOOD, "#0c3540"])
    chart = alt.Chart(table(lines)).mark_rect().encode(
        x=alt.X("epoch:Q", title=words("axis_epoch"), axis=alt.Axis(tickMinStep=1)), x2="next:Q",
        y=alt.Y("low:Q", title=cut(name)), y2="high:Q",
        color=alt.Color("share:Q", title=words("axis_share_of_numbers"), scale=scale),
        tooltip=["epoch:Q", "low:Q", "high:Q", alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    return themed(chart.properties(width=WIDTH, height=260), words("alt_histograms", name=cut(name), epochs=len(found)))

"""Figures of time series: each channel's line on bands of colour, as strong as what happens then contributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.records.series import SeriesAxes

from ..stretches import is_series
from ..words import Words, cut, fitted, is_attention, number
from .theme import DIVERGING, table, themed

if TYPE_CHECKING:
    import altair as alt

WIDE, TALL, LOW = 440, 110, 62
"""Pixels of a panel: its width, its height, and that of each of many."""
MOST_CHANNELS, MOST_BANDS, MOST_POINTS, TICKS = 8, 240, 1200, 5
INK = "#1c2430"
"""The line lies on bands that are as pale on dark paper as on light."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What is drawn of each channel: values ``Float64[C, T]`` of its players, whose they are, and the line or None."""

    axes: SeriesAxes
    values: np.ndarray
    labels: np.ndarray
    line: np.ndarray | None
    one_sided: bool = False

    @property
    def channels(self) -> Sequence[int]:
        """The channels with the largest contributions, in their own order."""
        sizes = np.nansum(np.abs(self.values), axis=1)
        return sorted(np.argsort(-sizes, kind="stable")[:MOST_CHANNELS].tolist())

    @property
    def largest(self) -> float:
        return float(np.nanmax(np.abs(self.values), initial=0.0)) or 1.0


def series_bands(explanation: Explanation, row: int = 0, *, output: int = 0, language: str = "en") -> alt.VConcatChart:
    """One row: a panel for each channel (the eight with the largest contributions), all on one axis of time.

    Orange raises the output, blue lowers it, by one scale for all channels. Where more players lie side by side than
    can be seen, the largest of each place is drawn.
    """
    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    row %= len(explanation)
    axes, words = _axes(explanation), Words(language)
    values = explanation.attributions[row, : len(explanation.players.of(row)), output]
    spread = axes.by_channel(explanation.players.spread(values, row).reshape(-1))
    labels = axes.by_channel(explanation.players.labels[0 if explanation.players.is_shared else row])
    drawn = _Drawn(axes, spread, labels, _line(explanation, row, labels))
    title = words("panel_attention" if is_attention(explanation) else "panel_heat")
    name = fitted(explanation.outputs[row][output], 30)
    told = "; ".join(f"{fitted(n, 40)} {number(v, signed=True)}" for n, v, _ in explanation.top(3, row, output))
    return themed(_panels(drawn, title, words), words("alt_series", output=name, told=told), "shrink")


def series_overall(explanation: Explanation, *, output: int = 0, language: str = "en") -> alt.VConcatChart:
    """The mean size of the contributions at each time over all rows, on the mean of the rows."""
    axes, words = _axes(explanation), Words(language)
    if not explanation.players.is_shared:
        raise NotApplicable("these series have players of their own", fix="draw one of them")
    sizes = np.nanmean(np.abs(explanation.attributions[:, :, output]), axis=0)
    values = axes.by_channel(explanation.players.spread(sizes, 0).reshape(-1))
    labels = axes.by_channel(explanation.players.labels[0])
    lines = [line for row in range(len(explanation)) if (line := _line(explanation, row, labels)) is not None]
    drawn = _Drawn(axes, values, labels, np.mean(lines, axis=0) if lines else None, one_sided=True)
    return themed(_panels(drawn, words("panel_mean"), words), words("alt_series_mean"), "shrink")


def _axes(explanation: Explanation) -> SeriesAxes:
    if not is_series(explanation) or explanation.players.axes is None:
        raise NotApplicable("the rows of this explanation are not series", fix="use kind='bar'")
    return explanation.players.axes


def _line(explanation: Explanation, row: int, labels: np.ndarray) -> np.ndarray | None:
    """A row's own values ``Float64[C, T]``, NaN behind its end; None where the record holds no rows."""
    rows, axes = explanation.rows, explanation.players.axes
    if axes is None or not isinstance(rows, np.ndarray) or rows[row].size != labels.size:
        return None
    line = axes.by_channel(rows[row].reshape(-1)).astype(np.float64)
    nobody: np.ndarray = np.all(labels < 0, axis=0)
    behind = np.logical_and.accumulate(nobody[::-1])[::-1]
    return np.where(behind, np.nan, line)


def _panels(drawn: _Drawn, title: str, words: Words) -> alt.VConcatChart:
    import altair as alt

    chosen, panels = drawn.channels, []
    tall = TALL if len(chosen) <= 3 else LOW
    for channel in chosen:
        last = channel == chosen[-1]
        panel = _panel(drawn, channel, tall, last, title, words)
        panels.append(panel.properties(width=WIDE, height=tall, title=_named(drawn.axes, channel)))
    left = len(drawn.axes.channels) - len(chosen)
    chart = alt.vconcat(*panels, spacing=8).resolve_scale(color="shared", x="shared")
    return chart.properties(title={"text": words("series_left", count=left), "fontWeight": "normal"}) if left else chart


def _named(axes: SeriesAxes, channel: int) -> str:
    name = fitted(axes.channels[channel], 40) if axes.is_named else ""
    unit = f" ({fitted(axes.units[channel], 12)})" if axes.units and axes.units[channel] else ""
    return name + unit


def _panel(drawn: _Drawn, channel: int, tall: int, last: bool, title: str, words: Words) -> Any:
    import altair as alt

    stops = np.linspace(0, 1, 3) if drawn.one_sided else np.linspace(-1, 1, 5)
    ends = [0.0, drawn.largest] if drawn.one_sided else [-drawn.largest, 0.0, drawn.largest]
    scale = alt.Scale(
        domain=[float(stop * drawn.largest) for stop in stops],
        range=list(DIVERGING[2:] if drawn.one_sided else DIVERGING), interpolate="rgb",
    )  # fmt: skip
    legend = alt.Legend(orient="bottom", title=title, values=ends, format=".2~g", gradientThickness=9,
                        gradientLength=180, direction="horizontal")  # fmt: skip
    axis = alt.Axis(title=_when(drawn.axes, words), grid=False) if last and not _spelled(drawn.axes) else None
    clock = drawn.axes.clock or tuple(range(drawn.axes.steps))
    x = alt.X("from:Q", axis=axis, scale=alt.Scale(domain=[float(clock[0]), _end(clock)], nice=False, zero=False))
    tips = [alt.Tooltip("when:N", title=words("tip_player")), alt.Tooltip("v:Q", title=words("tip_contribution"),
                                                                          format=".3~g")]  # fmt: skip
    bands = alt.Chart(table(_bands(drawn, channel, clock))).mark_rect()
    layers: list[alt.Chart] = [bands.encode(
        x=x, x2="to:Q", y=alt.value(0), y2=alt.value(tall), color=alt.Color("v:Q", scale=scale, legend=legend),
        tooltip=tips,
    )]  # fmt: skip
    if drawn.line is not None:
        y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(grid=False, tickCount=3))
        points = alt.Chart(table(_points(drawn.line[channel], clock)))
        halo = points.mark_line(color="white", strokeWidth=3.5, opacity=0.55)  # it is seen on dark bands, too
        layers += [mark.encode(x=x, y=y) for mark in (halo, points.mark_line(color=INK, strokeWidth=1.3))]
    if last and _spelled(drawn.axes):
        layers.append(_ticks(drawn.axes, x, tall))
    return alt.layer(*layers)


def _end(clock: Sequence[float]) -> float:
    """Where the last step ends: as long after it as it comes after the one before."""
    return float(clock[-1] + (clock[-1] - clock[-2] if len(clock) > 1 else 1))


def _bands(drawn: _Drawn, channel: int, clock: Sequence[float]) -> list[dict[str, Any]]:
    """A band for each run of steps of one player; of too many side by side the largest of each place."""
    labels, values, axes = drawn.labels[channel], drawn.values[channel], drawn.axes
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    stops = [*starts[1:].tolist(), len(labels)]
    runs = [(int(a), int(b), float(values[a])) for a, b in zip(starts, stops, strict=True) if labels[a] >= 0]
    times = -(-len(runs) // MOST_BANDS)
    groups = [runs[place : place + times] for place in range(0, len(runs), times or 1)]
    edges = [*clock, _end(clock)]
    return [
        {"from": float(edges[own[0][0]]), "to": float(edges[own[-1][1]]), "when": axes.span(own[0][0], own[-1][1]),
         "v": max((v for _, _, v in own), key=abs)}
        for own in groups
    ]  # fmt: skip


def _points(line: np.ndarray, clock: Sequence[float]) -> list[dict[str, Any]]:
    """The line's points in the middle of their steps; of more than can be seen every k-th."""
    edges = np.append(clock, _end(clock))
    step = -(-len(line) // MOST_POINTS)
    return [{"from": float((edges[t] + edges[t + 1]) / 2), "y": float(line[t])} for t in range(0, len(line), step)]


def _spelled(axes: SeriesAxes) -> bool:
    """Whether times are texts, which stand under the axis as they are."""
    return bool(axes.times) and not axes.clock


def _when(axes: SeriesAxes, words: Words) -> str:
    return (
        (words("axis_time") + (f" ({cut(axes.unit, 12)})" if axes.unit else "")) if axes.times else words("axis_step")
    )


def _ticks(axes: SeriesAxes, x: Any, tall: int) -> alt.Chart:
    import altair as alt

    places = np.unique(np.linspace(0, axes.steps - 1, TICKS).astype(int)).tolist()
    rows = [{"from": place + 0.5, "label": fitted(axes.moment(place), 18)} for place in places]
    text = alt.Chart(table(rows)).mark_text(dy=12, fontSize=11)
    return text.encode(x=x, y=alt.value(tall), text="label:N")

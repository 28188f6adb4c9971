"""The flow figure of a decision: what passes from the inputs through units of the layers to the output.

Columns are layers, bars are units, as tall as what passes through them; ribbons between them are as wide as what one
unit passes on through another. Feature maps stand beside the channels they are of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.flow import REST, Flow

from ..words import Words, cut, fitted, number, signed_percent
from .images import heat_map, heat_panel, is_image, is_picture, map_url, shown_picture
from .theme import DOWN, UP, table, themed

if TYPE_CHECKING:
    import altair as alt

TALL, GAP, LOW, THUMB = 250.0, 9.0, 3.0, 34.0
"""Pixels of the tallest column's bars, between bars, of the least bar, of a feature map's side."""
WIDE, FIRST, BAR, LETTERS = 108.0, 96.0, 9.0, 15
"""Pixels from column to column, as many more behind the first, of a bar's width; letters of a name."""
THIN = 0.004
"""Ribbons of a smaller share of the largest column are left out."""
BENDS = np.linspace(0, 1, 9)


@dataclass
class _Bar:
    """A part of a column: where it stands, and how much of its sides is taken by ribbons already."""

    column: int
    part: int
    label: str
    value: float
    height: float
    top: float = 0.0
    left: float = 0.0
    right: float = 0.0
    url: str | None = None
    of_chain: bool = False

    @property
    def room(self) -> float:
        return max(self.height, THUMB if self.url else 22.0)


def decision_flow(
    flow: Flow, row: int = 0, *, output: int = 0, language: str = "en", beside: bool = True
) -> alt.HConcatChart:
    """What of a row's change passes where, as ribbons from left to right; orange raises the output, blue lowers it.

    The strongest chain is drawn in full colour; with ``beside`` a picture's contributions stand beside it. Ribbons
    too thin to be seen are left out. Raises :class:`InputError` for an output that the record lacks.
    """
    import altair as alt

    row = flow.place_of(row)
    if not 0 <= output < len(flow.outputs[row]):
        raise InputError(f"output {output} of a record of {len(flow.outputs[row])} outputs")
    words = Words(language)
    drawn = _Drawn(flow, row, output, words)
    chart: Any = alt.layer(*drawn.layers()).properties(width=drawn.width, height=drawn.height)
    chain = " → ".join(fitted(link.name, 30) for link in flow.links(row, output) if link.unit is not None)
    panels = [chart]
    if beside and is_image(flow):
        picture = shown_picture(flow.rows[row]) if is_picture(flow.rows) else None
        heat = heat_map(flow, row, output)
        below = picture if picture is not None and picture.shape[:2] == heat.shape else None
        panels.insert(0, heat_panel(heat, words("panel_heat"), below=below))
    name = fitted(flow.outputs[row][output], 30)
    return themed(alt.hconcat(*panels, spacing=14), words("alt_flow", output=name, told=chain or "—"), "scroll")


class _Drawn:
    """The bars and ribbons of one row's flow, laid out."""

    def __init__(self, flow: Flow, row: int, output: int, words: Words):
        self.flow, self.row, self.output, self.words = flow, row, output, words
        self.flows = np.nan_to_num(flow.flows[row, ..., output])
        self.change = flow.change(row, output)
        self.columns = len(self.flows) + 1
        self.keep = self.flows.shape[1] + REST
        self.chain = [None if np.isnan(part) else int(part) for part in flow.chain[row, :, output]]
        self.bars = self._bars()
        self.width = _across(self.columns - 1) + BAR + 56
        self.height = self._stack()

    def _size(self, column: int, part: int) -> float:
        """What passes through a part, going in or coming out, whichever is more."""
        into = np.abs(self.flows[column - 1, :, part]).sum() if column else 0.0
        out = np.abs(self.flows[column, part]).sum() if column < len(self.flows) else 0.0
        return float(max(into, out))

    def _bars(self) -> dict[tuple[int, int], _Bar]:
        parts = [self.keep + 2] * len(self.flows) + [1]
        sizes = {(c, p): self._size(c, p) for c, count in enumerate(parts) for p in range(count)}
        self.largest = max((sum(s for (c, _), s in sizes.items() if c == at) for at in range(len(parts))), default=0.0)
        self.largest = self.largest or 1.0
        bars = {}
        for (column, part), size in sizes.items():
            height = TALL * size / self.largest
            if size > THIN * self.largest or self._on_chain(column, part):
                bars[column, part] = self._bar(column, part, max(height, LOW))
        return bars

    def _on_chain(self, column: int, part: int) -> bool:
        if column == len(self.flows):
            return True
        taken = self.chain[column]
        return part == (self.keep + 1 if taken is None else taken)

    def _bar(self, column: int, part: int, height: float) -> _Bar:
        flow, url = self.flow, None
        if column == len(self.flows):
            label, value = fitted(flow.outputs[self.row][self.output], LETTERS), self.change
        else:
            value = float(self.flows[column, part].sum())
            if part < self.keep:
                unit = int(flow.chosen[self.row, column, part, self.output])
                name = flow.unit_name(column, unit, self.row)
                label = fitted(name, LETTERS + 12) if column == 0 else str(unit)
                url = self._map(column, part)
            else:
                label = self.words("flow_rest" if part == self.keep else "flow_besides")
        return _Bar(column, part, label, value, height, url=url, of_chain=self._on_chain(column, part))

    def _map(self, column: int, part: int) -> str | None:
        if column == 0 or self.flow.maps is None:
            return None
        picture = self.flow.maps[self.row, column - 1, part, :, :, self.output]
        return None if np.isnan(picture).all() else map_url(picture)

    def _stack(self) -> float:
        """Put the bars of each column one below the other; returns the height of the tallest column."""
        heights = []
        for column in range(self.columns):
            own = [bar for (at, _), bar in sorted(self.bars.items()) if at == column]
            heights.append(sum(bar.room + GAP for bar in own))
        tallest = max(heights, default=0.0)
        for column in range(self.columns):
            at = (tallest - heights[column]) / 2
            for bar in (bar for (c, _), bar in sorted(self.bars.items()) if c == column):
                bar.top = at + (bar.room - bar.height) / 2
                at += bar.room + GAP
        return tallest

    def _ribbons(self) -> Iterator[dict[str, Any]]:
        scale = TALL / self.largest
        for column, tables in enumerate(self.flows):
            for part, towards in sorted(np.ndindex(tables.shape)):
                value = float(tables[part, towards])
                one, other = self.bars.get((column, part)), self.bars.get((column + 1, towards))
                if one is not None and other is not None and abs(value) > THIN * self.largest:
                    yield from self._ribbon(one, other, value, abs(value) * scale)

    def _ribbon(self, one: _Bar, other: _Bar, value: float, width: float) -> Iterator[dict[str, Any]]:
        """A ribbon as points along it; it takes its room from the sides of both bars."""
        y, z = one.top + one.right, other.top + other.left
        one.right += width
        other.left += width
        x, end = _across(one.column) + BAR, _across(other.column)
        told = {
            "ribbon": f"{one.column} {one.part} {other.part}", "from": self._named(one), "to": self._named(other),
            "side": "up" if value >= 0 else "down", "full": number(value, signed=True), "share": self._share(value),
            "strong": one.of_chain and other.of_chain,
        }  # fmt: skip
        for bend in BENDS:
            eased = float(bend * bend * (3 - 2 * bend))
            middle = y + (z - y) * eased
            yield told | {"x": x + (end - x) * float(bend), "y": middle, "y2": middle + width}

    def _named(self, bar: _Bar) -> str:
        if bar.column == len(self.flows) or bar.column == 0:
            return cut(bar.label, 60)
        return cut(f"{self.flow.cuts[bar.column - 1].name}: {bar.label}", 90)

    def _share(self, value: float) -> str:
        return signed_percent(value / self.change) if self.change else "—"

    def layers(self) -> list[Any]:
        import altair as alt

        across = alt.Scale(domain=[0, self.width], nice=False, zero=False)
        down = alt.Scale(domain=[self.height, -26], nice=False, zero=False)
        x, y = (alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None))
        color = alt.Color("side:N", scale=alt.Scale(domain=["up", "down"], range=[UP, DOWN]), legend=None)
        words = self.words
        tips = [
            alt.Tooltip("from:N", title=words("tip_from")),
            alt.Tooltip("to:N", title=words("tip_to")),
            alt.Tooltip("full:N", title=words("tip_contribution")),
            alt.Tooltip("share:N", title=words("tip_of_change")),
        ]
        strength = alt.condition("datum.strong", alt.value(0.75), alt.value(0.28))
        ribbons = alt.Chart(table(list(self._ribbons()))).mark_area(line=False, interpolate="monotone")
        drawn = ribbons.encode(x=x, y=y, y2="y2:Q", detail="ribbon:N", color=color, opacity=strength, tooltip=tips)
        bars = alt.Chart(table([self._told(bar) for bar in self.bars.values()]))
        boxes = bars.mark_rect(stroke=None).encode(
            x=x, x2="x2:Q", y=y, y2="y2:Q", color=color, tooltip=tips[:1] + tips[2:]
        )
        texts = bars.mark_text(align="left", baseline="middle", fontSize=11).encode(
            x=alt.X("text_x:Q", scale=across, axis=None), y=alt.Y("text_y:Q", scale=down, axis=None), text="text:N"
        )
        heads = alt.Chart(table(self._heads())).mark_text(align="left", baseline="bottom", fontSize=11, fontWeight=600)
        pictures = [self._told(bar) for bar in self.bars.values() if bar.url]
        images = alt.Chart(table(pictures)).mark_image(width=THUMB, height=THUMB, align="left", baseline="middle")
        shown = images.encode(
            x=alt.X("map_x:Q", scale=across, axis=None), y=alt.Y("text_y:Q", scale=down, axis=None), url="url:N"
        )
        return [drawn, boxes, *([shown] if pictures else []), texts, heads.encode(x=x, y=y, text="text:N")]

    def _told(self, bar: _Bar) -> dict[str, Any]:
        x, middle = _across(bar.column), bar.top + bar.height / 2
        beside = x + BAR + 3 + (THUMB + 3 if bar.url else 0)
        return {
            "x": x, "x2": x + BAR, "y": bar.top, "y2": bar.top + bar.height, "side": "up" if bar.value >= 0 else "down",
            "from": self._named(bar), "full": number(bar.value, signed=True), "share": self._share(bar.value),
            "text": f"{bar.label} · {self._share(bar.value)}" if bar.column < len(self.flows) else bar.label,
            "text_x": beside, "text_y": middle, "map_x": x + BAR + 2, "url": bar.url or "",
        }  # fmt: skip

    def _heads(self) -> list[dict[str, Any]]:
        names = [
            self.words("flow_inputs"),
            *[_end_of(layer.name) for layer in self.flow.cuts],
            self.words("flow_output"),
        ]
        return [{"x": _across(column), "y": -10.0, "text": name} for column, name in enumerate(names)]


def _across(column: int) -> float:
    """Where a column stands."""
    return WIDE * column + (FIRST if column else 0.0)


def _end_of(name: str) -> str:
    """The end of a layer's path, which tells it from its neighbours."""
    return name if len(name) <= LETTERS else "…" + cut(name[1 - LETTERS :])

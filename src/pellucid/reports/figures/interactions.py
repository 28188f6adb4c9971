"""Figures of interactions: a heat map of all pairs with the main effects on its diagonal, and a network of players."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.interactions import JOIN, Interactions

from ..words import Words, cut, fitted, number, spread, unique
from .matrices import PALE, headings, matrix, top_axis
from .theme import DIVERGING, DOWN, UP, table, themed

if TYPE_CHECKING:
    import altair as alt

MOST, WRITTEN, UPRIGHT = 30, 8, 5
"""Players shown at most; up to so many numbers are written into the cells; up to so many names stand level above."""
LEVEL, BESIDE = 14, 1.14
"""Up to so many players the names around a network are level, of more they point outwards; how far out they stand."""


def heatmap(e: Interactions, row: int = 0, *, output: int = 0, language: str = "en") -> alt.LayerChart:
    """All pairs of a row as coloured cells, main effects on the diagonal; errors are in the tooltips.

    Of more than 30 players those with the largest effects are shown. Raises :class:`InputError` for a row or output
    that is not there, :class:`NotApplicable` where the record holds no pairs.
    """
    import altair as alt

    words, shown = Words(language), _Shown(e, row, output)
    labels = unique([fitted(name, 22) for name in shown.names])
    few = len(labels) <= UPRIGHT
    heads = headings(labels) if few else labels
    most = np.nanmax(np.abs(shown.values), initial=0.0) or 1.0
    lines = []
    for i, first in enumerate(labels):
        for j, second in enumerate(heads):
            value = float(shown.values[i, j])
            ink = "none" if len(labels) > WRITTEN else "pale" if abs(value) > 0.75 * most else "ink"
            line = {"row": first, "column": second, "value": value, "ink": ink, "text": number(value, signed=True)}
            lines.append(line | {"name": shown.told(i, j), "full": shown.amount(i, j)})
    x = alt.X("column:N", scale=alt.Scale(domain=heads), title=None, axis=top_axis(heads, upright=not few))
    y = alt.Y("row:N", scale=alt.Scale(domain=labels), title=None)
    scale = alt.Scale(domain=[-most, -most / 2, 0, most / 2, most], range=list(DIVERGING), interpolate="rgb")
    across, down = (84, 34) if few else (52, 30) if len(labels) <= WRITTEN else (20, 20)
    chart = matrix(lines, x, y, "value", scale, _tips(words))
    chart = chart.properties(width=across * len(labels), height=down * len(labels))
    name = fitted(e.outputs[row][output], 30)
    return themed(chart, words("alt_heatmap", output=name, told=shown.first(words)), "scroll")


def network(e: Interactions, row: int = 0, *, output: int = 0, k: int = 20, language: str = "en") -> alt.LayerChart:
    """Players on a circle: size and colour say the main effect; the ``k`` strongest pairs are lines.

    A line is as wide as its pair is strong; lines and circles have scales of their own. Raises what :func:`heatmap`
    raises.
    """
    import altair as alt

    words, shown = Words(language), _Shown(e, row, output)
    n = len(shown.names)
    turn = 2 * np.pi * (np.arange(n) + 0.5) / n
    places = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    room = (2.1, 1.2) if n <= LEVEL else (1.65, 1.65)
    unit = 140 if n <= LEVEL else 165
    across, down = (alt.Scale(domain=[-end, end], nice=False) for end in room)
    at = {"x": alt.X("x:Q", scale=across, axis=None), "y": alt.Y("y:Q", scale=down, axis=None)}
    sides = [words("network_up"), words("network_down")]
    color = alt.Color("side:N", scale=alt.Scale(domain=sides, range=[UP, DOWN]), title=None)
    nodes = [_node(shown, i, places[i], sides) for i in range(n)]
    size = alt.Size("size:Q", scale=alt.Scale(domain=[0, _most(nodes)], range=[20, 700]), legend=None)
    width = alt.StrokeWidth("size:Q", scale=alt.Scale(range=[0.4, 8]), legend=None)
    layers = [_names(nodes, across, down, n <= LEVEL)]
    edges = [_edge(shown, i, j, places, sides) for i, j in shown.strongest(k)]
    if edges:
        lines = alt.Chart(table(edges)).mark_rule(strokeCap="round", opacity=0.55)
        layers.insert(0, lines.encode(**at, x2="x2:Q", y2="y2:Q", color=color, strokeWidth=width, tooltip=_tips(words)))
    circles = alt.Chart(table(nodes)).mark_circle(opacity=1, stroke=PALE, strokeWidth=1.5)
    layers.insert(-1, circles.encode(**at, size=size, color=color, tooltip=_tips(words)))
    chart: Any = alt.layer(*layers).resolve_scale(strokeWidth="independent", size="independent")
    chart = chart.properties(width=2 * room[0] * unit, height=2 * room[1] * unit)
    name = fitted(e.outputs[row][output], 30)
    return themed(chart, words("alt_network", output=name, told=shown.first(words)), "shrink")


class _Shown:
    """The players of a row that a figure shows, and their effects ``Float[n, n]``, main effects on the diagonal."""

    def __init__(self, e: Interactions, row: int, output: int):
        if not -len(e) <= row < len(e):
            raise InputError(f"row {row} of interactions of {len(e)} rows")
        if not 0 <= output < e.interactions.shape[-1]:
            raise InputError(f"output {output} of interactions of {e.interactions.shape[-1]} outputs")
        if e.largest < 2:
            raise NotApplicable("these interactions hold no pairs", fix="ask for order=2 or more")
        values, errors = e.order(2, row, output), e.errors_of_order(2, row, output)
        np.fill_diagonal(values, e.order(1, row, output))
        np.fill_diagonal(errors, e.errors_of_order(1, row, output))
        sizes = np.abs(np.diag(values)) + np.abs(values).sum(1)
        kept = np.sort(np.argsort(-sizes, kind="stable")[:MOST])
        self.values, self.errors = values[np.ix_(kept, kept)], errors[np.ix_(kept, kept)]
        self.names = [e.players.of(row)[i] for i in kept]
        self._top = e.top(3, row, output)

    def told(self, i: int, j: int) -> str:
        return cut(self.names[i] if i == j else self.names[i] + JOIN + self.names[j], 300)

    def amount(self, i: int, j: int) -> str:
        return number(float(self.values[i, j]), signed=True) + spread(float(self.errors[i, j]))

    def strongest(self, k: int) -> list[tuple[int, int]]:
        """The pairs with the largest effects, the weakest first, so that the strongest is drawn on top."""
        first, second = np.triu_indices(len(self.names), 1)
        sizes = np.abs(self.values[first, second])
        order = np.argsort(-sizes, kind="stable")[:k]
        return [(int(first[o]), int(second[o])) for o in order[::-1] if sizes[o] > 0]

    def first(self, words: Words) -> str:
        """The strongest parts, for those who do not see the figure."""
        return words.joined(
            [
                f"{JOIN.join(fitted(name, 30) for name in names)} {number(value, signed=True)}"
                for names, value, _ in self._top
            ]
        )


def _tips(words: Words) -> list[alt.Tooltip]:
    import altair as alt

    return [alt.Tooltip("name:N", title=words("tip_player")), alt.Tooltip("full:N", title=words("tip_contribution"))]


def _most(lines: list[dict[str, Any]]) -> float:
    return max([line["size"] for line in lines], default=0.0) or 1.0


def _node(shown: _Shown, i: int, place: np.ndarray, sides: list[str]) -> dict[str, Any]:
    value, (x, y) = float(shown.values[i, i]), place
    turn = float(np.degrees(np.arctan2(-y, x)))
    return {
        "x": float(x), "y": float(y), "size": abs(value), "side": sides[value < 0], "name": shown.told(i, i),
        "full": shown.amount(i, i), "label": fitted(shown.names[i], 20), "right": bool(x >= 0),
        "turn": turn if x >= 0 else turn + 180, "at_x": BESIDE * float(x), "at_y": BESIDE * float(y),
    }  # fmt: skip


def _edge(shown: _Shown, i: int, j: int, places: np.ndarray, sides: list[str]) -> dict[str, Any]:
    value = float(shown.values[i, j])
    (x, y), (x2, y2) = places[i].tolist(), places[j].tolist()
    return {"x": x, "y": y, "x2": x2, "y2": y2, "size": abs(value), "side": sides[value < 0],
            "name": shown.told(i, j), "full": shown.amount(i, j)}  # fmt: skip


def _names(nodes: list[dict[str, Any]], across: alt.Scale, down: alt.Scale, level: bool) -> Any:
    """The names outside the circle: level, or where there are many pointing outwards."""
    import altair as alt

    beside: dict[str, Any] = {
        "x": alt.X("at_x:Q", scale=across, axis=None),
        "y": alt.Y("at_y:Q", scale=down, axis=None),
    }
    if not level:
        beside["angle"] = alt.Angle("turn:Q", scale=None)
    base, layers = alt.Chart(table(nodes)), []
    sides: tuple[tuple[str, Literal["left", "right"]], ...] = (("true", "left"), ("false", "right"))
    for side, align in sides:
        shown = base.transform_filter(f"datum.right === {side}")
        layers.append(shown.mark_text(fontSize=11, align=align, baseline="middle").encode(text="label:N", **beside))
    return alt.layer(*layers)

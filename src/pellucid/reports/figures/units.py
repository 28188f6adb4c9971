"""Figures of a trace: a row's strongest units as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pellucid.records.errors import InputError
from pellucid.records.trace import Trace

from ..words import Words, cut, fitted, number, unique
from .contributions import LABEL, barred, room
from .theme import DOWN, UP, themed

if TYPE_CHECKING:
    import altair as alt


def strongest_units(
    trace: Trace, row: int = 0, *, output: int = 0, k: int = 15, layer: str | None = None, language: str = "en"
) -> alt.LayerChart:
    """The ``k`` units with the largest |value| in a row, of one layer or of all.

    Raises :class:`InputError` for an output that the record lacks.
    """
    import altair as alt

    if not 0 <= output < len(trace.outputs[row]):
        raise InputError(f"output {output} of a record of {len(trace.outputs[row])} outputs")
    words = Words(language)
    found = trace.top(k, row, output, layer)
    labels = unique([fitted(name, LABEL) for name, _ in found])
    rows = [
        {
            "label": label, "name": cut(name, 300), "value": value, "low": None, "high": None,
            "short": number(value, signed=True), "text": number(value, signed=True),
            "sign": "up" if value >= 0 else "down",
        }
        for label, (name, value) in zip(labels, found, strict=True)
    ]  # fmt: skip
    title = words("axis_units", method=words.method(trace.method), output=fitted(trace.outputs[row][output], 30))
    x = alt.X("value:Q", title=title, scale=room(rows), axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 5")))
    color = alt.Color("sign:N", scale=alt.Scale(domain=["up", "down"], range=[UP, DOWN]), legend=None)
    tips = [alt.Tooltip("name:N", title=words("tip_unit")), alt.Tooltip("text:N", title=title)]
    told = "; ".join(f"{fitted(each['name'], 30)} {each['short']}" for each in rows[:3])
    return themed(barred(rows, x, {"color": color, "tooltip": tips}), words("alt_units", told=told))

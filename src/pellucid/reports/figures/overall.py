"""The figure of what matters over all rows: a bar for each player with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pellucid.records.amounts import half_width
from pellucid.records.errors import InputError
from pellucid.records.importance import Importance

from ..words import Words, cut, fitted, number, spread, unique
from .contributions import LABEL, barred, room
from .theme import DOWN, SERIES, themed

if TYPE_CHECKING:
    import altair as alt


def overall(importance: Importance, *, output: int = 0, k: int = 15, language: str = "en") -> alt.LayerChart:
    """The ``k`` most important players with 95 % intervals; what makes the model worse has another colour.

    Raises :class:`InputError` for an output that the record lacks.
    """
    import altair as alt

    if not 0 <= output < len(importance.outputs[0]):
        raise InputError(f"output {output} of a record of {len(importance.outputs[0])} outputs")
    words = Words(language)
    found = importance.top(k, output)
    labels = unique([fitted(name, LABEL) for name, *_ in found])
    rows = [_row(label, *entry) for label, entry in zip(labels, found, strict=True)]
    title = words("axis_overall", output=words.loss(importance, output))
    x = alt.X("value:Q", title=title, scale=room(rows), axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 5")))
    color = alt.Color("sign:N", scale=alt.Scale(domain=["up", "down"], range=[SERIES[0], DOWN]), legend=None)
    tips = [alt.Tooltip("name:N", title=words("tip_player")), alt.Tooltip("text:N", title=title)]
    told = "; ".join(f"{fitted(row['name'], 30)} {row['short']}" for row in rows[:3])
    chart = barred(rows, x, {"color": color, "tooltip": tips})
    return themed(chart, words("alt_overall", told=told))


def _row(label: str, name: str, value: float, error: float) -> dict[str, object]:
    half = half_width(error)
    return {
        "label": label,
        "name": cut(name, 300),
        "value": value,
        "short": number(value),
        "low": None if half is None else value - half,
        "high": None if half is None else value + half,
        "sign": "up" if value >= 0 else "down",
        "text": number(value) + spread(error),
    }

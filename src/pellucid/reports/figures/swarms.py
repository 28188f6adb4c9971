"""Figures of many rows at once: a dot for each row and player, coloured by the player's value; sizes by output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation
from pellucid.records.schema import Schema

from ..words import Words, cell, cut, fitted, number, unique
from .contributions import LABEL, mean_importance
from .theme import SERIES, STEP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

MOST_DOTS = 3000
"""A figure of more is a file of megabytes; rows are then drawn evenly from the whole."""
BAND, DOT, BINS = 32, 22, 96
"""The height of a band, the area of a dot, the places along the axis in which dots are stacked."""
CATEGORIES = 3
"""So many of a player's categories have a band of their own; the others share one."""
LOW_HIGH = ("#2b6cb0", "#8f7fb3", "#d1670b")
PLAIN = "#8b95a1"


def beeswarm(
    explanation: Explanation, *, output: int = 0, k: int = 12, language: str = "en", schema: Schema | None = None
) -> alt.LayerChart:
    """Each row's contribution as a dot, a band for each of the ``k`` players largest on average.

    Dots of a number are coloured from low to high (between its 5 % and 95 % quantiles). A category has a band of
    its own: categories have no order. Grey dots have no value to show. The same dots lie in the same places
    at every call. Of more than :data:`MOST_DOTS` dots evenly spaced rows are drawn, and the axis says so. Raises
    :class:`InputError` for an output that the explanation lacks.
    """
    import altair as alt

    _refuse_other_outputs(explanation, output)
    words = Words(language)
    found = mean_importance(explanation, output)[:k]
    drawn = _drawn(len(explanation), max(1, MOST_DOTS // max(1, len(found))))
    bands = [band for name, *_ in found for band in _bands(explanation, name, drawn, output, schema, words)]
    labels = unique([label for label, _ in bands])
    dots = [dot | {"label": label} for label, (_, dots) in zip(labels, bands, strict=True) for dot in dots]
    asked = {names[output] for names in explanation.outputs}
    title = words("tip_contribution") if len(asked) != 1 else words("axis_swarm", output=fitted(asked.pop(), 30))
    told = "; ".join(f"{fitted(name, 30)} {number(mean)}" for name, mean, *_ in found[:3])
    alt_text = words("alt_swarm", what=title, rows=len(drawn), told=told)
    if len(drawn) < len(explanation):
        title += f" ({words('swarm_thinned', shown=len(drawn), rows=len(explanation))})"
    x = alt.X("x:Q", title=title, axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 5")))
    return themed(_swarm(dots, labels, x, words), alt_text)


def _refuse_other_outputs(explanation: Explanation, output: int) -> None:
    if not 0 <= output < explanation.attributions.shape[-1]:
        raise InputError(f"output {output} of an explanation of {explanation.attributions.shape[-1]} outputs")


def _drawn(rows: int, most: int) -> np.ndarray:
    """At most ``most`` of the rows, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, max(rows - 1, 0), min(rows, most)).round().astype(int))


def _bands(
    explanation: Explanation, name: str, drawn: np.ndarray, output: int, schema: Schema | None, words: Words
) -> list[tuple[str, list[dict[str, Any]]]]:
    """One player's bands as (label, dots): one for a number, one for each category."""
    places = [
        (row, player)
        for row in drawn.tolist()
        for player, own in enumerate(explanation.players.of(row))
        if own == name and np.isfinite(explanation.attributions[row, player, output])
    ]
    x = np.array([explanation.attributions[row, player, output] for row, player in places], dtype=np.float64)
    values = [_value(explanation, name, row, player) for row, player in places]
    unit = schema[name].unit if schema is not None and name in schema else ""
    texts = ["" if value is None else cut(cell(value, unit)) for value in values]
    if not _categorical(explanation, name, values):
        return [(fitted(name, LABEL), _dots(name, x, texts, _low_to_high(values)))]
    grey, bands = np.full(len(x), np.nan), []
    for label, own in _by_category(texts, words):
        lead = fitted(name, LABEL - 14) + " " if not bands else ""
        bands.append((f"{lead}= {label}", _dots(name, x[own], [texts[i] for i in own], grey[own])))
    return bands


def _value(explanation: Explanation, name: str, row: int, player: int) -> Any:
    """A player's value in a row as the data have it; None where it is empty, or no single value."""
    rows = explanation.rows
    if isinstance(rows, (list, tuple)) and row < len(rows) and isinstance(rows[row], dict):
        value = rows[row].get(name)
    elif isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == explanation.players.labels.shape[1]:
        own = np.flatnonzero(explanation.players.map_of(row).ravel() == player)
        value = rows[row, own[0]].item() if len(own) == 1 else None
    else:
        return None
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _categorical(explanation: Explanation, name: str, values: Sequence[Any]) -> bool:
    """Whether a player's values are categories: by its type, or because they are no numbers."""
    types = dict(zip(explanation.players.names[0], explanation.players.types, strict=False))
    known = [value for value in values if value is not None]
    texts = any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in known)
    return bool(known) and (texts or types.get(name) in ("categorical", "boolean"))


def _low_to_high(values: Sequence[Any]) -> np.ndarray:
    """Numbers as 0 … 1 between their 5 % and 95 % quantiles; NaN where there is none, or all are one."""
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    if not len(known) or known.min() == known.max():
        return np.full(len(numbers), np.nan)
    low, high = np.quantile(known, [0.05, 0.95])
    low, high = (low, high) if high > low else (known.min(), known.max())
    return np.clip((numbers - low) / (high - low), 0, 1)


def _by_category(texts: Sequence[str], words: Words) -> list[tuple[str, np.ndarray]]:
    """The most frequent categories (in alphabetical order among equals) and all others, with the places of each."""
    counted = sorted(Counter(texts).items(), key=lambda entry: (-entry[1], entry[0]))
    first = [text for text, _ in counted[: CATEGORIES + (len(counted) == CATEGORIES + 1)]]
    every = np.array(texts, dtype=object)
    found = [(fitted(text, 12) or words("empty_cell"), np.flatnonzero(every == text)) for text in first]
    if len(counted) > len(first):
        rest = np.flatnonzero(~np.isin(every.astype(str), first))
        found.append((words("others", count=len(counted) - len(first)), rest))
    return found


def _dots(name: str, x: np.ndarray, texts: Sequence[str], colours: np.ndarray) -> list[dict[str, Any]]:
    """The dots of one band: place, height, colour, and what is told of them."""
    told = cut(name)
    return [
        {"x": float(f"{at:.6g}"), "y": round(float(up), 3), "c": None if np.isnan(colour) else round(float(colour), 2),
         "cell": text, "name": told, "text": number(at, signed=True)}
        for at, up, colour, text in zip(x, _stacked(x), colours, texts, strict=True)
    ]  # fmt: skip


def _stacked(x: np.ndarray) -> np.ndarray:
    """Heights −1 … 1: dots that share a place are stacked about the middle, in the order of their values."""
    if not len(x):
        return x
    bins = np.floor((x - x.min()) / (np.ptp(x) or 1.0) * (BINS - 1)).astype(int)
    order, counts = np.lexsort((x, bins)), np.bincount(bins)
    rank = np.empty(len(x), dtype=int)
    rank[order] = np.arange(len(x)) - np.repeat(np.cumsum(counts) - counts, counts)
    height = (rank + 1) // 2 * np.where(rank % 2, 1, -1)
    return height / max(np.abs(height).max(), 6)


def _swarm(dots: list[dict[str, Any]], labels: list[str], x: alt.X, words: Words) -> Any:
    """Dots in their bands about the line at zero, and the scale from low to high on the right."""
    import altair as alt

    left = alt.Axis(grid=True, gridDash=[1, 3], tickBand="center", labelLimit=alt.ExprRef("narrow ? 120 : 0"))
    y = alt.Y("label:N", scale=alt.Scale(domain=labels), title=None, axis=left)
    offset = alt.YOffset("y:Q", scale=alt.Scale(domain=[-1.25, 1.25]))
    bar = alt.Legend(
        orient="right", title=words("swarm_value"), gradientThickness=9, values=[0, 1],
        gradientLength=min(110, max(24, BAND * len(labels) - 30)),
        labelExpr=f"datum.value ? '{words('swarm_high')}' : '{words('swarm_low')}'",
    )  # fmt: skip
    known, unknown = (any((dot["c"] is None) is lacking for dot in dots) for lacking in (False, True))
    color = alt.Color("c:Q", scale=alt.Scale(domain=[0, 0.5, 1], range=list(LOW_HIGH)), legend=bar)
    tips = [
        alt.Tooltip("name:N", title=words("tip_player")),
        alt.Tooltip("cell:N", title=words("tip_cell")),
        alt.Tooltip("text:N", title=words("tip_contribution")),
    ]
    base = alt.Chart(table(dots)).encode(x=x, y=y, yOffset=offset, tooltip=tips)
    grey = base.transform_filter("!isValid(datum.c)").mark_point(filled=True, size=DOT, opacity=0.8, color=PLAIN)
    told = base.transform_filter("isValid(datum.c)").mark_point(filled=True, size=DOT, opacity=0.85)
    zero = alt.Chart(table([{"zero": 0}])).mark_rule(style="zero").encode(x="zero:Q")
    # A layer without a dot would have no extent.
    layers = [layer for layer, there in ((grey, unknown), (told.encode(color=color), known)) if there]
    chart: Any = alt.layer(zero, *layers)
    return chart.properties(width=WIDTH, height=BAND * max(1, len(labels)))


def summary(explanation: Explanation, *, k: int = 12, language: str = "en") -> alt.LayerChart:
    """Mean size of the contributions to every output, stacked, for the ``k`` players largest in all.

    With one output it is the swarm of its contributions.
    """
    import altair as alt

    words, count = Words(language), explanation.attributions.shape[-1]
    if count == 1:
        return beeswarm(explanation, k=k, language=language)
    sizes = [{name: mean for name, mean, *_ in mean_importance(explanation, output)} for output in range(count)]
    totals = {name: sum(size.get(name, 0.0) for size in sizes) for name in sizes[0]}
    largest = sorted(totals, key=lambda name: -totals[name])[:k]
    labels = unique([fitted(name, LABEL) for name in largest])
    outputs = unique([fitted(name, 24) for name in _output_names(explanation, words)])
    parts = [
        {"label": label, "name": cut(name), "output": outputs[t], "order": t, "value": sizes[t].get(name, 0.0),
         "text": number(sizes[t].get(name, 0.0))}
        for label, name in zip(labels, largest, strict=True)
        for t in range(count)
    ]  # fmt: skip
    scale = alt.Scale(domain=outputs, range=[SERIES[i % len(SERIES)] for i in range(count)])
    tips = [alt.Tooltip(f"{field}:N", title=words(code)) for field, code in
            (("name", "tip_player"), ("output", "axis_output"), ("text", "axis_importance"))]  # fmt: skip
    chart: Any = alt.Chart(table(parts)).mark_bar(height={"band": 0.68}).encode(
        x=alt.X("value:Q", title=words("axis_importance"), stack="zero", axis=alt.Axis(tickCount=5)),
        y=alt.Y("label:N", scale=alt.Scale(domain=labels), title=None),
        color=alt.Color("output:N", scale=scale, title=None, legend=alt.Legend(columns=alt.ExprRef("narrow ? 1 : 3"))),
        order=alt.Order("order:Q"), tooltip=tips,
    ).properties(width=WIDTH, height=STEP * max(1, len(labels)))  # fmt: skip
    told = "; ".join(f"{fitted(name, 30)} {number(totals[name])}" for name in largest[:3])
    return themed(chart, words("alt_summary", count=count, told=told))


def _output_names(explanation: Explanation, words: Words) -> list[str]:
    """One name for each output; its number where the rows were asked for different ones."""
    columns = [{names[t] for names in explanation.outputs} for t in range(explanation.attributions.shape[-1])]
    return [names.pop() if len(names) == 1 else f"{words('axis_output')} {t}" for t, names in enumerate(columns)]

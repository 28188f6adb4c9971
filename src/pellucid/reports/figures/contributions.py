"""Figures of contributions: one row's, the mean over rows, and the estimated beside the true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.amounts import Z, half_width
from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation
from pellucid.records.schema import Schema

from ..scale import labelled
from ..words import Words, cells, cut, fitted, is_attention, isolated, number, quoted, spread, unique
from .theme import DOWN, SERIES, STEP, UP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

LABEL = 34


def contributions(
    explanation: Explanation,
    row: int = 0,
    *,
    output: int = 0,
    k: int = 10,
    language: str = "en",
    schema: Schema | None = None,
) -> alt.LayerChart:
    """One row's ``k`` largest contributions as bars with 95 % intervals, the row's cells in the labels.

    The rest is one bar, "the other m", without an interval (their errors are not independent).
    Raises :class:`InputError` for a row or output that the explanation lacks.
    """
    import altair as alt

    words = Words(language)
    bars = bars_of(explanation, row, output, k, words, schema)
    name, of = fitted(explanation.outputs[row][output], 30), labelled(explanation, row, output, words)
    scale, axis = room(bars), alt.Axis(tickCount=alt.ExprRef("narrow ? 2 : 4"))
    attention = is_attention(explanation)
    title = words("axis_attention", output=name) if attention else words("axis_contribution", output=of)
    x = alt.X("value:Q", title=title, scale=scale, axis=axis)
    tips = [
        alt.Tooltip("name:N", title=words("tip_player")),
        alt.Tooltip("cell:N", title=words("tip_cell")),
        alt.Tooltip("text:N", title=words("tip_contribution")),
    ]
    color = alt.Color("sign:N", scale=alt.Scale(domain=["up", "down"], range=[UP, DOWN]), legend=None)
    faded = alt.condition("datum.rest", alt.value(0.45), alt.value(1))
    chart = barred(bars, x, {"color": color, "opacity": faded, "tooltip": tips})
    told = "; ".join(f"{fitted(bar['name'], 30)} {bar['short']}" for bar in bars[:3])
    return themed(chart, words("alt_contributions", output=name, told=told))


def bars_of(
    explanation: Explanation, row: int, output: int, k: int, words: Words, schema: Schema | None
) -> list[dict[str, Any]]:
    """One dict per bar, the largest first, the sum of the rest last."""
    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    if not 0 <= output < explanation.attributions.shape[-1]:
        raise InputError(f"output {output} of an explanation of {explanation.attributions.shape[-1]} outputs")
    row %= len(explanation)
    known = cells(explanation, row, schema)
    found = explanation.top(explanation.players.most, row, output)
    bars = []
    for name, value, error in found[:k]:
        text = known.get(name)
        if text is None:
            label = fitted(name, LABEL)
        else:
            text = cut(text or words("empty_cell"))
            shown = fitted(text, 12)
            label = (
                f"{isolated(fitted(name, LABEL - 3 - len(shown)))}\n= {shown}"  # two lines where there is little room
            )
        bars.append(_bar(label, cut(name, 300), text or "", value, error))
    rest = [value for _, value, _ in found[k:]]
    if rest:
        label = words("others", count=len(rest))
        bars.append(_bar(label, label, "", float(np.sum(rest)), np.nan) | {"rest": True})
    for bar, label in zip(bars, unique([bar["label"] for bar in bars]), strict=True):
        bar["label"] = label
    return bars


def _bar(label: str, name: str, cell: str, value: float, error: float) -> dict[str, Any]:
    half = half_width(error)
    low, high = (None, None) if half is None else (value - half, value + half)
    up = value >= 0
    return {
        "label": label, "name": name, "cell": cell, "value": value, "low": low, "high": high,
        "sign": "up" if up else "down", "rest": False, "short": number(value, signed=True),
        "text": number(value, signed=True) + spread(error),
    }  # fmt: skip


def room(bars: Sequence[dict[str, Any]]) -> alt.Scale:
    """The range of the bars and their intervals, zero among it, with a little air."""
    import altair as alt

    ends = [end for bar in bars for end in (bar["value"], bar["low"], bar["high"]) if end is not None] or [0.0]
    low, high = min(0.0, *ends), max(0.0, *ends)
    air = 0.03 * ((high - low) or 1.0)
    return alt.Scale(domain=[low - (air if low < 0 else 0), high + air], nice=False)


def sides(rows: Sequence[Mapping[str, Any]], column: str) -> tuple[alt.Y, alt.Y]:
    """The axes of bars: labels on the left, on two lines where room is scarce, and the ``column`` on the right."""
    import altair as alt

    left = alt.Axis(
        labelExpr="narrow ? split(datum.label, '\\n') : replace(datum.label, '\\n', ' ')",
        labelOffset=alt.ExprRef("narrow && indexof(datum.label, '\\n') > 0 ? -5 : 0"),
        labelLineHeight=11,
        labelLimit=alt.ExprRef("narrow ? 140 : 0"),
    )
    right = alt.Axis(orient="right", labelAlign="left", labelPadding=8)
    labels, numbers = (alt.Scale(domain=[row[name] for row in rows]) for name in ("label", column))
    return (
        alt.Y("label:N", scale=labels, title=None, axis=left),
        alt.Y(f"{column}:N", scale=numbers, title=None, axis=right),
    )


def barred(rows: list[dict[str, Any]], x: alt.X, look: dict[str, Any]) -> Any:
    """Bars with intervals, the names on the left and the numbers in a column on the right."""
    import altair as alt

    for row, shown in zip(rows, unique([row["short"] for row in rows]), strict=True):
        row["shown"] = shown
    base = alt.Chart(table(rows))
    y, numbers = sides(rows, "shown")
    bars = alt.layer(
        base.mark_bar(cornerRadius=2, height={"band": 0.68}).encode(y=y, x=x, **look),
        alt.Chart(table([{"zero": 0}])).mark_rule(style="zero").encode(x="zero:Q"),
        base.transform_filter("isValid(datum.low)").mark_rule(style="interval").encode(y=y, x="low:Q", x2="high:Q"),
    )
    unseen = base.mark_point(opacity=0).encode(y=numbers, x=x)
    chart: Any = alt.layer(bars, unseen).resolve_scale(y="independent")
    return chart.properties(width=WIDTH, height=STEP * max(1, len(rows)))


def mean_importance(explanation: Explanation, output: int = 0) -> list[tuple[str, float, float, int]]:
    """Players by mean size over the rows that have them: (name, mean, standard error or NaN, rows), largest first."""
    sizes: dict[str, list[float]] = {}
    for row in range(len(explanation)):
        for name, value in zip(explanation.players.of(row), explanation.attributions[row, :, output], strict=False):
            if np.isfinite(value):
                sizes.setdefault(name, []).append(abs(float(value)))
    rows = []
    for name, values in sizes.items():
        error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        rows.append((name, float(np.mean(values)), error, len(values)))
    return sorted(rows, key=lambda entry: -entry[1])


def importance(explanation: Explanation, *, output: int = 0, k: int = 15, language: str = "en") -> alt.LayerChart:
    """Mean size of the contributions over the explained rows, with 95 % intervals over rows."""
    import altair as alt

    words = Words(language)
    found = mean_importance(explanation, output)[:k]
    labels = unique([fitted(name, LABEL) for name, *_ in found])
    rows = [
        {"label": label, "name": cut(name, 300), "value": mean, "short": number(mean),
         "low": None if np.isnan(error) else max(0.0, mean - Z * error),
         "high": None if np.isnan(error) else mean + Z * error}
        for label, (name, mean, error, _) in zip(labels, found, strict=True)
    ]  # fmt: skip
    largest = max([row["high"] or row["value"] for row in rows], default=1.0) or 1.0
    scale = alt.Scale(domain=[0, 1.02 * largest], nice=False)
    x = alt.X(
        "value:Q", title=words("axis_importance"), scale=scale, axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 5"))
    )
    tips = [alt.Tooltip("name:N", title=words("tip_player")), alt.Tooltip("short:N", title=words("axis_importance"))]
    chart = barred(rows, x, {"color": alt.value(SERIES[0]), "tooltip": tips})
    told = "; ".join(f"{fitted(row['name'], 30)} {row['short']}" for row in rows[:3])
    return themed(chart, words("alt_importance", told=told))


def beside_truth(
    explanations: Mapping[str, Explanation], truth: Explanation, row: int = 0, *, k: int = 10, language: str = "en"
) -> alt.LayerChart:
    """Each method's contributions of one row (points) beside those known to be true (bars)."""
    import altair as alt

    words = Words(language)
    found = truth.top(k, row)
    labels = dict(
        zip([name for name, _, _ in found], unique([fitted(name, LABEL) for name, _, _ in found]), strict=True)
    )
    true = [{"label": labels[name], "name": cut(name, 300), "value": value, "method": words("truth")}
            for name, value, _ in found]  # fmt: skip
    methods = dict(zip(explanations, unique([fitted(words.method(name), 26) for name in explanations]), strict=True))
    points = [
        {
            "label": labels[name],
            "name": cut(name, 300),
            "value": value,
            "method": methods[method],
            "text": number(value),
        }
        for method, explanation in explanations.items()
        for name, value, _ in explanation.top(explanation.players.most, row)
        if name in labels
    ]
    y = alt.Y("label:N", scale=alt.Scale(domain=list(labels.values())), title=None)
    title = words("axis_truth", output=fitted(truth.outputs[row][0], 30))
    x = alt.X("value:Q", title=title, axis=alt.Axis(tickCount=5))
    scale = alt.Scale(domain=list(methods.values()), range=[SERIES[i % len(SERIES)] for i in range(len(methods))])
    color = alt.Color("method:N", scale=scale, title=None, legend=alt.Legend(columns=alt.ExprRef("narrow ? 1 : 3")))
    shape = alt.Shape("method:N", scale=alt.Scale(domain=list(methods.values())), title=None)
    tips = [alt.Tooltip(f"{field}:N", title=words(code)) for field, code in
            (("name", "tip_player"), ("method", "tip_method"), ("text", "tip_contribution"))]  # fmt: skip
    chart: Any = alt.layer(
        alt.Chart(table(true)).mark_bar(color="#9aa5b1", opacity=0.55, height={"band": 0.72}).encode(y=y, x=x),
        alt.Chart(table([{"zero": 0}])).mark_rule(style="zero").encode(x="zero:Q"),
        alt.Chart(table(points)).mark_point(filled=True, size=60, opacity=0.9).encode(
            y=y, x="value:Q", color=color, shape=shape, tooltip=tips),
    ).properties(width=WIDTH, height=(STEP + 4) * max(1, len(true)))  # fmt: skip
    return themed(chart, words("alt_truth", output=quoted(truth.outputs[row][0], 30)))

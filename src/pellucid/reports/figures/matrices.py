"""Figures that are tables in colour: methods by metrics, agreement of methods, confusion of classes."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.measures.agreement import rank_correlation
from pellucid.records.errors import NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.records.finding import Finding
from pellucid.records.score import Score

from ..words import Words, cut, fitted, number, unique
from .theme import DIVERGING, GOOD, POOR, table, themed

if TYPE_CHECKING:
    import altair as alt

ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}
INK, PALE = "#1c2430", "#ffffff"  # written on the cells themselves, so the same by day and by night


def advantage(scores: Sequence[Score]) -> np.ndarray:
    """How far each score lies on the good side of its control, −1…1 over the scores of one metric.

    ``(value − control) · direction``, divided by the largest such distance of the metric. Without a
    control the mean of the scores stands for it. NaN where a score is undefined or has no direction.
    """
    values = np.array([score.value if score.status == "ok" else np.nan for score in scores])
    controls = np.array([score.control for score in scores])
    if not np.isfinite(values).any():
        return values
    controls = np.where(np.isfinite(controls), controls, np.nanmean(values))
    sign = np.array([{"higher": 1.0, "lower": -1.0, "neither": np.nan}[score.better] for score in scores])
    distance = (values - controls) * sign
    largest = np.nanmax(np.abs(distance), initial=0.0)
    return distance / largest if largest > 0 else distance


def scores_matrix(scores: Sequence[Score], *, language: str = "en") -> alt.LayerChart:
    """Methods by metrics, arrows saying which way is better.

    Colour is the distance to the best control (the last row), scaled per metric: see :func:`advantage`.
    """
    import altair as alt

    words = Words(language)
    metrics = list(dict.fromkeys(score.metric for score in scores))
    methods = list(dict.fromkeys(score.method for score in scores))
    if not metrics:
        raise NotApplicable("there are no scores to draw")
    better = {score.metric: score.better for score in scores}
    heads = headings([words.metric(metric) for metric in metrics], [ARROW[better[metric]] for metric in metrics])
    columns = dict(zip(metrics, heads, strict=True))
    names = dict(zip(methods, unique([fitted(words.method(method), 26) for method in methods]), strict=True))
    rows = []
    for metric in metrics:
        mine = [score for score in scores if score.metric == metric]
        for score, ahead in zip(mine, advantage(mine), strict=True):
            rows.append(_score_cell(columns[metric], names[score.method], score, float(ahead), words))
        control = mine[0].control
        rows.append({"metric": columns[metric], "method": words("control"), "text": number(control), "ahead": None,
                     "ink": "grey", "name": words("control"), "full": words.metric(metric)})  # fmt: skip
    x = alt.X("metric:N", scale=alt.Scale(domain=heads), title=None, axis=top_axis(heads))
    y = alt.Y("method:N", scale=alt.Scale(domain=[*names.values(), words("control")]), title=None)
    scale = alt.Scale(domain=[-1, -0.5, 0, 0.5, 1], range=[POOR, "#eab07c", "#f1f1ee", "#8cc0c9", GOOD])
    tips = [alt.Tooltip(f"{field}:N", title=words(code)) for field, code in
            (("name", "tip_method"), ("full", "tip_metric"), ("text", "tip_value"))]  # fmt: skip
    chart = matrix(rows, x, y, "ahead", scale, tips).properties(width=84 * len(metrics), height=32 * (len(methods) + 1))
    return themed(chart, words("alt_scores"), "scroll")


def _lines(text: str, width: int = 14) -> str:
    """A heading in at most three short lines, broken between words (East Asian letters take twice the room)."""
    wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    lines = textwrap.wrap(text, width // 2 if wide else width) or [text]
    return "\n".join(fitted(line, width) for line in lines[:3])


def _score_cell(column: str, method: str, score: Score, ahead: float, words: Words) -> dict[str, Any]:
    known = np.isfinite(ahead)
    text = number(score.value) if score.status == "ok" else words("status_" + score.status.replace(" ", "_"))
    return {
        "metric": column, "method": method, "text": text, "ahead": ahead if known else None,
        "ink": "grey" if not known else "pale" if abs(ahead) > 0.88 else "ink",
        "name": cut(words.method(score.method), 300), "full": words.metric(score.metric),
    }  # fmt: skip


def top_axis(heads: Sequence[str], upright: bool = False) -> alt.Axis:
    """Headings above a matrix, in lines where they have them; ``upright`` where columns are narrow."""
    import altair as alt

    look = {"orient": "top", "ticks": False, "domain": False}
    if upright:
        return alt.Axis(labelAngle=-90, labelAlign="left", labelBaseline="middle", labelPadding=6, **look)
    most = max(head.count("\n") for head in heads)  # lines grow downwards, so all start as high as the longest
    return alt.Axis(labelAngle=0, labelExpr="split(datum.label, '\\n')", labelPadding=6 + 13 * most, **look)


def headings(texts: Sequence[str], arrows: Sequence[str] = ()) -> list[str]:
    """Texts in short lines, the shorter ones led by empty lines so that all end just above their column."""
    broken = [_lines(text) + arrow for text, arrow in zip(texts, arrows or [""] * len(texts), strict=True)]
    most = max((text.count("\n") for text in broken), default=0)
    return unique(["\n" * (most - text.count("\n")) + text for text in broken])


def matrix(
    rows: list[dict[str, Any]], x: alt.X, y: alt.Y, field: str, scale: alt.Scale, tips: list[alt.Tooltip]
) -> Any:
    """Coloured cells with their numbers written on them; cells without a colour stay empty paper."""
    import altair as alt

    base = alt.Chart(table(rows)).encode(x=x, y=y, tooltip=tips)
    color = alt.Color(f"{field}:Q", scale=scale, legend=None)
    layers = [
        base.transform_filter(f"isValid(datum.{field})").mark_rect(cornerRadius=2, strokeWidth=0).encode(color=color)
    ]
    for ink, fixed in (("ink", INK), ("pale", PALE), ("grey", None)):
        look: dict[str, Any] = {} if fixed is None else {"color": fixed}
        text = base.transform_filter(f"datum.ink === '{ink}'").mark_text(fontSize=11, **look)
        layers.append(text.encode(text="text:N"))
    return alt.layer(*layers)


def agreement(explanations: Mapping[str, Explanation]) -> np.ndarray:
    """``Float64[m, m]``: mean over rows of the rank correlation between the sizes of two methods' contributions.

    Sizes, because some methods have no signs, as in the metric ``agreement``. NaN where two methods speak of
    different players, or where every row is undefined (one player, or all equal).
    """
    listed = list(explanations.values())
    matrix = np.full((len(listed), len(listed)), np.nan)
    for i, first in enumerate(listed):
        for j, second in enumerate(listed[: i + 1]):
            if first.attributions.shape[:2] != second.attributions.shape[:2]:
                continue
            found = rank_correlation(np.abs(first.attributions[:, :, 0]), np.abs(second.attributions[:, :, 0]))
            if np.isfinite(found).any():
                matrix[i, j] = matrix[j, i] = float(np.nanmean(found))
    return matrix


def agreement_matrix(explanations: Mapping[str, Explanation], *, language: str = "en") -> alt.LayerChart:
    """Rank correlation of each pair of methods, averaged over the rows."""
    words = Words(language)
    names = unique([fitted(words.method(name), 26) for name in explanations])
    matrix = agreement(explanations)
    heads = headings(names)
    places = range(len(names))
    rows = [_square(names[i], heads[j], names[j], float(matrix[i, j])) for i in places for j in places]
    return themed(_squares(rows, names, heads, words, wide=True), words("alt_agreement"), "scroll")


def _square(row: str, column: str, name: str, value: float) -> dict[str, Any]:
    """A cell of a matrix of correlations."""
    known = bool(np.isfinite(value))
    ink = "grey" if not known else "pale" if abs(value) > 0.75 else "ink"
    return {"row": row, "column": column, "name": name, "value": value if known else None, "ink": ink,
            "text": f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−") if known else "—"}  # fmt: skip


def _squares(rows: list[dict[str, Any]], names: list[str], heads: list[str], words: Words, wide: bool) -> Any:
    """A square matrix of values in −1…1; ``heads`` are the names as they stand above the columns."""
    import altair as alt

    x = alt.X("column:N", scale=alt.Scale(domain=heads), title=None, axis=top_axis(heads, upright=not wide))
    y = alt.Y("row:N", scale=alt.Scale(domain=names), title=None)
    scale = alt.Scale(domain=[-1, -0.5, 0, 0.5, 1], range=list(DIVERGING))
    tips = [
        alt.Tooltip("row:N", title=words("tip_first")),
        alt.Tooltip("name:N", title=words("tip_second")),
        alt.Tooltip("text:N", title=words("tip_value")),
    ]
    across, down = (80, 34) if wide else (26, 22)
    return matrix(rows, x, y, "value", scale, tips).properties(width=across * len(heads), height=down * len(names))


def correlation_squares(names: Sequence[str], matrix: np.ndarray, words: Words) -> Any:
    """The lower half of a correlation matrix; numbers are written in while they still fit."""
    labels = unique([fitted(name, 20) for name in names])
    wide = len(labels) <= 6
    heads = headings(labels) if wide else labels
    rows = [
        _square(labels[i], heads[j], labels[j], float(matrix[i, j])) for i in range(len(labels)) for j in range(i + 1)
    ]
    if not wide:
        rows = [{**row, "ink": "none"} for row in rows]
    return _squares(rows, labels, heads, words, wide)


def confusion_counts(finding: Finding) -> list[tuple[str, str, float]]:
    """(true class, predicted class, rows) from a finding's table ``confusion``."""
    lines = finding.tables.get("confusion", [])
    return [(str(line["truth"]), str(line["predicted"]), float(line["rows"])) for line in lines]


def confusion(finding: Finding, *, language: str = "en") -> alt.LayerChart:
    """How many rows of each class were given which class; colour is the share of the true class."""
    import altair as alt

    words = Words(language)
    counts = confusion_counts(finding)
    if not counts:
        raise NotApplicable("this finding has no confusion table")
    classes = list(dict.fromkeys([true for true, _, _ in counts] + [guess for _, guess, _ in counts]))
    labels = dict(zip(classes, unique([fitted(name, 20) for name in classes]), strict=True))
    few = len(classes) <= 5
    heads = dict(zip(classes, headings(classes) if few else labels.values(), strict=True))
    totals = {name: sum(n for true, _, n in counts if true == name) or 1.0 for name in classes}
    rows = [
        {"true": labels[true], "head": heads[guess], "predicted": labels[guess], "share": n / totals[true],
         "text": f"{n:g}", "ink": "pale" if n / totals[true] > 0.6 else "ink"}
        for true, guess, n in counts
    ]  # fmt: skip
    x = alt.X(
        "head:N",
        scale=alt.Scale(domain=list(heads.values())),
        title=words("axis_predicted"),
        axis=top_axis(list(heads.values()), upright=not few),
    )
    y = alt.Y("true:N", scale=alt.Scale(domain=list(labels.values())), title=words("axis_true"))
    scale = alt.Scale(domain=[0, 1], range=["#eef3f8", "#174f87"])
    tips = [
        alt.Tooltip("true:N", title=words("axis_true")),
        alt.Tooltip("predicted:N", title=words("axis_predicted")),
        alt.Tooltip("text:N", title=words("tip_rows")),
        alt.Tooltip("share:Q", format=".1%", title=words("tip_share")),
    ]
    across, down = (84, 46) if few else (34, 28)
    chart = matrix(rows, x, y, "share", scale, tips)
    chart = chart.properties(width=across * len(classes), height=down * len(classes))
    return themed(chart, words("alt_confusion"), "scroll")

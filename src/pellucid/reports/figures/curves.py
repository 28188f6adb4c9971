"""Figures that are lines: deletion and insertion curves of scores, ROC, precision–recall and reliability of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import NotApplicable
from pellucid.records.finding import Finding
from pellucid.records.score import Score

from ..words import Words, fitted, number, unique
from .theme import SERIES, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

HEIGHT, FINEST = 230, 101
_AXES = ("x", "share", "removed")  # curves of these names are the x axis of the others


def curves(scores: Score | Sequence[Score], *, language: str = "en") -> alt.LayerChart:
    """The curves behind one metric, of one score or of several methods' scores, over the share of players changed.

    A curve is ``[points]``, ``[rows, points]`` (averaged over rows) or ``[points, 2]`` (x, y).
    Raises :class:`NotApplicable` for scores without curves.
    """
    words = Words(language)
    several = [scores] if isinstance(scores, Score) else list(scores)
    methods = dict(
        zip(range(len(several)), unique([fitted(words.method(score.method), 26) for score in several]), strict=True)
    )
    lines = [_lines(score) for score in several]
    kinds = list(dict.fromkeys(name for found in lines for name in found))
    shown = dict(zip(kinds, unique([fitted(words.metric(name), 26) for name in kinds]), strict=True))
    rows = []
    for place, found in enumerate(lines):
        for name, points in found.items():
            rows += [
                {
                    "x": float(x),
                    "y": float(y),
                    "method": methods[place],
                    "curve": shown[name],
                    "text": number(y),
                }
                for x, y in points
                if np.isfinite(x) and np.isfinite(y)
            ]
    if not rows:
        raise NotApplicable("these scores have no curves")
    metric = words.metric(several[0].metric)
    labels = (words("axis_share"), words("axis_output"), words("alt_curves", metric=metric))
    return _drawn(rows, *labels, words=words, order=list(methods.values()))


def _lines(score: Score) -> dict[str, np.ndarray]:
    """Each curve of a score as ``[points, 2]``."""
    arrays = {name: np.asarray(curve, dtype=np.float64) for name, curve in score.curves.items()}
    axis = next((arrays.pop(name) for name in _AXES if name in arrays), None)
    lines = {}
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] == 2 and axis is None:
            lines[name] = _thinned(array)
            continue
        if array.ndim == 2 and array.size:
            array = np.nanmean(array, axis=0)
        if array.ndim != 1 or len(array) < 2:
            continue
        x = axis if axis is not None and axis.shape == array.shape else np.linspace(0, 1, len(array))
        lines[name] = _thinned(np.stack([x, array], axis=1))
    return lines


def _thinned(points: np.ndarray) -> np.ndarray:
    """At most 101 of the points, the ends among them: a figure shows no more."""
    keep = np.unique(np.linspace(0, len(points) - 1, min(len(points), FINEST)).round().astype(int))
    return points[keep]


def roc(finding: Finding, *, language: str = "en") -> alt.LayerChart:
    """The receiver operating characteristic, with the diagonal of a coin toss."""
    words = Words(language)
    return _of_finding(finding, "roc", words("axis_fpr"), words("axis_tpr"), words("alt_roc"), words, diagonal=True)


def precision_recall(finding: Finding, *, language: str = "en") -> alt.LayerChart:
    """Precision over recall."""
    words = Words(language)
    labels = (words("axis_recall"), words("axis_precision"), words("alt_pr"))
    return _of_finding(finding, "precision_recall", *labels, words)


def reliability(finding: Finding, *, language: str = "en") -> alt.LayerChart:
    """How often the model was right, over how sure it said it was; the diagonal is a model that keeps its word."""
    words = Words(language)
    labels = (words("axis_confidence"), words("axis_observed"), words("alt_reliability"))
    return _of_finding(finding, "reliability", *labels, words, diagonal=True, points=True)


def scatter(finding: Finding, *, language: str = "en") -> alt.LayerChart:
    """Predicted over true numbers of a regression model; on the diagonal it is right."""
    import altair as alt

    words = Words(language)
    found = curves_named(finding, "predictions")
    if not found:
        raise NotApplicable("this finding has no curve named 'predictions'")
    rows = [{"x": float(x), "y": float(y)} for x, y in next(iter(found.values())) if np.isfinite(x) and np.isfinite(y)]
    ends = [min(min(row.values()) for row in rows), max(max(row.values()) for row in rows)]
    scale = alt.Scale(domain=ends, nice=True)
    x = alt.X("x:Q", title=words("axis_true"), scale=scale)
    y = alt.Y("y:Q", title=words("axis_predicted"), scale=scale)
    chart: Any = alt.layer(
        alt.Chart(table([{"x": end, "y": end} for end in ends])).mark_line(style="diagonal").encode(x="x:Q", y="y:Q"),
        alt.Chart(table(rows)).mark_circle(color=SERIES[0], size=28, opacity=0.55).encode(x=x, y=y),
    ).properties(width=320, height=HEIGHT)
    return themed(chart, words("alt_scatter"))


def curves_named(finding: Finding, kind: str) -> dict[str, np.ndarray]:
    """The finding's curves of one kind: named ``kind`` itself, or ``kind`` and a class (``"roc: benign"``)."""
    found = {}
    for name, curve in finding.curves.items():
        head, _, rest = name.partition(":")
        points = np.asarray(curve, dtype=np.float64)
        if head.strip() == kind and points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all(1).any():
            found[rest.strip()] = points
    return found


def _of_finding(
    finding: Finding,
    kind: str,
    x: str,
    y: str,
    alt_text: str,
    words: Words,
    diagonal: bool = False,
    points: bool = False,
) -> alt.LayerChart:
    found = curves_named(finding, kind)
    if not found:
        raise NotApplicable(f"this finding has no curve named {kind!r}")
    labels = unique([fitted(name, 30) or words("the_model") for name in found])
    rows = [
        {"x": float(a), "y": float(b), "method": label, "curve": "", "text": number(b)}
        for label, curve in zip(labels, found.values(), strict=True)
        for a, b in _thinned(curve)
        if np.isfinite(a) and np.isfinite(b)
    ]
    return _drawn(rows, x, y, alt_text, words=words, order=labels, unit=True, diagonal=diagonal, points=points)


def _drawn(
    rows: list[dict[str, Any]],
    x: str,
    y: str,
    alt_text: str,
    *,
    words: Words,
    order: list[str],
    unit: bool = False,
    diagonal: bool = False,
    points: bool = False,
) -> alt.LayerChart:
    """Lines coloured by method (or class), dashed by kind of curve where there are several kinds."""
    import altair as alt

    scale = alt.Scale(domain=[0, 1]) if unit else alt.Scale(zero=False)
    legend = alt.Legend(columns=alt.ExprRef("narrow ? 1 : 3")) if len(order) > 1 else None
    colors = alt.Scale(domain=order, range=[SERIES[i % len(SERIES)] for i in range(len(order))])
    kinds = list(dict.fromkeys(row["curve"] for row in rows))
    for place, row in enumerate(rows):  # a step in ROC has two points at one x: the order is ours, not the axis'
        row["place"] = place
    encoding: dict[str, Any] = {
        "x": alt.X(
            "x:Q", title=x, scale=alt.Scale(domain=[0, 1]) if unit else alt.Undefined, axis=alt.Axis(tickCount=5)
        ),
        "y": alt.Y("y:Q", title=y, scale=scale, axis=alt.Axis(tickCount=5)),
        "color": alt.Color("method:N", title=None, scale=colors, legend=legend),
        "order": alt.Order("place:Q"),
        "tooltip": [alt.Tooltip("method:N", title=words("tip_method")), alt.Tooltip("text:N", title=y)],
    }
    if len(kinds) > 1:
        dashes = alt.Scale(domain=kinds, range=[[1, 0], [5, 3], [2, 2], [8, 3]][: len(kinds)])
        encoding["strokeDash"] = alt.StrokeDash("curve:N", title=None, scale=dashes)
        encoding["tooltip"].insert(1, alt.Tooltip("curve:N", title=words("tip_curve")))
    base = alt.Chart(table(rows))
    layers = [base.mark_line(strokeWidth=2, point={"size": 34} if points else False).encode(**encoding)]
    if diagonal:
        corners = table([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        layers.insert(0, alt.Chart(corners).mark_line(style="diagonal").encode(x="x:Q", y="y:Q"))
    chart: Any = alt.layer(*layers)
    return themed(chart.properties(width=WIDTH if not unit else 320, height=HEIGHT), alt_text)

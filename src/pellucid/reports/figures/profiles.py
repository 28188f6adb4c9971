"""Figures of a data set: how each column is distributed, what moves together, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import NotApplicable
from pellucid.records.profile import ColumnProfile, Profile

from ..words import Words, cut, fitted, number, percent, unique
from .matrices import correlation_squares
from .theme import SERIES, STEP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

SMALL = 230  # the width of one distribution among others
SHOWN_CATEGORIES, SHOWN_LABELS = 6, 4


def ranked_columns(profile: Profile, k: int) -> list[ColumnProfile]:
    """The ``k`` columns that have something to draw, those most associated with the label first."""
    drawable = [column for column in profile.columns if sum(column.counts)]
    strength = {name: abs(value) for name, value in profile.association.items() if np.isfinite(value)}
    return sorted(drawable, key=lambda column: -strength.get(column.name, 0.0))[:k]


def distribution(column: ColumnProfile, *, legend: bool = True, language: str = "en") -> alt.Chart:
    """One column's histogram or counts per category, stacked by label (in the colours SERIES) where it is known."""
    words = Words(language)
    return themed(_of_column(column, legend, words), words("alt_distribution", column=fitted(column.name, 40)))


def _of_column(column: ColumnProfile, legend: bool, words: Words) -> alt.Chart:
    import altair as alt

    labels = list(column.by_label) if 0 < len(column.by_label) <= SHOWN_LABELS else []
    names = unique([fitted(label, 24) for label in labels]) or [words("all_rows")]
    counts = [column.by_label[label] for label in labels] or [column.counts]
    key = alt.Legend(columns=2, symbolSize=60) if labels and legend else None
    colors = alt.Scale(domain=names, range=list(SERIES[: len(names)]))
    encoding: dict[str, Any] = {
        "color": alt.Color("label:N", title=None, scale=colors, legend=key),
        "tooltip": [alt.Tooltip("bin:N", title=words("tip_value")), alt.Tooltip("label:N", title=words("tip_label")),
                    alt.Tooltip("rows:Q", title=words("tip_rows"))],
    }  # fmt: skip
    title = fitted(f"{fitted(column.name, 28)} ({column.unit})" if column.unit else column.name, 36)
    rows = _numeric(column, names, counts) if column.edges else _categorical(column, names, counts, words)
    chart = alt.Chart(table(rows)).properties(width=SMALL, height=96, title=title)
    axis = alt.Axis(tickCount=3, grid=False, format="~s")
    if column.edges:
        x = alt.X("left:Q", title=None, axis=axis, scale=alt.Scale(zero=False, nice=False))
        y = alt.Y("from:Q", title=None, axis=alt.Axis(tickCount=2))
        drawn = chart.mark_bar(binSpacing=1).encode(x=x, x2="right:Q", y=y, y2="to:Q", **encoding)
    else:
        order = list(dict.fromkeys(row["bin"] for row in rows))
        y = alt.Y("bin:N", title=None, scale=alt.Scale(domain=order), axis=alt.Axis())
        drawn = chart.mark_bar().encode(y=y, x=alt.X("rows:Q", title=None, axis=alt.Axis(tickCount=3)), **encoding)
    return drawn


def _numeric(column: ColumnProfile, names: list[str], counts: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Bars with both their ends: the labels of a bin stand on one another."""
    floor = np.zeros(len(column.edges) - 1)
    rows = []
    for name, heights in zip(names, counts, strict=True):
        for i, n in enumerate(heights[: len(floor)]):
            low, high = column.edges[i], column.edges[i + 1]
            rows.append({"left": low, "right": high, "bin": f"{number(low)} … {number(high)}", "label": name,
                         "rows": int(n), "from": float(floor[i]), "to": float(floor[i] + n)})  # fmt: skip
            floor[i] += n
    return rows


def _categorical(
    column: ColumnProfile, names: list[str], counts: list[tuple[int, ...]], words: Words
) -> list[dict[str, Any]]:
    """The largest categories, the rest of them as one."""
    order = sorted(range(len(column.categories)), key=lambda i: -column.counts[i])
    shown = unique([fitted(column.categories[i], 18) for i in order[:SHOWN_CATEGORIES]])
    rows = []
    for name, heights in zip(names, counts, strict=True):
        for i, label in zip(order, shown, strict=False):
            rows.append({"bin": label, "label": name, "rows": int(heights[i]) if i < len(heights) else 0})
        rest = sum(int(heights[i]) for i in order[SHOWN_CATEGORIES:] if i < len(heights))
        if len(order) > SHOWN_CATEGORIES:
            rows.append({"bin": words("others", count=len(order) - SHOWN_CATEGORIES), "label": name, "rows": rest})
    return rows


def distributions(profile: Profile, *, k: int = 12, language: str = "en") -> alt.ConcatChart:
    """The distributions of ``k`` columns, three in a line. Raises :class:`NotApplicable` if no column has counts."""
    import altair as alt

    columns = ranked_columns(profile, k)
    if not columns:
        raise NotApplicable("this profile has no column with counts")
    charts = [_of_column(column, True, Words(language)) for column in columns]
    whole = alt.concat(*charts, columns=3).resolve_scale(color="independent")
    return themed(whole, Words(language)("alt_distributions", count=len(charts)), "shrink")


def correlations(profile: Profile, *, k: int = 16, language: str = "en") -> alt.LayerChart:
    """How the columns move together; of more than ``k`` columns those that move most."""
    words = Words(language)
    if not profile.names:
        raise NotApplicable("this profile has no correlations")
    matrix = np.array(profile.correlation, dtype=np.float64)
    off = np.nan_to_num(np.abs(matrix)) - np.eye(len(matrix))
    keep = np.sort(np.argsort(-off.max(axis=1, initial=0.0), kind="stable")[:k])
    chart = correlation_squares([profile.names[i] for i in keep], matrix[np.ix_(keep, keep)], words)
    return themed(chart, words("alt_correlations", count=len(keep)), "scroll")


def missing(profile: Profile, *, k: int = 15, language: str = "en") -> alt.LayerChart:
    """The share of empty cells of the columns that have any."""
    import altair as alt

    words = Words(language)
    holes = sorted((c for c in profile.columns if c.missing and c.rows), key=lambda c: -c.missing / c.rows)[:k]
    if not holes:
        raise NotApplicable("no column has empty cells")
    labels = unique([fitted(column.name, 34) for column in holes])
    rows = [
        {"label": label, "share": c.missing / c.rows, "text": percent(c.missing / c.rows), "name": cut(c.name, 300)}
        for label, c in zip(labels, holes, strict=True)
    ]
    y = alt.Y("label:N", scale=alt.Scale(domain=labels), title=None)
    scale = alt.Scale(domain=[0, min(1.0, 1.25 * rows[0]["share"])], nice=False)
    x = alt.X("share:Q", title=words("axis_missing"), scale=scale, axis=alt.Axis(format="~%", tickCount=4))
    tips = [alt.Tooltip("name:N", title=words("tip_column")), alt.Tooltip("text:N", title=words("axis_missing"))]
    base = alt.Chart(table(rows)).encode(y=y, x=x, tooltip=tips)
    layers: Any = alt.layer(
        base.mark_bar(color="#8a6d00", cornerRadius=2, height={"band": 0.68}),
        base.mark_text(align="left", dx=5, baseline="middle").encode(text="text:N"),
    )
    return themed(layers.properties(width=WIDTH, height=STEP * len(rows)), words("alt_missing"))

"""Figures of an inspection: idle units, distributions layer by layer, gradients, rows in a plane, filters, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import NotApplicable
from pellucid.records.inspection import Inspection

from ..words import Words, cut, fitted, number, percent, unique
from .images import png, shown_picture
from .theme import GOOD, POOR, SERIES, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

LINE, TILE, LETTERS, CLASSES = 15, 76, 34, 8
"""Pixels of a layer's line and of a picture's side; letters of a name; classes with a colour of their own."""


def idle_units(found: Inspection, *, language: str = "en") -> alt.Chart:
    """For each layer the shares of its units that are dead, saturated, or duplicate another one."""
    import altair as alt

    words, lines = Words(language), []
    for name, layer in zip(_names([layer.name for layer in found.layers]), found.layers, strict=True):
        part = found.part(layer.name)
        for code, flags in (("dead", found.dead), ("saturated", found.saturated), ("twins", found.twins >= 0)):
            share = float(flags[part].mean())
            told = {"layer": name, "kind": words(f"units_{code}"), "share": share}
            lines.append(told | {"text": f"{int(flags[part].sum())} / {layer.size}"})
    kinds = [words(f"units_{code}") for code in ("dead", "saturated", "twins")]
    chart = alt.Chart(table(lines)).mark_bar().encode(
        y=alt.Y("layer:N", sort=None, title=None), yOffset=alt.YOffset("kind:N", sort=kinds),
        x=alt.X("share:Q", title=words("axis_share_of_units"), axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0)),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=list(SERIES[:3]))),
        tooltip=[alt.Tooltip("layer:N", title=words("tip_layer")), alt.Tooltip("kind:N"), alt.Tooltip("text:N")],
    )  # fmt: skip
    chart = chart.properties(width=WIDTH, height=(LINE + 6) * len(found.layers))
    told = f"{int(found.dead.sum())} / {len(found.units)}"
    return themed(chart, words("alt_units_idle", told=told))


def activation_ranges(found: Inspection, *, language: str = "en") -> alt.LayerChart:
    """For each layer where its numbers lie: median, middle half, 5 to 95 %; the other checkpoint's in grey."""
    words = Words(language)
    names = _names([layer.name for layer in found.layers])
    return _ranges(names, found.activations, found.activations_before, words, "axis_activation", "alt_activations")


def weight_ranges(found: Inspection, *, language: str = "en") -> alt.LayerChart:
    """For each parameter where its numbers lie; the other checkpoint's in grey."""
    words, names = Words(language), _names(found.parameters)
    return _ranges(names, found.weights, found.weights_before, words, "axis_weight", "alt_weights")


def _ranges(
    names: Sequence[str], now: np.ndarray, then: np.ndarray | None, words: Words, axis: str, alt_code: str
) -> alt.LayerChart:
    import altair as alt

    lines = []
    sets = [("now", now)] if then is None else [("now", now), ("then", then)]
    for code, quantiles in sets:
        for name, q in zip(names, quantiles, strict=True):
            told = " · ".join(number(float(value)) for value in q[[2, 4, 6]])
            line = {"name": name, "when": words(f"checkpoint_{code}"), "text": told}
            lines.append(line | {"low": q[2], "first": q[3], "middle": q[4], "third": q[5], "high": q[6]})
    whens = [words("checkpoint_now"), words("checkpoint_then")][: len(sets)]
    base = alt.Chart(table(lines)).encode(
        y=alt.Y("name:N", sort=None, title=None), yOffset=alt.YOffset("when:N", sort=whens),
        color=alt.Color("when:N", title=None, legend=None if then is None else alt.Legend(),
                        scale=alt.Scale(domain=whens, range=[GOOD, "#9aa3ae"][: len(whens)])),
        tooltip=[alt.Tooltip("name:N", title=words("tip_layer")), alt.Tooltip("text:N", title=words("tip_quantiles"))],
    )  # fmt: skip
    x = alt.X("low:Q", title=words(axis))
    thin = base.mark_rule(strokeWidth=1.2).encode(x=x, x2="high:Q")
    thick = base.mark_bar(height=5).encode(x="first:Q", x2="third:Q")
    middle = base.mark_tick(color="#1c2430", thickness=2, height=9).encode(x="middle:Q")
    chart: Any = alt.layer(thin, thick, middle)
    chart = chart.properties(width=WIDTH, height=(LINE + 4) * len(names) * len(sets))
    return themed(chart, words(alt_code, count=len(names)))


def gradient_sizes(found: Inspection, *, language: str = "en") -> alt.LayerChart:
    """The size of the target's gradient at each layer, on a logarithmic scale.

    Raises :class:`NotApplicable` for a model without gradients.
    """
    import altair as alt

    if found.gradients is None:
        raise NotApplicable("this model gave no gradients", fix="the other figures need none")
    words = Words(language)
    names = _names([layer.name for layer in found.layers])
    lines = [
        {"layer": name, "size": float(size) if size > 0 else None, "text": number(float(size))}
        for name, size in zip(names, found.gradients, strict=True)
    ]
    base = alt.Chart(table(lines)).encode(
        y=alt.Y("layer:N", sort=None, title=None),
        x=alt.X("size:Q", title=words("axis_gradient"), scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4)),
        tooltip=[alt.Tooltip("layer:N", title=words("tip_layer")), alt.Tooltip("text:N", title=words("axis_gradient"))],
    )
    chart: Any = alt.layer(base.mark_line(color=GOOD, opacity=0.4), base.mark_circle(color=GOOD, size=55, opacity=1))
    chart = chart.properties(width=WIDTH, height=(LINE + 3) * len(names))
    return themed(chart, words("alt_gradients", first=number(found.gradients[0]), last=number(found.gradients[-1])))


def embeddings(found: Inspection, *, language: str = "en") -> alt.HConcatChart:
    """Rows in a plane, by what some layers make of them, coloured by their label."""
    import altair as alt

    words, panels = Words(language), []
    labels = [fitted(label, 20) for label in found.labels]
    known = sorted(set(labels), key=lambda label: -labels.count(label))[:CLASSES]
    color = alt.Color("label:N", title=None, scale=alt.Scale(domain=known, range=list(SERIES[: len(known)])))
    for name, points, shares in zip(found.shown_layers, found.embeddings, found.variances, strict=True):
        lines = [
            {"x": float(x), "y": float(y), "label": label if label in known else words("flow_rest"), "row": str(row)}
            for row, ((x, y), label) in enumerate(zip(points, labels, strict=True))
        ]
        told = " + ".join(percent(float(share)) for share in shares) if np.isfinite(shares).all() else "t-SNE"
        axis = alt.Axis(labels=False, ticks=False, grid=False, title=None)
        tips = [alt.Tooltip("row:N", title=words("col_row")), alt.Tooltip("label:N")]
        dots = alt.Chart(table(lines)).mark_circle(size=34, opacity=0.8)
        x, y = (alt.X("x:Q", axis=axis), alt.Y("y:Q", axis=axis))
        dots = dots.encode(x=x, y=y, color=color if known != [""] else alt.value(GOOD), tooltip=tips)
        panels.append(dots.properties(width=210, height=210, title=f"{fitted(name, 20)} ({told})"))
    chart: Any = alt.hconcat(*panels, spacing=16)
    return themed(
        chart, words("alt_embedding", layers=words.joined([cut(name) for name in found.shown_layers])), "shrink"
    )


def first_filters(found: Inspection, *, language: str = "en") -> alt.Chart:
    """The first convolution's filters as small pictures, each between its own ends; three channels in colour.

    Raises :class:`NotApplicable` for a network without a convolution.
    """
    if found.filters is None:
        raise NotApplicable("this network has no two-dimensional convolution", fix='take plot("weights")')
    words = Words(language)
    pictures = []
    for each in found.filters:
        scaled = _between(each)
        pixels = shown_picture(scaled if len(each) == 3 else _between(each.mean(0)))
        pictures.append(png(pixels.repeat(16, 0).repeat(16, 1)))
    columns = max(1, min(8, len(pictures)))
    tiles = [
        {"url": url, "x": (place % columns) * 52.0, "y": (place // columns) * 52.0, "name": str(place)}
        for place, url in enumerate(pictures)
    ]
    return themed(_tiles(tiles, 46, 52 * columns, 52 * -(-len(tiles) // columns)), words("alt_filters"), "shrink")


def driving_pictures(found: Inspection, *, language: str = "en") -> alt.LayerChart:
    """For each shown unit the pictures at which it is largest, the region that drove it in a frame.

    Raises :class:`NotApplicable` where rows are no pictures.
    """
    import altair as alt

    if found.pictures is None or found.regions is None or found.shown_units is None:
        raise NotApplicable(
            "there are no pictures of what drives units", why="rows are no images, or no layer has maps"
        )
    words, tiles, names = Words(language), [], []
    layer = str(found.notes["pictured"])
    start = found.part(layer).start
    for line, unit in enumerate(found.shown_units):
        names.append({"x": -6.0, "y": line * (TILE + 6) + TILE / 2, "text": f"{fitted(layer, 18)}[{int(unit)}]"})
        for place, picture in enumerate(found.pictures[line]):
            value = float(found.top_values[start + int(unit), place])
            tile = {"url": png(_framed(shown_picture(picture), found.regions[line, place])), "name": number(value)}
            tiles.append(tile | {"x": place * (TILE + 6.0), "y": line * (TILE + 6.0)})
    width, height = (TILE + 6) * found.pictures.shape[1], (TILE + 6) * len(names)
    texts = alt.Chart(table(names)).mark_text(align="right", baseline="middle").encode(
        x=alt.X("x:Q", axis=None), y=alt.Y("y:Q", axis=None), text="text:N"
    )  # fmt: skip
    chart: Any = alt.layer(_tiles(tiles, TILE, width, height), texts).properties(width=width, height=height)
    return themed(chart, words("alt_drivers", layer=cut(layer)), "shrink")


def _tiles(tiles: Sequence[dict[str, Any]], side: float, width: float, height: float) -> alt.Chart:
    import altair as alt

    across = alt.Scale(domain=[0, width], nice=False, zero=False)
    down = alt.Scale(domain=[height, 0], nice=False, zero=False)
    chart = alt.Chart(table(tiles)).mark_image(width=side, height=side, align="left", baseline="top")
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    return chart.encode(x=x, y=y, url="url:N", tooltip=alt.Tooltip("name:N")).properties(width=width, height=height)


def _between(values: np.ndarray) -> np.ndarray:
    """Numbers between their own ends, 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / ((high - low) or 1.0)


def _framed(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A picture, enlarged pixel by pixel where it is small, with a frame around a region."""
    times = max(1, -(-2 * TILE // max(pixels.shape[:2])))
    drawn = pixels.repeat(times, 0).repeat(times, 1).copy()
    colour = np.array([int(POOR[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.uint8)
    top, left, bottom, right = (int(edge) * times for edge in box)
    wide = max(2, max(drawn.shape[:2]) // 50)
    drawn[top : top + wide, left:right] = drawn[bottom - wide : bottom, left:right] = colour
    drawn[top:bottom, left : left + wide] = drawn[top:bottom, right - wide : right] = colour
    return drawn


def _names(names: Sequence[str]) -> list[str]:
    return unique([name if len(name) <= LETTERS else "…" + cut(name[1 - LETTERS :]) for name in names])

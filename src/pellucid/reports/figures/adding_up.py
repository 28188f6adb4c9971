"""Figures of how one row's contributions add up: the waterfall from base to output, and the strip of forces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation
from pellucid.records.schema import Schema

from ..scale import on_axis
from ..words import Words, fitted, number, unique
from .contributions import bars_of, sides
from .theme import DOWN, STEP, UP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

ENDS, REST = "#5b6675", "#9aa5b1"
MISSING = 1e-3
"""Contributions that miss the change by this share of it get a bar that says so."""
TOP, STRIP, LETTER, ROOM = 36, 32, 6.4, 0.075
"""Where the strip lies, its height, the width of a letter, the share from which a part has its name written."""


def waterfall(
    explanation: Explanation,
    row: int = 0,
    *,
    output: int = 0,
    k: int = 10,
    language: str = "en",
    schema: Schema | None = None,
) -> alt.LayerChart:
    """From the output with nobody present to this row's output, one contribution after the other, the largest first.

    Thin lines are 95 % intervals of the contributions. Those beyond ``k`` are one bar; what contributions leave
    unexplained (a method whose values do not add up) is another. Raises :class:`InputError` for a row or output
    that the explanation lacks.
    """
    import altair as alt

    words = Words(language)
    steps = _steps(explanation, row, output, k, words, schema)
    name = fitted(explanation.outputs[row][output], 30)
    x = alt.X("from:Q", title=on_axis(explanation, row, output, words), scale=_room(steps),
              axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 2 : 4")))  # fmt: skip
    told = "; ".join(f"{fitted(step['name'], 30)} {step['short']}" for step in steps[1:4])
    return themed(_falling(steps, x, words), words("alt_waterfall", output=name, told=told))


def _steps(
    explanation: Explanation, row: int, output: int, k: int, words: Words, schema: Schema | None
) -> list[dict[str, Any]]:
    """One dict per line: the base, the contributions one after the other, what is missing, the output."""
    bars = bars_of(explanation, row, output, k, words, schema)
    base, full = (float(ends[row, output]) for ends in (explanation.base, explanation.full))
    if not np.isfinite(base):
        raise InputError(
            "these contributions start nowhere",
            why=f'{explanation.method} removes nothing, and nobody said what "absent" means',
            fix='draw kind="bar" or "image", or give background= when explaining',
        )
    steps, at = [_end(words("waterfall_base"), base)], base
    for bar in bars:
        whole = at + bar["value"]
        half = None if bar["high"] is None else bar["high"] - bar["value"]
        steps.append(bar | {
            "from": at, "to": whole, "look": "rest" if bar["rest"] else bar["sign"],
            "low": None if half is None else whole - half, "high": None if half is None else whole + half,
        })  # fmt: skip
        at = whole
    if abs(full - at) > MISSING * max(abs(full - base), sum(abs(bar["value"]) for bar in bars)):
        label, short = words("waterfall_missing"), number(full - at, signed=True)
        steps.append(_end(label, full) | {"from": at, "look": "rest", "short": short, "text": short})
    steps.append(_end(words("waterfall_output"), full))
    for kind in ("label", "short"):
        for step, text in zip(steps, unique([step[kind] for step in steps]), strict=True):
            step[kind] = text
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        step["next"] = None if after is None else after["label"]
    return steps


def _end(label: str, value: float) -> dict[str, Any]:
    return {
        "label": label, "name": label, "cell": "", "from": value, "to": value, "low": None, "high": None,
        "look": "end", "short": number(value), "text": number(value),
    }  # fmt: skip


def _room(steps: Sequence[dict[str, Any]]) -> alt.Scale:
    """The range of everything drawn, with a little air; zero need not be among it."""
    import altair as alt

    ends = [end for step in steps for end in (step["from"], step["to"], step["low"], step["high"]) if end is not None]
    known = [end for end in ends if np.isfinite(end)] or [0.0]
    low, high = min(known), max(known)
    air = 0.04 * ((high - low) or abs(high) or 1.0)
    return alt.Scale(domain=[low - air, high + air], nice=False, zero=False)


def _falling(steps: list[dict[str, Any]], x: alt.X, words: Words) -> Any:
    """The bars, lines from each to the next, intervals, and the two ends as marks; numbers on the right."""
    import altair as alt

    base = alt.Chart(table(steps))
    y, numbers = sides(steps, "short")
    looks = alt.Scale(domain=["up", "down", "rest", "end"], range=[UP, DOWN, REST, ENDS])
    look: dict[str, Any] = {"color": alt.Color("look:N", scale=looks, legend=None), "tooltip": tips(words)}
    narrow = {"band": 0.62}
    links = base.transform_filter("isValid(datum.next)")
    chart: Any = alt.layer(
        alt.layer(
            links.mark_rule(color="#8b95a1", strokeWidth=0.8).encode(y=y, y2="next:N", x=alt.X("to:Q")),
            base.transform_filter("datum.look !== 'end'").mark_bar(cornerRadius=2, height=narrow).encode(
                y=y, x=x, x2="to:Q", **look),
            base.transform_filter("datum.look === 'end'").mark_tick(thickness=4, cornerRadius=2, size=17).encode(
                y=y, x=x, **look),
            base.transform_filter("isValid(datum.low)").mark_rule(style="interval").encode(
                y=y, x="low:Q", x2="high:Q"),
        ),
        base.mark_point(opacity=0).encode(y=numbers, x=x),
    ).resolve_scale(y="independent")  # fmt: skip
    return chart.properties(width=WIDTH, height=STEP * len(steps))


def tips(words: Words) -> list[alt.Tooltip]:
    """What is shown of a contribution under the pointer."""
    import altair as alt

    return [
        alt.Tooltip("name:N", title=words("tip_player")),
        alt.Tooltip("cell:N", title=words("tip_cell")),
        alt.Tooltip("text:N", title=words("tip_contribution")),
    ]


def force(
    explanation: Explanation,
    row: int = 0,
    *,
    output: int = 0,
    k: int = 12,
    language: str = "en",
    schema: Schema | None = None,
) -> alt.LayerChart:
    """One strip: what raises the output pushes from the left, what lowers it from the right; they meet at the output.

    Contributions beyond ``k`` are one part, and what they leave unexplained another. Raises :class:`InputError`
    for a row or output that the explanation lacks.
    """
    import altair as alt

    words = Words(language)
    start, *steps, end = _steps(explanation, row, output, k, words, schema)
    base, full = start["from"], end["to"]
    parts = _pushing(steps, full)
    ends = [base, full, *(part[side] for part in parts for side in ("from", "to"))]
    low, high = min(ends), max(ends)
    span = (high - low) or abs(high) or 1.0
    for part in parts:
        share = abs(part["to"] - part["from"]) / span
        part["middle"] = (part["from"] + part["to"]) / 2
        part["written"] = _within(part["label"], share)
        part["inside"] = part["short"] if share > ROOM else ""
    marks = [
        {"at": at, "text": f"{words(code)} {number(at)}", "line": line, "align": _side((at - low) / span)}
        for code, at, line in (("force_output", full, 12), ("force_base", base, 28))
    ]
    scale = alt.Scale(domain=[low - 0.02 * span, high + 0.02 * span], nice=False, zero=False)
    name = fitted(explanation.outputs[row][output], 30)
    title = on_axis(explanation, row, output, words)
    x = alt.X("from:Q", scale=scale, axis=alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 6")), title=title)
    chart = _strip(parts, marks, x, words).properties(width=WIDTH + 160, height=TOP + STRIP + 36)
    told = "; ".join(f"{fitted(part['name'], 30)} {part['short']}" for part in parts[:3])
    return themed(chart, words("alt_force", output=name, told=told))


def _within(label: str, share: float) -> str:
    """A label of one or two lines, cut to a part's own width; nothing where there is too little room."""
    width = int(share * (WIDTH + 160) / LETTER)
    return "\n".join(fitted(line, width) for line in label.split("\n")) if share > ROOM else ""


def _side(place: float) -> str:
    """How a text at a place between 0 and 1 is set, so that it stays within the figure."""
    return "left" if place < 0.2 else "right" if place > 0.8 else "center"


def _pushing(steps: list[dict[str, Any]], full: float) -> list[dict[str, Any]]:
    """The steps laid out from the output: raising ones to its left, lowering ones to its right, the largest nearest."""
    left = right = full
    parts = []
    for step in steps:
        value = step["to"] - step["from"]
        ends = (left - value, left) if value >= 0 else (right - value, right)
        left, right = (ends[0], right) if value >= 0 else (left, ends[0])
        look = step["look"] if step["look"] != "rest" else "up" if value >= 0 else "down"
        parts.append(step | {"from": ends[0], "to": ends[1], "look": look, "faded": step["look"] == "rest"})
    return parts


def _strip(parts: list[dict[str, Any]], marks: list[dict[str, Any]], x: alt.X, words: Words) -> Any:
    """The parts in a row, the larger ones with their names, and above them where base and output lie."""
    import altair as alt

    base, ends = alt.Chart(table(parts)), alt.Chart(table(marks))
    color = alt.Color("look:N", scale=alt.Scale(domain=["up", "down"], range=[UP, DOWN]), legend=None)
    at, middle = alt.X("at:Q"), alt.X("middle:Q")
    faded = alt.condition("datum.faded", alt.value(0.5), alt.value(1))
    return alt.layer(
        base.mark_bar(stroke="#ffffff", strokeWidth=1.5, cornerRadius=2).encode(
            x=x, x2="to:Q", y=alt.value(TOP), y2=alt.value(TOP + STRIP), color=color, opacity=faded,
            tooltip=tips(words)),
        base.mark_text(baseline="middle", color="#ffffff", fontWeight=600).encode(
            x=middle, y=alt.value(TOP + STRIP / 2), text="inside:N"),
        base.mark_text(fontSize=10.5, baseline="top", lineBreak="\n", lineHeight=13).encode(
            x=middle, y=alt.value(TOP + STRIP + 5), text="written:N"),
        ends.mark_rule(style="interval").encode(
            x=at, y=alt.Y("line:Q", scale=None, axis=None), y2=alt.value(TOP + STRIP + 3)),
        ends.mark_text(fontWeight=600, baseline="bottom", align=alt.ExprRef("datum.align")).encode(
            x=at, y=alt.Y("line:Q", scale=None, axis=None), text="text:N"),
    )  # fmt: skip

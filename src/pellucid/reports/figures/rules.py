"""Figures of rules: the conditions as a list with precision and coverage below it, or the kept parts of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.rules import Rules
from pellucid.records.sets import Sets

from ..words import Words, fitted
from .images import is_picture, picture_panel
from .theme import GOOD, POOR, STEP, UP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

LETTERS = 64


def rule_list(rules: Rules, row: int = 0, *, output: int = 0, language: str = "en") -> alt.VConcatChart:
    """A row's conditions, highlighted, over the intervals of precision (with the threshold) and coverage."""
    import altair as alt

    words = Words(language)
    told = [fitted(text, LETTERS) for text in rules.conditions(row, output, language)] or [words("rule_none")]
    title = fitted(rules.decision(row, output, language), LETTERS)
    drawn = alt.vconcat(listed(told, title), _shares(rules, row, output, words), spacing=12)
    return themed(drawn, words("alt_rule", output=fitted(rules.outputs[row][output], 30)), "shrink")


def listed(told: Sequence[str], title: str) -> Any:
    """Short texts below each other, each on a band of colour."""
    import altair as alt

    lines = [{"text": text, "place": place} for place, text in enumerate(told)]
    bands = alt.Chart(table(lines)).encode(y=alt.Y("place:O", axis=None))
    return alt.layer(
        bands.mark_bar(color=UP, opacity=0.16, height=STEP - 5).encode(x=alt.value(0), x2=alt.value(WIDTH)),
        bands.mark_text(align="left", dx=10, fontSize=12).encode(text="text:N", x=alt.value(0)),
    ).properties(width=WIDTH, height=STEP * len(lines), title=title)


def _shares(rules: Rules, row: int, output: int, words: Words) -> Any:
    """Precision and coverage with their intervals between 0 and 1; a tick where the threshold lies."""
    import altair as alt

    met = bool(rules.met[row, output])
    lines = [
        {
            "name": name, "value": float(value[row, output]),
            "low": float(low[row, output]), "high": float(high[row, output]),
        }
        for name, value, low, high in (
            (words("rule_precision"), rules.precision, rules.lower, rules.upper),
            (words("rule_coverage"), rules.coverage, rules.coverage_lower, rules.coverage_upper),
        )
    ]  # fmt: skip
    y = alt.Y("name:N", sort=None, title=None)
    scale = alt.Scale(domain=[0, 1])
    bars = alt.Chart(table(lines)).encode(y=y)
    asked = [{"name": lines[0]["name"], "value": rules.threshold}]
    return alt.layer(
        bars.mark_bar(color=GOOD if met else POOR, height=STEP - 13).encode(
            x=alt.X("value:Q", scale=scale, title=None, axis=alt.Axis(format="%"))
        ),
        bars.mark_rule(style="interval").encode(x="low:Q", x2="high:Q"),
        alt.Chart(table(asked)).mark_tick(style="truth", thickness=2, size=STEP - 5).encode(y=y, x="value:Q"),
    ).properties(width=WIDTH, height=STEP * len(lines))


def rule_overlay(rules: Rules | Sets, row: int = 0, *, output: int = 0, language: str = "en") -> alt.HConcatChart:
    """The image and, beside it, the parts in the rule (or the set), the rest faded to grey."""
    import altair as alt

    words = Words(language)
    members = rules.members[row, : len(rules.players.of(row)), output]
    kept = rules.players.spread(members, row)
    image = np.asarray(rules.rows[row]) if is_picture(rules.rows) else np.ones(kept.shape)
    panels = [
        picture_panel(image).properties(title=words("panel_image")),
        picture_panel(image, np.nan_to_num(kept)).properties(title=words("panel_rule")),
    ]
    drawn = alt.hconcat(*panels, spacing=14)
    return themed(drawn, words("alt_rule", output=fitted(rules.outputs[row][output], 30)), "shrink")

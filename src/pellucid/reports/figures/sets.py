"""Figures of sets: the members as a list over the values with and without them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pellucid.records.sets import ASKED, Sets

from ..words import Words, cells, fitted
from .rules import listed
from .theme import GOOD, STEP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

LETTERS = 64


def set_list(sets: Sets, row: int = 0, *, output: int = 0, language: str = "en") -> alt.VConcatChart:
    """A row's set, highlighted, over v of nobody, the set (or everyone else) and everyone; a line at the cut."""
    import altair as alt

    words = Words(language)
    own = cells(sets, row)
    told = [fitted(f"{name} = {own[name]}" if name in own else name, LETTERS) for name in sets.set_of(row, output)]
    name = fitted(sets.outputs[row][output], LETTERS)
    reached = "set_reached" if sets.notes["asked"] == ASKED[0] else "set_without"
    ends = (("set_nobody", sets.base), (reached, sets.reached), ("set_everyone", sets.full))
    lines = [{"name": words(code), "value": float(values[row, output])} for code, values in ends]
    bars = alt.Chart(table(lines)).encode(y=alt.Y("name:N", sort=None, title=None))
    cut = [{"value": edge} for edge in (float(sets.cut[row, output]),) if math.isfinite(edge)]
    values = alt.layer(
        bars.mark_bar(color=GOOD, height=STEP - 13).encode(x=alt.X("value:Q", title=name)),
        alt.Chart(table(cut)).mark_rule(style="diagonal").encode(x="value:Q"),
    ).properties(width=WIDTH, height=STEP * len(lines))
    drawn = alt.vconcat(listed(told or [words("rule_none")], name), values, spacing=12)
    return themed(drawn, words("alt_set", output=fitted(sets.outputs[row][output], 30)), "shrink")

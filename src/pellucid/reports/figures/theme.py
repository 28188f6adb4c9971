"""The look that all figures share: colours that the colour-blind can tell apart, type, and how a chart is finished."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import altair as alt

Figure = TypeVar("Figure", "alt.Chart", "alt.LayerChart", "alt.HConcatChart", "alt.VConcatChart", "alt.ConcatChart")

UP, DOWN = "#d1670b", "#2b6cb0"  # raises the output, lowers it: apart in hue and in lightness
GOOD, POOR = "#1f7a8c", "#c2570c"
# From Okabe and Ito's set, the yellow left out (too pale on white), and darkened a little.
SERIES = ("#0072b2", "#d1670b", "#009e73", "#b55a93", "#3aa0d8", "#8a6d00", "#5b6675", "#7a4fbf")
DIVERGING = ("#174f87", "#7fb2dd", "#f4f4f2", "#f0a868", "#a8480a")
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", sans-serif'
WIDTH, STEP = 480, 27
ENDING = re.compile(r"<(?=/?script|!--)", re.IGNORECASE)
"""What ends a script, or changes how its end is read, in HTML."""


def config(
    ink: str = "#1c2430", muted: str = "#5b6675", line: str = "#e3e6ea", strong: str = "#8b95a1"
) -> dict[str, Any]:
    """Vega-Lite's ``config`` for one pair of ink and paper."""
    return {
        # No limits: names are cut before they are drawn, and measuring them again is half of a drawing's time.
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink, "titleColor": muted, "gridColor": line, "domainColor": strong, "tickColor": strong,
            "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 0,
            "titleLimit": 0, "titlePadding": 8,
        },
        "axisY": {"ticks": False, "domain": False, "labelPadding": 6},
        "legend": {"labelColor": ink, "titleColor": muted, "labelFontSize": 11, "titleFontSize": 11,
                   "titleFontWeight": "normal", "labelLimit": 0, "orient": "bottom", "columns": 3,
                   "symbolStrokeWidth": 3, "rowPadding": 4},
        "title": {"color": ink, "fontSize": 12, "fontWeight": 600, "anchor": "start", "limit": 0, "offset": 8},
        "text": {"color": ink, "fontSize": 11},
        "header": {"labelColor": ink, "titleColor": muted},
        "style": {
            "zero": {"stroke": strong, "color": strong, "strokeWidth": 1},
            "interval": {"stroke": ink, "color": ink, "strokeWidth": 1.3},
            "truth": {"fill": ink, "color": ink, "stroke": ink},
            "diagonal": {"stroke": strong, "color": strong, "strokeDash": [4, 4], "strokeWidth": 1},
        },
    }  # fmt: skip


DARK = config(ink="#e6e9ee", muted="#a3adba", line="#2f3743", strong="#6b7684")


def themed(chart: Figure, description: str, place: str = "stretch") -> Figure:
    """The finished chart: common theme, and a description for those who do not see it.

    ``place`` says what a page does with it: "stretch" it to the room there is, "scroll" it where there
    is too little (matrices, whose cells need their size), or "shrink" it (pictures).
    """
    import altair as alt

    finished = chart.properties(description=description, usermeta={"place": place})
    if place == "stretch":  # a page sets it where the figure has little room
        finished.params = [alt.param(name="narrow", value=False).param]  # pyright: ignore[reportAttributeAccessIssue]
    finished.config = config()  # pyright: ignore[reportAttributeAccessIssue]
    return finished


def by_itself(chart: Any) -> Any:
    """The chart as it leaves the house, to be saved or shown anywhere: on white, and harmless in altair's own pages.

    Those hold it in a script, word for word, where a column named ``</script>…`` would end the script and begin markup:
    an invisible sign stands behind such a ``<``.
    """
    finished = chart.properties(background="white")
    told = finished.to_dict()
    harmless = _harmless(told)
    return finished if harmless == told else type(finished).from_dict(harmless)


def _harmless(part: Any) -> Any:
    if isinstance(part, str):
        return ENDING.sub("<\u2060", part)
    if isinstance(part, dict):
        return {_harmless(name): _harmless(value) for name, value in part.items()}
    return [_harmless(value) for value in part] if isinstance(part, list) else part


def table(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    """Rows as a chart's inline data. Field names are ours; what came from data stands in values only.

    What is not finite is left empty: JSON has no word for it.
    """
    import altair as alt

    told = [{name: None if _endless(cell) else cell for name, cell in row.items()} for row in rows]
    return alt.InlineData(values=told)  # pyright: ignore[reportArgumentType]


def _endless(cell: Any) -> bool:
    return isinstance(cell, float) and not math.isfinite(cell)

"""Figures as files: SVG, PNG or PDF without a browser, and the script that draws them inside a page."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from typing import Any

# No address at all: a figure carries all its data, so the converter must never fetch anything.
_NOWHERE: list[str] = []


def svg(chart: Any, width: int | None = None) -> str:
    """A chart (Altair, or its specification) as SVG text, ``width`` pixels wide where given."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(_text(chart, width), allowed_base_urls=_NOWHERE)
    return _renumbered(drawn)


def _renumbered(drawn: str) -> str:
    """The same SVG with its ids numbered from 1: the converter counts on from figure to figure."""
    numbers: dict[str, int] = {}

    def own(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers) + 1)}{match[3]}"

    return re.sub(r'((?:id="|url\(#)(?:clip|gradient_?))(\d+)(["\)])', own, drawn)


def png(chart: Any, width: int | None = None, scale: float = 2.0) -> bytes:
    """A chart as PNG bytes; ``scale`` 2 is sharp on paper and on fine screens."""
    import vl_convert

    spec = {"background": "white", **_spec(chart, width)}
    return vl_convert.vegalite_to_png(json.dumps(spec), scale=scale, allowed_base_urls=_NOWHERE)


def pdf(chart: Any, width: int | None = None) -> bytes:
    """A chart as the bytes of a one-page PDF."""
    import vl_convert

    return vl_convert.vegalite_to_pdf(_text(chart, width), allowed_base_urls=_NOWHERE)


def data_uri(chart: Any, width: int | None = None) -> str:
    """A chart as an SVG data URI: shown by ``<img>``, where no script in it could run."""
    return as_uri(svg(chart, width))


def as_uri(text: str) -> str:
    """SVG text as a data URI."""
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script without dependencies (about 0.9 MB), for pages that work offline."""
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Inside a page these would end the element too early; in JavaScript both spellings mean the same.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _spec(chart: Any, width: int | None) -> dict[str, Any]:
    """The specification as a file needs it. One plain font: searching a long list of them takes most of the time."""
    spec = dict(chart) if isinstance(chart, dict) else chart.to_dict()
    spec["config"] = {**spec.get("config", {}), "font": "sans-serif"}
    if width is not None and "width" in spec:
        spec["width"] = width
    return spec


def _text(chart: Any, width: int | None) -> str:
    return json.dumps(_spec(chart, width))

"""The parts a report is made of, and one study's way into them: pictures, tables, sections, chapters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.records.study import Study

from . import export, figures
from .words import Words, cut, number

CASES, LINES = 6, 500


@dataclass(frozen=True)
class Picture:
    """A figure twice over: its specification for the screen, a still SVG for print and without scripts."""

    id: str
    spec: str
    still: str
    alt: str
    caption: str
    width: int
    height: int
    place: str = "stretch"
    signed: bool = False


@dataclass(frozen=True)
class Grid:
    """A table: ``numbers`` are the columns set to the right, ``controls`` the rows set apart."""

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    controls: frozenset[int] = frozenset()
    folded: bool = False
    mono: bool = False


@dataclass
class Section:
    """One part of a study's chapter."""

    anchor: str
    title: str
    lead: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    pair: list[Picture] = field(default_factory=list)
    grid: list[Picture] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)
    tables: list[Grid] = field(default_factory=list)
    code: str = ""


@dataclass
class Chapter:
    """One study on its way into the report; ``marked`` wraps JSON that is safe inside a script element."""

    study: Study
    anchor: str
    words: Words
    marked: Callable[[str], str]
    cases: int = CASES
    drawn: int = 0

    def picture(self, chart: Any, caption: str = "", signed: bool = False) -> Picture:
        """Draw a chart and number it."""
        self.drawn += 1
        spec = chart.to_dict(validate=False)  # the tests validate; here it would take seconds
        text = export.svg(spec)
        size = re.search(r'width="([\d.]+)" height="([\d.]+)"', text)
        width, height = (round(float(side)) for side in size.groups()) if size else (480, 300)
        place = spec["usermeta"]["place"]
        if place == "stretch":
            spec["width"] = "container"  # on the screen it is as wide as its place
        still = export.as_uri(text)
        name = f"{self.anchor}-figure-{self.drawn}"
        return Picture(
            name, self.marked(embedded(spec)), still, spec["description"], caption, width, height, place, signed
        )

    def section(self, code: str, lead: str = "") -> Section:
        return Section(f"{self.anchor}-{code}", self.words(f"head_{code}"), lead)


def embedded(value: Any) -> str:
    """JSON that is safe inside a script element: no markup character and nothing outside ASCII is left in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def leading(study: Study) -> str:
    """The method whose explanations are shown, never a control itself.

    Of a table Shapley values, which add up and have standard errors, where they are ahead of the controls; else
    the method that is farthest ahead over all metrics. Without scores it is the first method. Empty for a study without
    explanations.
    """
    controls = control_names(study)
    candidates = [name for name in study.explanations if name not in controls] or list(study.explanations)
    if not candidates:
        return ""
    ahead = {name: [] for name in candidates}
    for metric in dict.fromkeys(score.metric for score in study.scores):
        mine = [score for score in study.scores if score.metric == metric]
        for score, value in zip(mine, figures.advantage(mine), strict=True):
            if score.method in ahead and np.isfinite(value):
                ahead[score.method].append(value)
    mean = {name: float(np.mean(found)) if found else -np.inf for name, found in ahead.items()}
    if study.schema is not None and mean.get("shapley", -np.inf) > 0:
        return "shapley"
    return max(candidates, key=lambda name: mean[name])


def control_names(study: Study) -> set[str]:
    """The methods that are controls: those that some score was held against."""
    return {name for score in study.scores for name in score.controls}


def shown(value: Any) -> str:
    """A value of a table as text: numbers in three digits, everything else as it is, cut."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, (float, np.floating)):
        return number(float(value))
    return cut(value)


def interval(triple: Sequence[float]) -> str:
    low, high = triple[1], triple[2]
    return f"95 %: {number(low)} – {number(high)}" if np.isfinite(low) and np.isfinite(high) else ""


def grid_of(lines: Sequence[Mapping[str, Any]], label: str) -> Grid:
    """Rows given as dicts, as a table; columns in order of appearance."""
    lines = [folded(line) for line in lines[:LINES]]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    numbers = {
        place
        for place, key in enumerate(columns)
        if all(isinstance(line.get(key, 0), (int, float, np.number)) for line in lines)
    }
    rows = [[shown(line.get(key)) for key in columns] for line in lines]
    return Grid(label, [cut(key) for key in columns], rows, frozenset(numbers))


def folded(line: Mapping[str, Any]) -> dict[str, Any]:
    """A table's row whose ``name_low`` and ``name_high`` are written behind ``name`` as an interval."""
    ends = {end for key in line for end in (f"{key}_low", f"{key}_high") if end in line}
    found: dict[str, Any] = {}
    for key, value in line.items():
        low, high = line.get(f"{key}_low"), line.get(f"{key}_high")
        if key in ends:
            continue
        found[key] = value
        if isinstance(low, float) and isinstance(high, float) and np.isfinite(low + high):
            found[key] = f"{number(value)} ({number(low)} – {number(high)})"
    return found

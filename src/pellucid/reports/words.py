"""How the report writes down what came from data: names, cell values, numbers and the names of methods.

Everything here returns plain text that the template escapes. A name is shown as it is, cut at 60
characters; only what no page can carry (lone surrogates, control characters) becomes U+FFFD.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.records.amounts import half_width
from pellucid.records.answer import Answer
from pellucid.records.errors import PellucidError, shorten
from pellucid.records.finding import Finding
from pellucid.records.importance import Importance
from pellucid.records.messages import Caution, catalogue, say
from pellucid.records.schema import Schema

NAME = 60
_UNPRINTABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_OPENERS, _CLOSER = "\u2066\u2067\u2068", "\u2069"
_OVERRIDES = set("\u202a\u202b\u202d\u202e\u202c" + _OPENERS + _CLOSER)


def clean(text: object) -> str:
    """``text`` without what UTF-8 or HTML cannot carry: lone surrogates and control characters become U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(text).replace("\r\n", "\n"))


def cut(text: object, width: int = NAME) -> str:
    """A clean name of at most ``width`` characters, the last of them ``…`` where something was left out."""
    return shorten(clean(text), width)


def fitted(text: object, width: int) -> str:
    """A clean name cut so that it takes the room of ``width`` Latin letters; East Asian ones take two."""
    text = clean(text).replace("\n", " ")
    room = width
    for place, letter in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if room < 0:
            return text[: max(0, place - 1)] + "…"
    return text


def isolated(text: str) -> str:
    """``text`` so wrapped that right-to-left letters or overrides in it cannot reorder the words around it.

    Plain names come back unchanged. Isolates closed too often or never inside the text are balanced.
    """
    if not any(c in _OVERRIDES or unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return text
    depth = unopened = 0
    for c in text:
        if c in _OPENERS:
            depth += 1
        elif c == _CLOSER and depth:
            depth -= 1
        elif c == _CLOSER:
            unopened += 1
    return "\u2068" * (unopened + 1) + text + _CLOSER * (depth + 1)


def quoted(text: object, width: int = NAME) -> str:
    """A name from data inside a sentence: cut, isolated, in quotation marks."""
    return f"“{isolated(cut(text, width))}”"


def number(value: float, signed: bool = False) -> str:
    """Three significant digits, never ``-0.000``; what is not finite is a dash."""
    value = float(value)
    if not math.isfinite(value):
        return "—"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        text = f"{size:.2e}"
    elif size >= 999.5:
        text = f"{size:,.0f}"
    else:
        text = f"{size:.{max(0, 2 - math.floor(math.log10(size)))}f}"
    return ("−" if value < 0 else "+" if signed else "") + text


def spread(error: float) -> str:
    """``" ± …"``, half of a 95 % interval, to stand behind an amount; empty where there is none."""
    half = half_width(error)
    return "" if half is None else f" ± {number(half)}"


def percent(share: float) -> str:
    """A share as a percentage with a digit behind the point where it is small."""
    if not math.isfinite(share):
        return "—"
    return f"{share:.0%}" if share >= 0.1 or share == 0 else "< 0.1%" if share < 0.001 else f"{share:.1%}"


def signed_percent(share: float) -> str:
    """A share that may be negative, or more than the whole, as a percentage."""
    return percent(share) if not share < 0 else "−" + percent(-share).replace("< ", "")


def cell(value: Any, unit: str = "") -> str:
    """One cell of a row as the data have it (six significant digits), with its unit; empty cells are ``""``."""
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return ""
    text = f"{float(value):.6g}" if isinstance(value, (float, np.floating)) else str(value)
    return f"{text} {unit}" if unit else text


def cells(explanation: Answer, row: int, schema: Schema | None = None) -> dict[str, str]:
    """Player name → its cell in a row of a table; empty for rows that are not dicts."""
    rows = explanation.rows
    if not isinstance(rows, (list, tuple)) or not -len(rows) <= row < len(rows) or not isinstance(rows[row], dict):
        return {}
    units = {column.name: column.unit for column in schema} if schema is not None else {}
    return {
        name: cell(rows[row][name], units.get(name, "")) for name in explanation.players.of(row) if name in rows[row]
    }


def is_attention(record: Answer) -> bool:
    """Whether a record tells attention, which is no attribution: an erasure test stands beside it."""
    return "erasure_first" in record.notes


# Vega keeps groups in plain JavaScript objects, where these names are taken.
_TAKEN = (
    "__proto__ __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ constructor hasOwnProperty "
    "isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf"
)


def unique(labels: Sequence[str]) -> list[str]:
    """The same labels, told apart by invisible spaces where two are alike (an axis merges equal ones).

    Names that every JavaScript object has get one, too.
    """
    seen: dict[str, int] = dict.fromkeys(_TAKEN.split(), 0)
    told = []
    for label in labels:
        seen[label] = seen.get(label, -1) + 1
        told.append(label + "\u200b" * seen[label])
    return told


@dataclass(frozen=True)
class Words:
    """The report's own words in one language."""

    language: str = "en"

    def __call__(self, code: str, /, **values: Any) -> str:
        return say(f"report.{code}", self.language, **values)

    def told(self, code: str, /, **values: Any) -> str:
        """A sentence of the narrative."""
        return say(f"narrative.{code}", self.language, **values)

    def joined(self, parts: Sequence[str]) -> str:
        """Parts in a row, as this language lists them."""
        return ("；" if self.language == "zh" else "; ").join(parts)

    def _glossary(self, kind: str, name: str) -> str:
        return catalogue().get(f"report.{kind}_{name}", {}).get(self.language, "")

    def method(self, name: str) -> str:
        """A method's name for people; an unknown one is shown as it is."""
        return _head(self._glossary("method", name)) or cut(name)

    def metric(self, name: str) -> str:
        """A metric's name for people; an unknown one is shown as it is."""
        return _head(self._glossary("metric", name)) or cut(name)

    def loss(self, importance: Importance, output: int = 0) -> str:
        """What an importance is measured in: the loss by its name for people, else the output's own name."""
        asked = importance.target.get("loss", "") if importance.target.get("kind") == "loss" else ""
        return self._glossary("loss", asked) or quoted(importance.outputs[0][output], 30)

    def of_players(self, record: Answer) -> str:
        """What the players of a text are, in the plural; an unknown kind is called a part."""
        return self._glossary("players", record.players.kind) or self("players_part")

    def table(self, name: str) -> str:
        """The heading of a finding's table; an unknown one is shown as it is."""
        return self._glossary("table", name) or cut(name)

    def column(self, name: str) -> str:
        """The heading of a column of a finding's table; an unknown one is shown as it is."""
        return self._glossary("col", name) or cut(name)

    def meaning(self, kind: str, name: str) -> str:
        """What the glossary says of a method or metric; empty for an unknown one."""
        return re.split(": |：", self._glossary(kind, name) + ": ", maxsplit=1)[1].removesuffix(": ")

    def of(self, message: Caution | Finding) -> str:
        """The sentence of a caution or finding, its values cut; the bare code where the catalogue lacks it."""
        named = {"method": self.method, "control": self.method, "metric": self.metric}
        values = {
            k: isolated(named[k](v) if k in named else cut(v)) if isinstance(v, str) else v
            for k, v in message.values.items()
        }
        room = "cautions" if isinstance(message, Caution) else "findings"
        try:
            return clean(say(f"{room}.{message.code}", self.language, **values))
        except (PellucidError, KeyError, ValueError, TypeError):  # a record of another version
            listed = ", ".join(f"{cut(k, 30)}: {cut(v)}" for k, v in values.items())
            return f"{cut(message.code)} ({listed})" if listed else cut(message.code)


def _head(entry: str) -> str:
    return re.split(": |：", entry, maxsplit=1)[0]

"""The one catalogue of sentences, in every language Pellucid speaks.

A record keeps a message's code and the values that fill it; the sentence is made when someone
reads it, in the language that reader chose. Codes live in ``catalogue/*.toml``; each holds
one entry per language with the same placeholders (a house test holds this).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from .errors import UnknownName

LANGUAGES = ("en", "zh")
Severity = Literal["red", "yellow", "note"]
RANK = {"red": 0, "yellow": 1, "note": 2}


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every message: code → language → template."""
    found: dict[str, dict[str, str]] = {}
    folder = files("pellucid.records") / "catalogue"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            room = file.name.removesuffix(".toml")
            for code, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
                found[f"{room}.{code}"] = entry
    return found


def told(code: str, language: str, values: Mapping[str, Any]) -> str:
    """The sentence of a record's message; its bare code and values where a record of another version does not fit."""
    try:
        return say(code, language, **values)
    except KeyError:  # a placeholder that the record does not know
        return f"{code} ({', '.join(f'{key}: {value}' for key, value in values.items())})"


def say(code: str, language: str = "en", /, **values: Any) -> str:
    """The sentence of ``code`` in ``language`` with ``values`` filled in.

    Raises :class:`UnknownName` for a code or language that the catalogue lacks.
    """
    entry = catalogue().get(code)
    if entry is None:
        raise UnknownName.among("message", code, catalogue())
    if language not in entry:
        raise UnknownName.among("language", language, LANGUAGES)
    return entry[language].format(**values)


@dataclass(frozen=True)
class Caution:
    """A reason to believe a number less: a message's code, the values that fill it, how grave it is."""

    code: str
    severity: Severity = "yellow"
    values: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, code: str, severity: Severity = "yellow", /, **values: Any) -> Caution:
        return cls(code, severity, MappingProxyType(values))

    def text(self, language: str = "en") -> str:
        return told(f"cautions.{self.code}", language, self.values)

    def __str__(self) -> str:
        return self.text()

    def marked(self, language: str = "en") -> str:
        """The sentence behind a word that says how grave it is."""
        grave = say(f"report.severity_{self.severity}", language)
        return say("narrative.caution", language, severity=grave, caution=self.text(language))

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "severity": self.severity, "values": dict(self.values)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Caution:
        return cls.of(data["code"], data["severity"], **data["values"])


def marked(cautions: Iterable[Caution]) -> str:
    """Cautions as the last lines of what a record prints, each behind how grave it is."""
    return "".join(f"\n  ! {caution.marked()}" for caution in cautions)

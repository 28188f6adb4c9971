"""Settings: the fields of a method or metric, with their ranges and meanings.

A setting is declared once, as ``steps: Annotated[int | None, Range(2, 10_000), "points on the path"]``. Its
check, its command-line option and its line in the docs all derive from that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np

from .errors import NotApplicable


@dataclass(frozen=True)
class Range:
    """The values a number, or each of several, may take, both ends included."""

    low: float = float("-inf")
    high: float = float("inf")

    def hold(self, value: Any) -> bool:
        """Whether ``value`` is a number within them; NaN is none."""
        return is_number(value) and self.low <= value <= self.high


def is_number(value: Any) -> bool:
    """Whether ``value`` counts or measures: Python's and numpy's numbers, truth values left out."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Setting:
    """One field as the faces see it."""

    name: str
    type: Any
    default: Any
    help: str
    range: Range | None

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be, where it is one of several."""
        parts = (self.type, *get_args(self.type))
        return tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))

    def refusal(self, value: Any) -> str:
        """What is wrong with a value; "" where it fits."""
        parts = value if isinstance(value, tuple) else (value,)
        if self.choices and value not in self.choices:
            return f"is none of {', '.join(map(repr, self.choices))}"
        if self.range is not None and not all(map(self.range.hold, parts)):
            return "is out of range"
        numbers = [part for part in parts if is_number(part)]
        if any(np.isnan(number) for number in numbers):
            return "is not a number"
        whole = int in (self.type, *get_args(self.type)) and float not in (self.type, *get_args(self.type))
        return "is not a whole number" if whole and any(number != int(number) for number in numbers) else ""


@dataclass(frozen=True)
class Settings:
    """Base of everything that is chosen by frozen fields. Raises :class:`NotApplicable` for a value out of range."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for setting in described(type(self)):
            value, limits = getattr(self, setting.name), setting.range
            refused = "" if value is None else setting.refusal(value)
            if refused:
                ends = "" if limits is None else f": from {limits.low:g} to {limits.high:g}"
                raise NotApplicable(
                    f"{type(self).__name__}({setting.name}={value!r}) {refused}", fix=f"{setting.help}{ends}"
                )
            if isinstance(value, (np.integer, np.floating)):
                object.__setattr__(self, setting.name, value.item())

    def settings(self) -> dict[str, Any]:
        """The fields as plain data; a field that is itself a choice is written as its name and fields."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    return {"name": value.name, **value.settings()} if isinstance(value, Settings) else value


@cache
def described(kind: type[Settings]) -> tuple[Setting, ...]:
    """The settings of a class, in order."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for f in fields(kind):
        hint, extras = hints[f.name], ()
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
        text = next((extra for extra in extras if isinstance(extra, str)), "")
        limits = next((extra for extra in extras if isinstance(extra, Range)), None)
        found.append(Setting(f.name, hint, f.default, text, limits))
    return tuple(found)

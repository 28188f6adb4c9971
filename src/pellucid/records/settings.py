"""Settings: the fields of a method or metric, with their ranges and meanings.

A setting is declared once, as ``steps: Annotated[int | None, Range(2, 10_000), "points on the path"]``. Its
check, its command-line option and its line in the docs all derive from that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from .errors import NotApplicable


@dataclass(frozen=True)
class Range:
    """The values a number, or each of several, may take, both ends included."""

    low: float = float("-inf")
    high: float = float("inf")

    def hold(self, value: Any) -> bool:
        """Whether ``value`` is a number within them."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


@dataclass(frozen=True)
class Setting:
    """One field as the faces see it."""

    name: str
    type: Any
    default: Any
    help: str
    range: Range | None


@dataclass(frozen=True)
class Settings:
    """Base of everything that is chosen by frozen fields. Raises :class:`NotApplicable` for a value out of range."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for setting in described(type(self)):
            value, limits = getattr(self, setting.name), setting.range
            if limits is None or value is None:
                continue
            if not all(limits.hold(part) for part in (value if isinstance(value, tuple) else (value,))):
                raise NotApplicable(
                    f"{type(self).__name__}({setting.name}={value!r}) is out of range",
                    fix=f"{setting.help}: from {limits.low:g} to {limits.high:g}",
                )

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

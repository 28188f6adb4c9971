"""The catalogue: names ↔ classes. It walks the rooms and adds what installed packages offer.

The only place where a name becomes a class. A third party adds a method with one entry point,
``[project.entry-points."pellucid.methods"]``, ``name = "package.module:Class"``.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_args, get_origin

from . import checks, methods, metrics
from .checks.check import Check
from .methods.method import Method
from .metrics.metric import Metric
from .records.errors import LoadError, NotApplicable, UnknownName
from .records.explanation import Explanation
from .records.room import members
from .records.settings import Setting, Settings, described

ROOMS: dict[str, tuple[Any, type]] = {
    "methods": (methods, Method),
    "metrics": (metrics, Metric),
    "checks": (checks, Check),
}
WORD = {"methods": "method", "metrics": "metric", "checks": "check"}


@cache
def everything(room: str) -> dict[str, type[Any]]:
    """All classes of a room by name: our own, then those of installed packages.

    Raises :class:`LoadError` where an installed package offers something that does not fit.
    """
    package, base = ROOMS[room]
    found = {member.name: member for member in members(package, base)}
    for entry in entry_points(group=f"pellucid.{room}"):
        try:
            offered = entry.load()
        except Exception as error:  # another package's fault must be told by its name
            raise LoadError(f"{entry.value} could not be imported", where=entry.name, why=str(error)) from error
        if not (isinstance(offered, type) and issubclass(offered, base)):
            raise LoadError(f"{entry.value} is not a {base.__name__}", where=f"entry point pellucid.{room}")
        if offered.name in found:
            raise LoadError(f"{entry.value} takes the name {offered.name!r}, which is taken")
        found[offered.name] = offered
    return dict(sorted(found.items()))


def find(room: str, given: Any, settings: dict[str, Any] | None = None) -> Any:
    """An object of the room from a name, a class, or an object as it is. Raises :class:`UnknownName`."""
    base = ROOMS[room][1]
    if isinstance(given, base):
        if settings:
            raise NotApplicable(
                f"{', '.join(settings)} given beside a finished {type(given).__name__}",
                fix=f"{type(given).__name__}({', '.join(f'{name}={value!r}' for name, value in settings.items())})",
            )
        return given
    if isinstance(given, type) and issubclass(given, base):
        return made(given, settings or {})
    if not isinstance(given, str):
        raise UnknownName(f"{given!r} is neither a {WORD[room]} nor the name of one")
    known = everything(room)
    name = given.strip().lower().replace("-", "_").replace(" ", "_")
    if name not in known:
        own = [kind.name for kind in known.values() if name in getattr(kind, "known_as", ())]
        if own:
            raise UnknownName(f"there is no {WORD[room]} named {given!r}", fix=f"it is called {own[0]!r} here")
        raise UnknownName.among(WORD[room], given, known)
    return made(known[name], settings or {})


def made(kind: type[Settings], settings: dict[str, Any]) -> Any:
    """An object of a class with settings given as data; text is read as the setting's type.

    Raises :class:`NotApplicable` naming the setting that is unknown or unreadable.
    """
    known = {setting.name: setting for setting in described(kind)}
    for name in settings:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            have = f"it has {', '.join(known) or 'no settings'}"
            raise NotApplicable(
                f"{kind.name} has no setting {name!r}", fix=f"did you mean {close[0]!r}? Else {have}" if close else have
            )
    return kind(**{name: _read(known[name], value, kind) for name, value in settings.items()})


def _read(setting: Setting, value: Any, kind: type[Settings]) -> Any:
    if isinstance(value, (str, dict)) and (room := _room_of(setting)):
        own = {"name": value} if isinstance(value, str) else value  # as Settings.settings writes them
        return find(room, own.get("name"), {name: said for name, said in own.items() if name != "name"})
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value  # a record's file knows lists only
    types = get_args(setting.type) or (setting.type,)
    if value.lower() in ("none", "") and type(None) in types:
        return None
    try:
        if bool in types:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if int in types and "," in value and any(get_origin(part) is tuple for part in types):
            return tuple(int(part) for part in value.split(","))
        if tuple[str, ...] in types and "," in value:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if int in types:
            return int(value)
        if float in types:
            return float(value)
    except (ValueError, KeyError) as error:
        raise NotApplicable(f"{kind.name}: {setting.name}={value!r} cannot be read", fix=setting.help) from error
    return value


def _room_of(setting: Setting) -> str:
    """The room that a setting is chosen from, where it is a method or the like; "" for any other."""
    bases = {base: room for room, (_, base) in ROOMS.items()}
    return bases.get(setting.type, "")


def methods_for(problem: Any) -> list[Any]:
    """The default methods that give numbers to players (controls left out) and that a problem can take."""
    return [
        kind()
        for kind in everything("methods").values()
        if kind.role == "method"
        and kind.default
        and kind.answers is Explanation
        and all(isinstance(problem.model, need) for need in kind.needs)
        and (not kind.kinds or problem.kind in kind.kinds)
    ]

"""A room: a package in which every file holds one member of a family (a method, a metric, a check).

The file's name is the member's name, in the field's spelling; its class is found by looking, so
that adding a member is adding a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


def members(package: ModuleType, base: type) -> Iterator[type]:
    """The concrete classes under ``base`` that the package's files define, in order of file and line."""
    for info in iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, base)
                and not inspect.isabstract(value)
                and value.__module__ == module.__name__
            ):
                yield value


def attribute_finder(package: ModuleType, base: Callable[[], type]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds its members by class name, importing them only then."""

    def find(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        for member in members(package, base()):
            if member.__name__ == name:
                return member
        known = ", ".join(sorted(member.__name__ for member in members(package, base())))
        raise AttributeError(f"{package.__name__} has no {name}; it has {known}")

    return find

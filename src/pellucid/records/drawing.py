"""The one late-bound door through which records draw themselves.

Records lie at the bottom of the house and reports near its top; a record may not import them.
The room ``reports`` registers its functions here when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

from .errors import NotApplicable, shorten

_FUNCTIONS: dict[tuple[str, type], Callable[..., Any]] = {}


def register(verb: str, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say that the decorated function answers ``verb`` (plot, text, html) for records of ``kind``."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS[verb, kind] = function
        return function

    return keep


def _refuse_other_kinds(function: Callable[..., Any], record: object, options: dict[str, Any]) -> None:
    """Raise :class:`NotApplicable` where a figure is asked for by name of a record that has only one."""
    if options.get("kind") is not None and "kind" not in signature(function).parameters:
        raise NotApplicable(
            f"a {type(record).__name__} has one figure, and none named {shorten(options['kind'])!r}",
            fix="leave the name out: plot(), or plot(row=…)",
        )


def draw(verb: str, record: object, **options: Any) -> Any:
    """Call the function registered for this verb and this record's class."""
    import_module("pellucid.reports.drawing")
    for kind in type(record).__mro__:
        if (verb, kind) in _FUNCTIONS:
            _refuse_other_kinds(_FUNCTIONS[verb, kind], record, options)
            return _FUNCTIONS[verb, kind](record, **options)
    raise NotApplicable(f"a {type(record).__name__} has no {verb}")

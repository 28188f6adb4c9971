"""Pellucid opens up trained neural networks and says how far each explanation can be trusted.

The verbs (``load``, ``wrap``, ``read``, ``explain``, ``evaluate``, ``compare``, ``audit``, ``inspect``,
``preflight``, ``open``, ``diff``) and the names ``methods``, ``metrics``, ``removals``, ``players``, ``targets``,
``Budget`` and ``Draws`` are fetched when first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": "doors.load",
    "wrap": "doors.wrap",
    "read": "data.reading",
    "explain": "studies.explaining",
    "explain_answer": "studies.language",
    "explain_context": "studies.language",
    "explain_entities": "studies.entities",
    "evaluate": "studies.evaluating",
    "compare": "studies.comparing",
    "audit": "studies.auditing",
    "open": "studies.opening",
    "diff": "studies.comparing",
    "inspect": "studies.inspecting",
    "preflight": "studies.preflight",
    "Budget": "engine.budget",
    "Asked": "data.asked_text",
    "Draws": "backends.dropout",
    "Encoding": "data.encoding",
    "Explanation": "records.explanation",
    "PellucidError": "records.errors",
    "Series": "data.series",
}
_MODULES = ("methods", "metrics", "removals", "players", "targets", "testing", "training")

__all__ = ["__version__", *_HOMES, *_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"pellucid has no {name}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)

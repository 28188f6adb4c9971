"""What there is and what came out, as plain data: the cards of methods and metrics, summaries of studies and scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from ..catalog import WORD, everything
from ..records.errors import UnknownName
from ..records.score import Score
from ..records.settings import Setting, described
from ..records.study import Failure, Study
from ..reports.words import Words

COST_OF = (8, 32, 128)
"""Numbers of players that a method's cost is told for."""


def card(room: str, name: str) -> dict[str, Any]:
    """All that a method or metric declares about itself. Raises :class:`UnknownName` with near misses."""
    known = everything(room)
    spelled = name.strip().lower().replace("-", "_").replace(" ", "_")
    if spelled not in known:
        raise UnknownName.among(WORD[room], name, known)
    kind = known[spelled]
    told = {
        "name": kind.name,
        "title": kind.title,
        "source": kind.source,
        "meaning": (kind.__doc__ or "").strip().split("\n")[0],
        "settings": [_setting(setting) for setting in described(kind)],
        "cost": {str(players): float(kind().cost(players)) for players in COST_OF},
    }
    return told | (_of_method(kind) if room == "methods" else _of_metric(kind))


def cards(room: str) -> list[dict[str, Any]]:
    """The cards of everything in a room, by name."""
    return [card(room, name) for name in everything(room)]


def _of_method(kind: Any) -> dict[str, Any]:
    return {
        "role": kind.role,
        "needs": [need.__name__ for need in kind.needs],
        "kinds": list(kind.kinds),
        "promises": list(kind.promises),
        "sampled": kind.sampled,
        "signed": kind.signed,
    }


def _of_metric(kind: Any) -> dict[str, Any]:
    return {
        "better": kind.better,
        "low": kind.low,
        "high": kind.high,
        "default": kind.default,
        "controlled": kind.controlled,
        "explains_again": kind.explains_again,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    limits = setting.range
    default = setting.default
    return {
        "name": setting.name,
        "type": _type(setting.type),
        "default": default if isinstance(default, (int, float, str, bool, type(None))) else repr(default),
        "help": setting.help,
        "low": None if limits is None else limits.low,
        "high": None if limits is None else limits.high,
    }


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(hint))
    if hint is type(None):
        return "none"
    if get_origin(hint) is tuple:
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        return "several " + " and ".join(dict.fromkeys(map(_type, parts)))
    if get_origin(hint) is not None:
        return " or ".join(_type(part) if isinstance(part, type) else str(part) for part in get_args(hint))
    return getattr(hint, "__name__", str(hint))


def score_rows(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """One row per score: method, metric, value, stderr, better, control (the best one), status, reason."""
    return [
        {
            "method": score.method,
            "metric": score.metric,
            "value": score.value,
            "stderr": score.stderr,
            "better": score.better,
            "control": score.control,
            "status": score.verdict,
            "reason": score.reason,
        }
        for score in scores
    ]


def failure_rows(failures: Iterable[Failure]) -> list[dict[str, Any]]:
    """One row per unit of work that gave no result; those that failed come before those that were skipped."""
    listed = sorted(failures, key=lambda failure: failure.status == "skipped")
    return [{**vars(failure), "rows": list(failure.rows)} for failure in listed]


def warnings_of(studies: Sequence[Study], language: str = "en") -> list[dict[str, str]]:
    """The warnings of all studies, the gravest first, each said once."""
    words, found = Words(language), {}
    for study in studies:
        for caution in study.ranked_warnings:
            found.setdefault(words.of(caution), (caution, study.name))
    order = ("red", "yellow", "note")
    ranked = sorted(found.items(), key=lambda entry: order.index(entry[1][0].severity))
    return [{"severity": c.severity, "code": c.code, "text": text, "study": name} for text, (c, name) in ranked]


def summary(study: Study, language: str = "en") -> dict[str, Any]:
    """A study in short, as data."""
    words = Words(language)
    return {
        "name": study.name,
        "folder": study.folder,
        "report": study.report,
        "methods": list(study.explanations),
        "scores": score_rows(study.scores),
        "findings": [{"severity": f.severity, "part": f.part, "text": words.of(f)} for f in study.findings],
        "warnings": warnings_of([study], language),
        "failed": failure_rows(study.failed),
        "provenance": dict(study.provenance),
    }

"""Which method is best here, and are two runs the same? Compares methods on a question, and studies with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..catalog import find
from ..doors.question import as_problem
from ..engine.budget import Budget
from ..engine.listener import Listener
from ..methods.method import Method
from ..problem.problem import Problem
from ..records.answer import Answer
from ..records.errors import Cancelled, InputError, PellucidError, shorten
from ..records.explanation import Explanation
from ..records.preflight import Preflight
from ..records.score import Scores
from ..records.study import Failure, Study
from ..store.folder import as_json
from .evaluating import evaluate
from .naming import labelled
from .opening import open as open_study
from .opening import runs_in
from .plan import chosen_methods, refuse_without_numbers

VOLATILE = ("created", "seconds", "command")
"""What two equal runs may differ in."""
ENVIRONMENT = ("hardware", "versions")
"""Parts of the provenance that say where a run was made, not what was asked."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods graded on one question.

    ``explanations``, ``scores``, the ranking and failures go by the caller's key, else by the method's name, with the
    settings that differ in brackets where a name occurs twice. ``ranking`` lists (method, mean rank over the metrics
    that have a better end); methods that failed are in ``failed`` and in no ranking, and controls never take part.
    """

    explanations: Mapping[str, Explanation]
    scores: Scores
    ranking: tuple[tuple[str, float], ...]
    failed: tuple[Failure, ...] = ()

    @property
    def preflight(self) -> Preflight | None:
        """What the model was found to be."""
        return self.scores.preflight

    def __repr__(self) -> str:
        lines = [f"{place}. {name} (mean rank {rank:.2f})" for place, (name, rank) in enumerate(self.ranking, 1)]
        lines += [f"!  {failure.method}: {failure.reason}" for failure in self.failed]
        return "\n".join([*lines, repr(self.scores)])


def compare(
    model: Any,
    rows: Any,
    methods: Any = "default",
    *,
    metrics: Any = "default",
    target: Any = "predicted",
    background: Any = None,
    removal: Any = None,
    players: Any = None,
    budget: Budget | int | None = None,
    seed: int = 0,
    listener: Listener | None = None,
) -> Comparison:
    """Explain the same question by several methods, grade them beside controls, and rank them.

    ``methods`` are ``"default"``, names or Method objects in a list, or a dict of them by names of the caller's own.
    A method that fails or does not apply is listed with its reason and ranked nowhere. Raises
    :class:`InputError` where no method gave an answer.
    """
    problem = as_problem(
        model, rows, target=target, background=background, removal=removal, players=players, fine=False, seed=seed
    )
    explanations, failed = {}, []
    everyone = tuple(range(len(problem.inputs)))
    for label, method in _by_label(methods, problem).items():
        try:
            refuse_without_numbers(method)
            explanations[label] = method.explain(problem, seed=seed, budget=budget, listener=listener)
        except Cancelled:
            raise
        except PellucidError as error:
            failed.append(Failure(label, everyone, "failed", str(error)))
        except Exception as error:  # noqa: BLE001 — whatever a third party's method raises costs this method alone
            failed.append(Failure(label, everyone, "failed", shorten(f"{type(error).__name__}: {error}", 2000)))
    if not explanations:
        raise InputError("no method gave an answer", why="; ".join(f"{f.method}: {f.reason}" for f in failed))
    same_target = None if problem.target.savable else target
    scores = evaluate(
        problem.model, rows, explanations, metrics=metrics, target=same_target, seed=seed, listener=listener
    )
    return Comparison(explanations, scores, ranked(scores), tuple(failed))


def _by_label(methods: Any, problem: Problem) -> dict[str, Method]:
    if isinstance(methods, Mapping):
        return {str(key): find("methods", one) for key, one in methods.items()}
    return labelled(chosen_methods(methods, problem))


def ranked(scores: Scores) -> tuple[tuple[str, float], ...]:
    """Methods by their mean rank over the metrics with a better end; a metric that a method lacks does not count."""
    places: dict[str, list[float]] = {name: [] for name in scores.methods()}
    for metric in dict.fromkeys(score.metric for score in scores):
        own = [s for s in scores if s.metric == metric and s.better != "neither" and np.isfinite(s.value)]
        if len(own) < 2:
            continue
        values = np.array([s.value if s.better == "higher" else -s.value for s in own])
        for score, value in zip(own, values, strict=True):
            places[score.method].append(1 + (values > value).sum() + ((values == value).sum() - 1) / 2)
    means = [(name, float(np.mean(found)) if found else float("nan")) for name, found in places.items()]
    return tuple(sorted(means, key=lambda pair: (np.isnan(pair[1]), pair[1])))


@dataclass(frozen=True)
class Difference:
    """Where two studies differ: the path of a value, and both values (arrays: how far apart they are at most).

    ``environment`` lists other hardware and other versions, which take nothing from ``identical``.
    """

    identical: bool
    places: tuple[Mapping[str, Any], ...] = field(default=())
    environment: tuple[Mapping[str, Any], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        parts = {"differences": self.places, "environment": self.environment}
        return {"identical": self.identical} | {name: [dict(place) for place in part] for name, part in parts.items()}

    def __repr__(self) -> str:
        lines = ["identical: every number agrees"] if self.identical else []
        lines += [
            f"{place['path']}: {place['first']} ≠ {place['second']}" for place in (*self.places, *self.environment)
        ]
        return "\n".join(lines)


def diff(first: Any, second: Any) -> Difference:
    """Compare two studies (or the folders of two runs) number by number; dates and durations do not count.

    Hardware and versions are listed apart. Two folders of runs, as the demonstration writes them, are compared run by
    run.
    """
    a, b = ({"": one} if isinstance(one, Study) else _opened(one) for one in (first, second))
    if len(a) == len(b) == 1:
        pairs = [("", *a.values(), *b.values())]
        places: list[dict[str, Any]] = []
    else:
        pairs = [(f"{name}: ", a[name], b[name]) for name in sorted(a.keys() & b.keys())]
        places = [{"path": name, "first": name in a, "second": name in b} for name in sorted(a.keys() ^ b.keys())]
    environment: list[dict[str, Any]] = []
    for lead, one, other in pairs:
        places += [{**place, "path": lead + place["path"]} for place in _differences(one, other)]
        environment += [{**place, "path": lead + place["path"]} for place in _elsewhere(one, other)]
    return Difference(not places, tuple(places), tuple(environment))


def _opened(path: Any) -> dict[str, Study]:
    return {run.name: open_study(run) for run in runs_in(path)}


def _elsewhere(a: Study, b: Study) -> list[dict[str, Any]]:
    places: list[dict[str, Any]] = []
    here, there = (as_json({key: study.provenance.get(key) for key in ENVIRONMENT}) for study in (a, b))
    _walk("provenance", here, there, places)
    return places


def _differences(a: Study, b: Study) -> list[dict[str, Any]]:
    places: list[dict[str, Any]] = []
    _walk("", _as_data(a), _as_data(b), places)
    own, others = ({f"explanations.{k}": e for k, e in study.explanations.items()} for study in (a, b))
    own, others = (
        {**kept, "truth": study.truth, "overall": study.overall, "path": study.path}
        for kept, study in ((own, a), (others, b))
    )
    for path in sorted(own.keys() | others.keys()):
        one, other = own.get(path), others.get(path)
        if one is None or other is None:
            if one is not other:
                places.append({"path": path, "first": one is not None, "second": other is not None})
            continue
        _walk(path, _record(one), _record(other), places)
        mine, theirs = _arrays_of(one), _arrays_of(other)
        for name in mine:
            _arrays(f"{path}.{name}", mine[name], theirs[name], places)
    return places


def _arrays_of(record: Answer) -> dict[str, np.ndarray | None]:
    """Every array of a record, the players' map and the raw rows included."""
    rows = record.rows if isinstance(record.rows, np.ndarray) else None
    kept = {name: vars(record)[name] for name in (*record.by_row, *record.shared)}
    return {**kept, "players.labels": record.players.labels, "rows": rows}


def _as_data(study: Study) -> Any:
    kept = {key: value for key, value in study.provenance.items() if key not in (*VOLATILE, *ENVIRONMENT)}
    return as_json(
        {
            "model": dict(study.model),
            "provenance": kept,
            "profile": None if study.profile is None else study.profile.to_dict(),
            "scores": {f"{s.metric} of {s.method}": {**s.to_dict(), "seconds": 0} for s in study.scores},
            "findings": [finding.to_dict() for finding in study.findings],
            "predictions": list(study.predictions),
            "failed": [{**vars(failure), "seconds": 0} for failure in study.failed],
            "preflight": None if study.preflight is None else {**study.preflight.to_dict(), "costs": []},
        }
    )


def _record(record: Answer) -> Any:
    """The record as data, without what it cost in seconds, and in rows.

    A model that is met for the first time in a process is probed with some rows more, which says nothing of the answer;
    evaluations are compared.
    """
    data = record.to_dict()
    return as_json({**data, "cost": {**data["cost"], "seconds": 0, "rows": 0}})


def _walk(path: str, a: Any, b: Any, places: list[dict[str, Any]]) -> None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            _walk(f"{path}.{key}".lstrip("."), a.get(key), b.get(key), places)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            _walk(f"{path}[{place}]", one, other, places)
    elif a != b:
        places.append({"path": path, "first": _short(a), "second": _short(b)})


def _arrays(path: str, a: np.ndarray | None, b: np.ndarray | None, places: list[dict[str, Any]]) -> None:
    if a is None or b is None or a.shape != b.shape:
        if a is not b:
            shapes = [None if array is None else array.shape for array in (a, b)]
            places.append({"path": path, "first": str(shapes[0]), "second": str(shapes[1])})
    elif a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        if not np.array_equal(a, b):
            places.append({"path": path, "first": "differs", "second": ""})
    elif not np.array_equal(a, b, equal_nan=True):
        gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
        apart = float(np.nanmax(gap)) if np.isfinite(gap).any() else float("nan")
        places.append({"path": path, "first": f"differs by up to {apart:.3g}", "second": ""})


def _short(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= 200 else text[:200] + "…"

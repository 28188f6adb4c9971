"""Which method is best here, and are two runs the same? Compares methods on a question, and studies with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..doors.question import as_problem
from ..engine.budget import Budget
from ..engine.listener import Listener
from ..records.errors import InputError, PellucidError
from ..records.explanation import Explanation
from ..records.score import Scores
from ..records.study import Failure, Study
from ..store.folder import as_json
from .evaluating import evaluate
from .opening import open as open_study
from .opening import runs_in
from .plan import chosen_methods

VOLATILE = ("created", "seconds", "command")
"""What two equal runs may differ in."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods graded on one question.

    ``ranking`` lists (method, mean rank over the metrics that have a better end); methods that failed are in
    ``failed`` and in no ranking, and controls never take part.
    """

    explanations: Mapping[str, Explanation]
    scores: Scores
    ranking: tuple[tuple[str, float], ...]
    failed: tuple[Failure, ...] = ()

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

    A method that fails or does not apply is listed with its reason and ranked nowhere. Raises
    :class:`InputError` where no method gave an answer.
    """
    problem = as_problem(
        model, rows, target=target, background=background, removal=removal, players=players, fine=False, seed=seed
    )
    explanations, failed = {}, []
    for method in chosen_methods(methods, problem):
        try:
            explanations[method.name] = method.explain(problem, seed=seed, budget=budget, listener=listener)
        except PellucidError as error:
            failed.append(Failure(method.name, tuple(range(len(problem.inputs))), "failed", str(error)))
    if not explanations:
        raise InputError("no method gave an answer", why="; ".join(f"{f.method}: {f.reason}" for f in failed))
    same_target = None if problem.target.savable else target
    scores = evaluate(
        problem.model, rows, explanations, metrics=metrics, target=same_target, seed=seed, listener=listener
    )
    return Comparison(explanations, scores, ranked(scores), tuple(failed))


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
    """Where two studies differ: the path of a value, and both values (arrays: how far apart they are at most)."""

    identical: bool
    places: tuple[Mapping[str, Any], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {"identical": self.identical, "differences": [dict(place) for place in self.places]}

    def __repr__(self) -> str:
        if self.identical:
            return "identical: every number agrees"
        return "\n".join(f"{place['path']}: {place['first']} ≠ {place['second']}" for place in self.places)


def diff(first: Any, second: Any) -> Difference:
    """Compare two studies (or the folders of two runs) number by number; dates and durations do not count.

    Two folders of runs, as the demonstration writes them, are compared run by run.
    """
    a, b = ({"": one} if isinstance(one, Study) else _opened(one) for one in (first, second))
    if len(a) == len(b) == 1:
        places = _differences(*a.values(), *b.values())
        return Difference(not places, tuple(places))
    places = [
        {"path": name, "first": name in a, "second": name in b} for name in sorted(a.keys() ^ b.keys())
    ]  # fmt: skip
    for name in sorted(a.keys() & b.keys()):
        places += [{**place, "path": f"{name}: {place['path']}"} for place in _differences(a[name], b[name])]
    return Difference(not places, tuple(places))


def _opened(path: Any) -> dict[str, Study]:
    return {run.name: open_study(run) for run in runs_in(path)}


def _differences(a: Study, b: Study) -> list[dict[str, Any]]:
    places: list[dict[str, Any]] = []
    _walk("", _as_data(a), _as_data(b), places)
    for name in sorted(a.explanations.keys() | b.explanations.keys()):
        one, other = a.explanations.get(name), b.explanations.get(name)
        if one is None or other is None:
            places.append({"path": f"explanations.{name}", "first": one is not None, "second": other is not None})
            continue
        _walk(f"explanations.{name}", _record(one), _record(other), places)
        for array in ("attributions", "base", "full", "errors", "gaps"):
            _arrays(f"explanations.{name}.{array}", getattr(one, array), getattr(other, array), places)
    return places


def _as_data(study: Study) -> Any:
    kept = {key: value for key, value in study.provenance.items() if key not in VOLATILE}
    return as_json(
        {
            "model": dict(study.model),
            "provenance": kept,
            "profile": None if study.profile is None else study.profile.to_dict(),
            "scores": {f"{s.metric} of {s.method}": {**s.to_dict(), "seconds": 0} for s in study.scores},
            "findings": [finding.to_dict() for finding in study.findings],
            "predictions": list(study.predictions),
            "failed": [{**vars(failure), "seconds": 0} for failure in study.failed],
        }
    )


def _record(explanation: Explanation) -> Any:
    data = explanation.to_dict()
    return as_json({**data, "cost": {**data["cost"], "seconds": 0}})


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
    elif not np.array_equal(a, b, equal_nan=True):
        apart = float(np.nanmax(np.abs(a - b))) if np.isfinite(a - b).any() else float("nan")
        places.append({"path": path, "first": f"differs by up to {apart:.3g}", "second": ""})


def _short(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= 200 else text[:200] + "…"

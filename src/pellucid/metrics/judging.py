"""Judging: runs metrics over an explanation and its controls, on the very question it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..engine.budget import Budget
from ..engine.engine import Opened, opened
from ..engine.listener import Listener, Silent
from ..engine.session import Session
from ..methods.controls import EdgeFilter, InputMagnitude, RandomControl
from ..methods.method import Method
from ..problem.problem import Problem
from ..problem.target import BoundTarget
from ..records.errors import InputError, NotApplicable, PellucidError, TargetError
from ..records.explanation import Explanation
from ..records.joining import merged
from ..records.messages import Caution
from ..records.score import Score, Scores
from .metric import Case, Explainer, Judged, Metric

DRAWS = 10
"""Random attributions drawn for each control figure."""
AGAIN_ROWS = 8
"""Metrics that explain again do so for the first so many rows of a part (in the order of their ids)."""
CONTROL_ROWS = 8
"""Controls are judged on the first so many rows (in the order of their ids), to stay cheap."""
UNSTABLE = 0.7


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is to be judged beside the explanation itself.

    Attributes
    ----------
    method: the method that made it, for metrics that explain again; None for foreign attributions.
    explainer: stands in for the method: a function of a session to values ``[Q, n]``.
    others: explanations of the same rows and targets by other methods, for agreement.
    truth: the known contributions of the same rows.
    """

    explanation: Explanation
    method: Method | None = None
    explainer: Explainer | None = None
    others: Mapping[str, Explanation] = field(default_factory=dict)
    truth: Explanation | None = None

    def again(self) -> Explainer | None:
        if self.explainer is not None:
            return self.explainer
        method = self.method
        if method is None:
            return None
        return lambda session: method.estimate(session.reseeded(session.seed, method.name)).values


def judge(
    problem: Problem,
    judgement: Judgement,
    metrics: Sequence[Metric],
    *,
    seed: int = 0,
    controls: bool = True,
    listener: Listener | None = None,
) -> Scores:
    """Score one explanation by several metrics.

    A metric that has nothing to say gives a skipped score with the reason; one that fails, a failed
    one. Raises :class:`InputError` where the explanation is of other rows.
    """
    explanation, listener = judgement.explanation, listener or Silent()
    if explanation.ids and explanation.ids != problem.inputs.ids:
        raise InputError("the explanation is of other rows", fix="give evaluate the very rows that were explained")
    scores, budget = [], Budget(**explanation.budget)
    with opened(
        problem,
        explanation.method,
        seed=seed,
        budget=budget,
        listener=listener,
        bound=bound_again(explanation, problem),
    ) as run:
        for metric in metrics:
            listener.started(f"{metric.name} of {explanation.method}", 1)
            scores.append(_scored(metric, judgement, run, controls))
            listener.finished()
    return Scores(scores)


def bound_again(explanation: Explanation, problem: Problem) -> BoundTarget | None:
    """The target that the record was bound to; None where there is none to go by (then it is bound anew).

    Raises :class:`TargetError` for a target that is code and was not given again.
    """
    if explanation.target.get("kind") == "function":
        if problem.target.savable:
            raise TargetError("the explained target is a function, which a record cannot hold", fix="pass target=")
        return None
    if explanation.columns is None:
        return None
    columns = torch.from_numpy(explanation.columns.copy())
    if columns.ndim == 3:
        return BoundTarget(columns[..., 0], explanation.outputs, dict(explanation.target), against=columns[..., 1])
    return BoundTarget(columns, explanation.outputs, dict(explanation.target))


def _scored(metric: Metric, judgement: Judgement, run: Opened, controls: bool) -> Score:
    began, rows_before = time.perf_counter(), run.caller.tally.rows
    explanation = judgement.explanation
    fields: dict[str, Any] = {"metric": metric.name, "method": explanation.method, "better": metric.better}
    fields |= {"low": metric.low, "high": metric.high, "settings": metric.settings()}
    N = len(explanation)
    try:
        values, curves, control, judged_rows, refusals = np.full(N, np.nan), {}, {}, [], []
        for rows, session in run.parts:
            case = _case(judgement, metric, rows, session)
            if metric.explains_again:
                case, rows = case.take(AGAIN_ROWS), rows[:AGAIN_ROWS]
            try:
                judged = metric.score(case)
            except NotApplicable as error:
                refusals.append(error)  # rows of one player, say; the others can still be judged
                continue
            values[rows] = _per_row(judged.values, len(rows))
            judged_rows.append(rows)
            curves = curves or dict(judged.curves)
            if controls and metric.controlled:
                for name, value in _controls(metric, case).items():
                    control.setdefault(name, []).append((value, len(rows)))
        if not judged_rows:
            raise refusals[0]
    except NotApplicable as error:
        return Score(**fields, values=np.full(N, np.nan), status="skipped", reason=str(error))
    except PellucidError as error:
        return Score(**fields, values=np.full(N, np.nan), status="failed", reason=str(error))
    except (ArithmeticError, ValueError, RuntimeError, IndexError, TypeError) as error:  # a metric's own fault
        return Score(**fields, values=np.full(N, np.nan), status="failed", reason=f"{type(error).__name__}: {error}")
    score = Score(
        **fields,
        values=values,
        controls={name: _weighted(parts) for name, parts in control.items()},
        curves=curves,
        seed=run.parts[0][1].seed,
        evaluations=(run.caller.tally.rows - rows_before) / N,
        seconds=time.perf_counter() - began,
    )
    return _with_cautions(score, metric, np.concatenate(judged_rows))


def _case(judgement: Judgement, metric: Metric, rows: np.ndarray, session: Session) -> Case:
    """One part's case. The metric's own draws go by its name, so that every explanation meets the same ones."""

    def of(explanation: Explanation) -> np.ndarray:
        """This part's values ``[Q, n]``."""
        values = explanation.attributions[rows][:, : session.n]
        return np.ascontiguousarray(values.transpose(0, 2, 1).reshape(-1, session.n))

    explanation, method = judgement.explanation, judgement.method
    same = {k: e for k, e in judgement.others.items() if e.attributions.shape == explanation.attributions.shape}
    return Case(
        session.reseeded(session.seed, metric.name),
        of(explanation),
        explanation.base[rows].reshape(-1),
        explanation.full[rows].reshape(-1),
        explainer=judgement.again(),
        sampled=bool(method and method.sampled),
        seed=explanation.seed,
        promises=method.promises if method else None,
        others={name: of(other) for name, other in same.items()},
        truth=None if judgement.truth is None else of(judgement.truth),
    )


def _per_row(values: np.ndarray, rows: int) -> np.ndarray:
    """Values per question as values per row: the mean over its targets."""
    return values.reshape(rows, -1).mean(1)


def _controls(metric: Metric, case: Case) -> dict[str, float]:
    """The metric's value for attributions that know nothing: random ones (ten draws), |input|, image edges."""
    small = case.take(CONTROL_ROWS)
    session, found = small.session, {}
    random = RandomControl()
    draws = [_control_value(metric, small, random, session.reseeded(draw, "random")) for draw in range(DRAWS)]
    found["random"] = _mean(draws)
    for control in (InputMagnitude(), EdgeFilter()):
        if session.kind in control.kinds:
            found[control.name] = _control_value(metric, small, control, session)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _control_value(metric: Metric, case: Case, control: Method, session: Session) -> float:
    """The metric's mean for one control; NaN where it has nothing to say about it."""
    seed = session.seed

    def again(other: Session) -> np.ndarray:
        return control.estimate(other.reseeded(other.seed + seed, control.name)).values

    try:
        judged: Judged = metric.score(case.with_values(control.estimate(session).values, again, control.sampled))
    except NotApplicable:
        return float("nan")
    return _mean(judged.values)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _weighted(parts: Sequence[tuple[float, int]]) -> float:
    values, weights = zip(*parts, strict=True)
    return float(np.average(values, weights=weights))


def _with_cautions(score: Score, metric: Metric, judged: np.ndarray) -> Score:
    cautions, undefined = [], int((~np.isfinite(score.values[judged])).sum())
    if undefined:
        cautions.append(Caution.of("score_undefined", "note", metric=metric.name, rows=undefined, total=len(judged)))
    if metric.alarms and np.isfinite(score.value) and score.controls:
        best = max(score.controls, key=lambda name: score.controls[name])
        if score.value < score.controls[best]:
            cautions.append(
                Caution.of("beaten_by_control", "red", method=score.method, control=best, metric=metric.name)
            )
    if metric.name == "seed_stability" and score.value < UNSTABLE:
        cautions.append(Caution.of("unstable", "yellow", method=score.method, value=score.value))
    return Score(**{**vars(score), "warnings": merged(cautions)}) if cautions else score

"""Judging: runs metrics over an explanation and its controls, on the very question it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..engine.budget import Budget
from ..engine.lengths import looks_inside
from ..engine.listener import Listener, Silent
from ..engine.opening import Opened, opened
from ..engine.session import Session
from ..methods.controls import EdgeFilter, Frequency, InputMagnitude, LocalDeviation, RandomControl, WordLength
from ..methods.method import Method
from ..problem.problem import Problem
from ..problem.target import BoundTarget
from ..records.errors import Cancelled, InputError, NotApplicable, PellucidError, TargetError
from ..records.explanation import Explanation
from ..records.joining import merged
from ..records.messages import Caution
from ..records.regions import Regions
from ..records.score import TELLING, Score, Scores
from .metric import Case, Explainer, Metric

DRAWS = 10
"""Random attributions drawn for each control figure."""
AGAIN_ROWS = 8
"""Metrics that explain again do so for the first so many rows of a part (in the order of their ids)."""
CONTROL_ROWS = 8
"""Controls are judged on the first so many rows (in the order of their ids), to stay cheap."""
UNSTABLE = 0.7
GRID = 9
"""Decimals to which the steps of curves are taken for the same."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is to be judged beside the explanation itself.

    Attributes
    ----------
    method: the method that made it, for metrics that explain again; None for foreign attributions.
    explainer: stands in for the method: a function of a session to values ``[Q, n]``.
    others: explanations of the same rows and targets by other methods, for agreement.
    truth: the known contributions of the same rows.
    regions: where in these rows the evidence is known to lie.
    texts: texts in which a control counts how rare words are; without any, the explained ones.
    label: what to call it among others; by default the method's name.
    """

    explanation: Explanation
    method: Method | None = None
    explainer: Explainer | None = None
    others: Mapping[str, Explanation] = field(default_factory=dict)
    truth: Explanation | None = None
    regions: Regions | None = None
    texts: tuple[str, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or self.explanation.method

    @property
    def texts_counted(self) -> tuple[str, ...]:
        """The texts in which words are counted: those given, else the explained ones."""
        rows = self.explanation.rows
        own = rows if isinstance(rows, (list, tuple)) else ()
        return self.texts or tuple(row for row in own if isinstance(row, str))

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
    one. Raises :class:`InputError` where the explanation, or the truth, is of other rows.
    """
    explanation, listener = judgement.explanation, listener or Silent()
    _refuse_other_rows(problem, explanation, "the explanation is", "give evaluate the very rows that were explained")
    if judgement.truth is not None:
        _refuse_other_rows(problem, judgement.truth, "the known contributions are", "give those of the explained rows")
    scores, budget = [], Budget(**explanation.budget)
    with opened(
        problem,
        explanation.method,
        seed=explanation.seed,  # the reference rows that were drawn are part of the question
        budget=budget,
        listener=listener,
        bound=bound_again(explanation, problem),
        inside=judgement.method is not None and looks_inside(judgement.method.needs),
    ) as run:
        for metric in metrics:
            listener.started(f"{metric.name} of {judgement.name}", 1)
            scores.append(_scored(metric, judgement, run, controls, seed))
            listener.finished()
    return Scores(scores)


def _refuse_other_rows(problem: Problem, explanation: Explanation, what: str, fix: str) -> None:
    if len(explanation) != len(problem.inputs):
        raise InputError(f"{what} of {len(explanation)} rows, but {len(problem.inputs)} rows were given", fix=fix)
    if explanation.ids and explanation.ids != problem.inputs.ids:
        raise InputError(f"{what} of other rows", fix=fix)


def bound_again(explanation: Explanation, problem: Problem) -> BoundTarget | None:
    """The target that the record was bound to; None where there is none to go by (then it is bound anew).

    Raises :class:`TargetError` for a target that a record cannot hold and that was not given again.
    """
    kind = explanation.target.get("kind")
    if kind in ("function", "loss"):
        if problem.target.savable:
            fix = "pass target=" if kind == "function" else "give the data with their labels, or target= with them"
            raise TargetError(f"the explained target is a {kind}, which a record cannot hold", fix=fix)
        return None
    if explanation.columns is None:
        return None
    columns = torch.from_numpy(explanation.columns.copy())
    if columns.ndim == 3:
        return BoundTarget(columns[..., 0], explanation.outputs, dict(explanation.target), against=columns[..., 1])
    return BoundTarget(columns, explanation.outputs, dict(explanation.target))


def _scored(metric: Metric, judgement: Judgement, run: Opened, controls: bool, seed: int) -> Score:
    began, rows_before = time.perf_counter(), run.caller.tally.rows
    fields: dict[str, Any] = {"metric": metric.name, "method": judgement.name, "better": metric.better}
    fields |= {"low": metric.low, "high": metric.high, "settings": metric.settings()}
    N = len(judgement.explanation)
    empty = np.full(N, np.nan)
    try:
        found = _over_parts(metric, judgement, run, controls, seed)
    except Cancelled:
        raise
    except NotApplicable as error:
        return Score(**fields, values=empty, status="skipped", reason=str(error))
    except PellucidError as error:
        return Score(**fields, values=empty, status="failed", reason=str(error))
    except Exception as error:  # noqa: BLE001 — whatever a third party's metric or explainer raises costs this score alone
        return Score(**fields, values=empty, status="failed", reason=f"{type(error).__name__}: {error}"[:2000])
    score = Score(
        **fields,
        values=found.values,
        controls={name: _mean(values) for name, values in found.controls.items()},
        curves=_averaged(found.curves),
        seed=seed,
        evaluations=(run.caller.tally.rows - rows_before) / N,
        seconds=time.perf_counter() - began,
    )
    return _with_cautions(score, metric, found)


@dataclass
class _Found:
    """What a metric found over all parts.

    ``values`` and each of ``controls`` are ``Float64[N]``, NaN where a row was not judged; ``rows`` are those that
    were; ``curves`` holds those of each part with the number of rows behind them.
    """

    values: np.ndarray
    controls: dict[str, np.ndarray] = field(default_factory=dict)
    curves: list[tuple[Mapping[str, np.ndarray], int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def _over_parts(metric: Metric, judgement: Judgement, run: Opened, controls: bool, seed: int) -> _Found:
    """The metric's values part by part. Raises :class:`NotApplicable` where it has nothing to say of any."""
    N = len(judgement.explanation)
    found, refusals = _Found(np.full(N, np.nan)), []
    for rows, session in run.parts:
        case = _case(judgement, metric, rows, session.reseeded(seed, metric.name))
        if metric.explains_again:
            case, rows = case.take(AGAIN_ROWS), rows[:AGAIN_ROWS]
        try:
            judged = metric.score(case)
        except NotApplicable as error:
            refusals.append(error)  # rows of one player, say; the others can still be judged
            continue
        found.values[rows] = _per_row(judged.values, len(rows))
        found.rows += rows.tolist()
        found.curves.append((judged.curves, int(np.isfinite(found.values[rows]).sum())))
        if controls and metric.controlled:
            for name, values in _controls(metric, case, judgement).items():
                found.controls.setdefault(name, np.full(N, np.nan))[rows[: len(values)]] = values
    if not found.rows:
        raise refusals[0]
    return found


def _averaged(parts: Sequence[tuple[Mapping[str, np.ndarray], int]]) -> dict[str, np.ndarray]:
    """The curves ``Float64[points, 2]`` of all parts as one of each name: their mean, weighted by rows.

    Parts with another number of players have other steps; in between a curve is a straight line.
    """
    averaged = {}
    for name in dict.fromkeys(name for curves, _ in parts for name in curves):
        own = [(np.asarray(curves[name]), rows) for curves, rows in parts if name in curves and rows]
        if not own:
            continue
        grid = np.unique(np.concatenate([curve[:, 0] for curve, _ in own]).round(GRID))
        if all(len(curve) == len(grid) for curve, _ in own):
            grid = own[0][0][:, 0]  # the very steps, not rounded
        heights = [np.interp(grid, curve[:, 0], curve[:, 1]) for curve, _ in own]
        averaged[name] = np.column_stack([grid, np.average(heights, axis=0, weights=[rows for _, rows in own])])
    return averaged


def _case(judgement: Judgement, metric: Metric, rows: np.ndarray, session: Session) -> Case:
    """One part's case. The metric's own draws go by its name, so that every explanation meets the same ones."""

    def of(explanation: Explanation) -> np.ndarray:
        """This part's values ``[Q, n]``."""
        values = explanation.attributions[rows][:, : session.n]
        return np.ascontiguousarray(values.transpose(0, 2, 1).reshape(-1, session.n))

    explanation, method = judgement.explanation, judgement.method
    same = {k: e for k, e in judgement.others.items() if e.attributions.shape == explanation.attributions.shape}
    return Case(
        session,
        of(explanation),
        explanation.base[rows].reshape(-1),
        explanation.full[rows].reshape(-1),
        explainer=judgement.again(),
        sampled=bool(method and method.sampled),
        seed=explanation.seed,
        exact=_exact(explanation, rows),
        promises=method.promises if method else None,
        others={name: of(other) for name, other in same.items()},
        truth=None if judgement.truth is None else of(judgement.truth),
        inside=None if judgement.regions is None else _inside(judgement.regions, rows, session),
    )


def _inside(regions: Regions, rows: np.ndarray, session: Session) -> np.ndarray:
    """This part's shares inside ``[Q, n]``."""
    return regions.inside[rows][:, : session.n].repeat(session.targets, 0)


def _exact(explanation: Explanation, rows: np.ndarray) -> bool:
    """Whether the method says that nothing was left to chance in these rows."""
    told = explanation.notes.get("exact", False)
    return all(told[row] for row in rows) if isinstance(told, list) else bool(told)


def _per_row(values: np.ndarray, rows: int) -> np.ndarray:
    """Values per question as values per row: the mean over its targets."""
    return values.reshape(rows, -1).mean(1)


def _controls(metric: Metric, case: Case, judgement: Judgement) -> dict[str, np.ndarray]:
    """The metric's values for attributions that know nothing: random ones (ten draws), |input|, edges, what
    stands out of a series, rare words.

    ``Float64[rows]`` each, of the case's first rows; NaN where there is nothing to say.
    """
    small = case.take(CONTROL_ROWS)
    session, found = small.session, {}
    random = RandomControl()
    draws = [_control_values(metric, small, random, session.reseeded(draw, "random")) for draw in range(DRAWS)]
    found["random"] = _mean_of_draws(np.array(draws))
    for control in (InputMagnitude(), EdgeFilter(), LocalDeviation(), WordLength(), Frequency(judgement.texts_counted)):
        if session.kind in control.kinds:
            found[control.name] = _control_values(metric, small, control, session)
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def _control_values(metric: Metric, case: Case, control: Method, session: Session) -> np.ndarray:
    """The metric's value for one control, row by row; NaN where it has nothing to say, or fails at it."""
    seed, rows = session.seed, len(session)

    def again(other: Session) -> np.ndarray:
        return control.estimate(other.reseeded(other.seed + seed, control.name)).values

    try:
        judged = metric.score(case.with_values(control.estimate(session).values, again, control.sampled))
        return _per_row(judged.values, rows)
    except Cancelled:
        raise
    except Exception:  # noqa: BLE001 — a control that a third party's metric cannot take costs itself alone
        return np.full(rows, np.nan)


def _mean_of_draws(values: np.ndarray) -> np.ndarray:
    """The mean over draws ``[draws, rows]`` of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _with_cautions(score: Score, metric: Metric, found: _Found) -> Score:
    cautions, undefined = [], int((~np.isfinite(score.values[found.rows])).sum())
    if undefined:
        cautions.append(
            Caution.of("score_undefined", "note", metric=metric.name, rows=undefined, total=len(found.rows))
        )
    if metric.alarms:
        cautions += _beaten(score, found.controls)
    if metric.name == "seed_stability" and score.value < UNSTABLE:
        cautions.append(Caution.of("unstable", "yellow", method=score.method, value=score.value))
    return Score(**{**vars(score), "warnings": merged(cautions)}) if cautions else score


def _beaten(score: Score, controls: Mapping[str, np.ndarray]) -> list[Caution]:
    """A caution where the best control does as well: red where it does better, by one standard error or more.

    Both are compared on the rows that both were judged on, pair by pair. A few of them tell nothing.
    """
    ahead: dict[str, np.ndarray] = {}
    for name, values in controls.items():
        both = np.isfinite(score.values) & np.isfinite(values)
        if both.sum() >= TELLING:
            ahead[name] = (score.values - values)[both] * (-1.0 if score.better == "lower" else 1.0)
    if not ahead:
        return []
    best = min(ahead, key=lambda name: ahead[name].mean())
    margin = ahead[best].mean()
    error = ahead[best].std(ddof=1) / np.sqrt(len(ahead[best]))
    if margin > error:
        return []
    severity = "red" if margin < -error else "yellow"
    return [Caution.of("beaten_by_control", severity, method=score.method, control=best, metric=score.metric)]

"""The main job: everything about one model on one data set, resumable, with its report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import find
from ..data.dataset import Dataset
from ..data.profiling import profile
from ..data.reading import is_unchanged, read
from ..engine.budget import Budget
from ..engine.listener import Listener, Silent
from ..methods.method import Method
from ..metrics.judging import Judgement, judge
from ..metrics.metric import Metric
from ..problem.model import Traceable
from ..problem.problem import Problem
from ..records.explanation import Explanation
from ..records.files import digest, dumps, read_json
from ..records.flow import Flow
from ..records.importance import Importance
from ..records.joining import joined
from ..records.messages import Caution
from ..records.recording import Recording
from ..records.score import Score, Scores
from ..records.study import Failure, Study
from ..store.folder import SPENT, Folder, key_of
from ..store.keeping import keep_study, read_study
from .checking import checked, predictions
from .entities import entity_predictions, with_entities
from .plan import Choices, Plan, planned
from .preflight import preflight_of
from .provenance import model_card, provenance
from .publishing import publish
from .work import Unit, Workshop, can_fork

BLOCK = 64
"""Items per unit of work; a failing unit is halved to the guilty item."""
EVALUATIONS = {"image": 512, "text": 512}
"""Evaluations per explained number where no budget says otherwise; 1,024 for what is not listed."""
OVERALL = "permutation_importance"
"""The method that says what matters over all rows."""
PATH, PATHS = "decision_path", 3
"""The method that follows decisions through the network; of so many of the explained rows."""
DISAGREE = 0.5
EXPLAINING = 0.6
"""The share of a run's seconds that explaining may take; the rest is for grading."""


def audit(
    model: Any,
    data: Any,
    *,
    label: str | None = None,
    encoding: Any = None,
    out: str | os.PathLike[str] = "runs/audit",
    methods: Any = "default",
    metrics: Any = "default",
    rows: int = 24,
    target: Any = "predicted",
    background: Any = None,
    removal: Any = None,
    players: Any = None,
    budget: Budget | int | None = None,
    seed: int = 0,
    truth: Any = None,
    recording: Recording | str | os.PathLike[str] | None = None,
    name: str = "",
    language: str = "en",
    timeout: float | None = 600.0,
    workers: int | None = None,
    fresh: bool = False,
    command: str = "",
    listener: Listener | None = None,
) -> Study:
    """Explain, grade and check a model on held-out rows; keep all of it in a folder with a report.

    Parameters
    ----------
    model: a model, a module, or a path for :func:`pellucid.load`.
    data: a Dataset, or a path for :func:`pellucid.read` (then ``label`` names its label).
    out: the run's folder. The same question goes on where it stopped; another one is refused unless ``fresh``.
    methods, metrics: ``"default"`` (all that apply), or a list of names or objects.
    rows: how many rows of the test split are explained, drawn by the seed.
    background, removal: what "absent" means; by default 50 training rows for tables, a blur for images, for texts the
        network's own mask token (else hidden from it; deleted from what a function of texts is given).
    truth: a function from (raw rows, raw reference rows) to the known contributions ``[N, n]``; or where the evidence
        is known to lie in every row of the data: ``Boxes``, a mask of truth values, in the network's own pixels, or
        ``Spans`` of texts. What people marked in the data themselves (``data.evidence``) needs no mention.
    recording: what a :class:`pellucid.training.recorder.Recorder` kept of the training, or its file, for the report.
    timeout: seconds per unit of work (a method on 64 rows, or a metric on a method).
    workers: units at once; by default one per core, at most four.

    Raises :class:`StoreError` for a folder that holds another run, and what loading and reading raise.
    """
    began = time.time()
    data = data if isinstance(data, Dataset) else read(data, label=label, seed=seed)
    choices = Choices(methods, metrics, rows, target, background, removal, players, budget, seed, truth)
    plan = planned(model, data, encoding, choices)
    plan, kept = _with_recording(plan, recording)
    clock = _Clock(plan.budget.seconds)
    folder = Folder(Path(out), plan.question, fresh=fresh)
    if (folder.path / "study.json").exists():
        study = read_study(folder.path)
        if all(failure.reason != SPENT for failure in study.failed):
            return publish(study, language)
    workshop = _workshop(plan, folder, listener or Silent(), workers, timeout)
    before = preflight_of(plan.problem, task=data.task, listener=listener)
    explanations, failed = _explained(plan, workshop, clock.at(EXPLAINING))
    overall, unknown = _overall(plan, workshop, clock.at(EXPLAINING))
    path, unseen = _path(plan, workshop, clock.at(EXPLAINING))
    scores, more = _graded(plan, workshop, explanations, clock.at(1.0))
    failed = [*failed, *unknown, *unseen, *more]
    found = {"explanations": explanations, "overall": overall, "path": path, "recording": kept, "scores": scores}
    found["preflight"] = before
    said = provenance(plan.question, data, began=began, command=command)
    study = _study(plan, folder, found, failed, name=name, provenance=said)
    keep_study(folder, study)
    return publish(study, language)


def _with_recording(plan: Plan, given: Any) -> tuple[Plan, Recording | None]:
    """The recording of the training, read where it is a file, and the plan with its hash as part of the question."""
    kept = Recording.load(given) if isinstance(given, (str, os.PathLike)) else given
    if kept is None:
        return plan, None
    return replace(plan, question={**plan.question, "recording": digest(kept.to_bytes())}), kept


def _study(plan: Plan, folder: Folder, found: dict[str, Any], failed: list[Failure], **said: Any) -> Study:
    """What was found, together with what is known of the model and the data."""
    data, rows = plan.data, plan.entities
    return Study(
        **{**said, "name": said["name"] or plan.model.name},
        **found,
        folder=folder.path,
        model=model_card(plan.model),
        schema=data.schema,
        profile=profile(data),
        findings=checked(plan.model, data, plan.seed),
        failed=tuple(failed),
        predictions=entity_predictions(rows, data.test) if rows else predictions(plan.model, plan.explained),
        truth=plan.truth,
        warnings=(*_of_source(data), *_cautions(found["scores"], failed)),
    )


class _Clock:
    """When parts of a run limited by seconds must be over, on the monotonic clock."""

    def __init__(self, seconds: float | None):
        self._seconds, self._began = seconds, time.monotonic()

    def at(self, share: float) -> float | None:
        """The moment when this share of the seconds is spent; None without a limit."""
        return None if self._seconds is None else self._began + share * self._seconds


def _workshop(plan: Plan, folder: Folder, listener: Listener, workers: int | None, timeout: float | None) -> Workshop:
    on_accelerator = any(tensor.device.type != "cpu" for tensor in plan.problem.inputs.tensors.values())
    return Workshop(
        folder,
        listener,
        workers=workers or min(4, os.cpu_count() or 1),
        timeout=timeout,
        isolated=can_fork() and not on_accelerator and plan.problem.model.forks,
    )


# Explaining --------------------------------------------------------------------------------


def _explained(plan: Plan, workshop: Workshop, deadline: float | None) -> tuple[dict[str, Explanation], list[Failure]]:
    """Every method on every block of rows; what failed is listed, the rest goes on."""
    N = len(plan.problem.inputs)
    order = sorted(range(N), key=lambda row: plan.problem.inputs.ids[row])
    blocks = [tuple(order[start : start + BLOCK]) for start in range(0, N, BLOCK)]
    units = [_explain_unit(plan, label, block) for label in plan.methods for block in blocks]
    workshop.listener.started("explanations", len(units))
    workshop.run(units, deadline)
    workshop.listener.finished()
    entries = [entry for entry in workshop.folder.ledger.entries().values() if entry.kind == "explain"]
    explanations, failed = {}, []
    for label in plan.methods:
        own = [entry for entry in entries if entry.name == label]
        parts = [
            (entry.rows, Explanation.load(workshop.folder.result(entry.key))) for entry in own if entry.status == "ok"
        ]
        if parts:
            whole = joined(parts, plan.problem.players, plan.problem.inputs.ids)
            explanations[label] = with_entities(whole, plan.entities) if plan.entities else whole
        covered = {row for rows, _ in parts for row in rows}
        failed += _failures(own, covered)
    return explanations, failed


def _failures(entries: Sequence[Any], covered: set[int]) -> list[Failure]:
    """The smallest units that failed: a block whose halves were tried speaks through them."""
    found = []
    for entry in entries:
        smaller = any(set(other.rows) < set(entry.rows) for other in entries)
        if entry.status not in ("ok", None) and not smaller and not set(entry.rows) & covered:
            found.append(Failure(entry.name, entry.rows, entry.status, entry.reason, entry.seconds))
    return found


def _explain_unit(plan: Plan, label: str, rows: tuple[int, ...]) -> Unit:
    problem, method = plan.problem.take(rows), plan.methods[label]
    budget = replace(plan.budget, seconds=None, evaluations=plan.budget.evaluations or _room(method, problem))

    def job() -> bytes:
        explanation = method.explain(problem, seed=plan.seed, budget=budget)
        return replace(explanation, cost=replace(explanation.cost, seconds=0.0)).to_bytes()

    def halves() -> list[Unit]:
        middle = len(rows) // 2
        first, second = (_explain_unit(plan, label, part) for part in (rows[:middle], rows[middle:]))
        return [
            replace(first, other_half=second.key, brother=lambda: replace(second, other_half=first.key)),
            replace(second, other_half=first.key, brother=lambda: replace(first, other_half=second.key)),
        ]

    key = key_of("explain", dict(plan.question), label, list(problem.inputs.ids))
    return Unit(key, "explain", label, rows, job, halves if len(rows) > 1 else None)


def _room(method: Method, problem: Problem) -> int:
    """Evaluations planned where no budget says otherwise: what a method needs that cannot do with less, or was set."""
    usual = EVALUATIONS.get(problem.kind, 1024)
    given = method != type(method)() or method.name in ("exact_shapley", "shapley")
    return max(usual, int(method.cost(problem.players.most)) + 2) if given else usual


# What matters over all rows ----------------------------------------------------------------


def _overall(plan: Plan, workshop: Workshop, deadline: float | None) -> tuple[Importance | None, list[Failure]]:
    """Permutation importance on the test rows, one unit of work."""
    problem = plan.overall
    if problem is None:
        return None, []
    method = find("methods", OVERALL)

    def job() -> bytes:
        found = method.explain(problem, seed=plan.seed)
        return replace(found, cost=replace(found.cost, seconds=0.0)).to_bytes()

    key = key_of("overall", dict(plan.question), OVERALL, list(problem.inputs.ids))
    workshop.run([Unit(key, "overall", OVERALL, (), job)], deadline)
    entry = workshop.folder.ledger.entries()[key]
    if entry.status == "ok":
        return Importance.load(workshop.folder.result(key)), []
    return None, [Failure(OVERALL, (), entry.status or "failed", entry.reason, entry.seconds)]


def _path(plan: Plan, workshop: Workshop, deadline: float | None) -> tuple[Flow | None, list[Failure]]:
    """What passes through the network's layers at a few rows, one unit of work; None where that cannot be seen.

    Not of tables: their networks have few layers, and columns say more than units.
    """
    if not isinstance(plan.model, Traceable) or plan.data.is_table:
        return None, []
    rows = tuple(range(min(PATHS, len(plan.problem.inputs))))
    problem, method = plan.problem.take(rows), find("methods", PATH)

    def job() -> bytes:
        found = method.explain(problem, seed=plan.seed)
        return replace(found, cost=replace(found.cost, seconds=0.0)).to_bytes()

    key = key_of("path", dict(plan.question), PATH, list(problem.inputs.ids))
    workshop.run([Unit(key, "path", PATH, rows, job)], deadline)
    entry = workshop.folder.ledger.entries()[key]
    if entry.status == "ok":
        return Flow.load(workshop.folder.result(key)), []
    refused = entry.status == "skipped" and entry.reason != SPENT  # a network that cannot be followed is no failure
    return None, [] if refused else [Failure(PATH, rows, entry.status or "failed", entry.reason, entry.seconds)]


# Grading -----------------------------------------------------------------------------------


def _graded(
    plan: Plan, workshop: Workshop, explanations: Mapping[str, Explanation], deadline: float | None
) -> tuple[Scores, list[Failure]]:
    """Every metric on every method's explanation of the rows it managed."""
    units = [_grade_unit(plan, name, metric, explanations) for name in explanations for metric in plan.metrics]
    workshop.listener.started("grades", len(units))
    workshop.run(units, deadline)
    workshop.listener.finished()
    known, scores, failed = workshop.folder.ledger.entries(), [], []
    for unit in units:
        entry = known[unit.key]
        if entry.status == "ok":
            score = Score.from_dict(read_json(workshop.folder.result(unit.key)))
            scores.append(score)
            if score.status == "failed":
                failed.append(Failure(unit.name, unit.rows, "failed", score.reason, entry.seconds))
        else:
            failed.append(Failure(unit.name, unit.rows, entry.status or "failed", entry.reason, entry.seconds))
    return Scores(scores), failed


def _grade_unit(plan: Plan, name: str, metric: Metric, explanations: Mapping[str, Explanation]) -> Unit:
    explanation = explanations[name]
    usable = np.flatnonzero(np.isfinite(explanation.full).all(1))
    rows = tuple(int(row) for row in usable)

    def job() -> bytes:
        others = {k: e[usable] for k, e in explanations.items() if k != name and np.isfinite(e.full[usable]).all()}
        judgement = Judgement(
            explanation[usable],
            method=plan.methods[name],
            others=others,
            truth=None if plan.truth is None else plan.truth[usable],
            regions=None if plan.regions is None else plan.regions[usable],
            texts=tuple(plan.data.train.features) if plan.data.is_text else (),
        )
        (score,) = judge(plan.problem.take(usable), judgement, [metric], seed=plan.seed)
        values = np.full(len(explanation), np.nan)
        values[usable] = score.values
        return dumps(replace(score, method=name, values=values, seconds=0.0).to_dict()).encode()

    whole = key_of(*sorted(explanation.ids), *sorted(explanations), list(rows))
    key = key_of("grade", dict(plan.question), name, metric.name, metric.settings(), whole)
    return Unit(key, "grade", f"{metric.name} of {name}", rows, job)


def _of_source(data: Dataset) -> tuple[Caution, ...]:
    """That the data's file is not what was read any more, or gone."""
    if is_unchanged(data.source):
        return ()
    return (Caution.of("data_changed", "red", file=os.path.basename(data.source.path)),)


def _cautions(scores: Scores, failed: Sequence[Failure]) -> tuple[Caution, ...]:
    cautions = []
    agreed = [score.value for score in scores if score.metric == "agreement" and np.isfinite(score.value)]
    if agreed and np.mean(agreed) < DISAGREE:
        cautions.append(Caution.of("methods_disagree", "yellow", value=float(np.mean(agreed))))
    for failure in failed:
        severity = "note" if failure.status == "skipped" else "yellow"
        cautions.append(
            Caution.of("failed_items", severity, method=failure.method, items=len(failure.rows), reason=failure.reason)
        )
    return tuple(cautions)

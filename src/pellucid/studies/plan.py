"""An audit's question, settled before any work: which rows, which methods and metrics, against what."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..catalog import find, methods_for
from ..data.dataset import Dataset
from ..doors.blanks import with_medians
from ..doors.load import load
from ..doors.question import as_problem, as_target
from ..doors.regions import as_regions, is_regions
from ..doors.removals import takes_rows
from ..doors.rows import refuse_label
from ..doors.wrap import wrap
from ..engine.budget import Budget
from ..engine.engine import answers, answers_and_target
from ..methods.method import Method
from ..metrics.metric import Metric
from ..modalities.image import Blur
from ..modalities.series import Interpolated
from ..problem.model import Model
from ..problem.problem import Problem
from ..problem.removal import TensorRemoval
from ..problem.target import Target
from ..records.errors import InputError, NotApplicable
from ..records.explanation import Explanation
from ..records.files import digest, digest_array
from ..records.regions import Regions
from ..store.folder import as_json, key_of
from .entities import EntityRow, entity_rows
from .evaluating import TEXTS, chosen_metrics
from .naming import labelled
from .provenance import model_card

BACKGROUND = 50
"""Training rows that stand in for what is absent in a table."""
OVERALL = 500
"""Test rows asked for what matters over all of them."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What the caller of an audit left open or decided; see :func:`pellucid.audit`."""

    methods: Any = "default"
    metrics: Any = "default"
    rows: int = 24
    target: Any = "predicted"
    background: Any = None
    removal: Any = None
    players: Any = None
    budget: Budget | int | None = None
    seed: int = 0
    truth: Any = None


@dataclass(frozen=True, eq=False)
class Plan:
    """The question: the problem (``explained`` are its raw rows), the methods and metrics, and all of it as data.

    ``overall`` asks for the loss on test rows, for what matters over all of them; None for what is no table. Of a
    network that tags words ``entities`` are what is explained, one a row.
    """

    model: Model
    data: Dataset
    explained: Dataset
    problem: Problem
    methods: Mapping[str, Method]
    metrics: tuple[Metric, ...]
    seed: int
    budget: Budget
    truth: Explanation | None
    regions: Regions | None
    overall: Problem | None
    entities: tuple[EntityRow, ...] = ()
    question: Mapping[str, Any] = field(default_factory=dict)


def planned(model: Any, data: Dataset, encoding: Any, choices: Choices) -> Plan:
    """Settle the question. Raises :class:`InputError` where there is nothing to explain or names do not fit."""
    if data.task is None:
        raise InputError("which column is the label is not known", fix="name it: label=… (--label)")
    model = _opened(model, encoding)
    refuse_label(model, data)
    model = named(with_medians(model, data), data)
    test, seed = data.test, choices.seed
    if not len(test):
        raise InputError("there are no test rows to explain", fix="give the data a test split")
    asked = _asked(model, test, choices)
    removal, background = what_is_absent(data, seed, choices.background, choices.removal)
    absent = {"background": background, "removal": removal, "players": choices.players}
    problem = as_problem(model, asked.rows, target=asked.target, fine=False, seed=seed, **absent)
    methods = labelled(chosen_methods(choices.methods, problem))
    regions = _regions(choices.truth, problem, data, asked.explained)
    known = None if choices.truth is None or is_regions(choices.truth) else choices.truth
    truth = None if known is None else _truth(known, problem, asked.explained, background)
    chosen = {"agreement": len(methods) > 1, "truth": truth is not None, "regions": regions is not None}
    metrics = tuple(chosen_metrics(choices.metrics, **chosen, texts=problem.kind in TEXTS))
    budget = Budget.of(choices.budget)
    overall = _overall(model, test, absent, seed)
    plan = Plan(
        model, data, asked.explained, problem, methods, metrics, seed, budget, truth, regions, overall, asked.entities
    )
    return replace(plan, question=_as_data(plan))


class _Asked(NamedTuple):
    """What is explained: the rows of the data, as the model is given them, and which of their outputs."""

    explained: Dataset
    rows: Any
    target: Target
    entities: tuple[EntityRow, ...] = ()


def _asked(model: Model, test: Dataset, choices: Choices) -> _Asked:
    """Rows of the test split, drawn by the seed; of texts with tagged words their entities, each for its own type."""
    if test.task == "tagging":
        found = entity_rows(model, test, choices.rows, choices.seed)
        own = isinstance(choices.target, str) and choices.target == "predicted"
        target = as_target([row.said for row in found] if own else choices.target)
        return _Asked(test.take([row.text for row in found]), [row.asked for row in found], target, tuple(found))
    drawn = np.sort(np.random.default_rng([choices.seed, 1]).permutation(len(test))[: choices.rows])
    explained = test.take(drawn)
    return _Asked(explained, explained.features, as_target(choices.target, explained))


def _overall(model: Model, test: Dataset, absent: Mapping[str, Any], seed: int) -> Problem | None:
    """The loss on the test rows, at most :data:`OVERALL` of them drawn by the seed; None for other data than tables."""
    if not test.is_table:
        return None
    rows = test.take(np.sort(np.random.default_rng([seed, 3]).permutation(len(test))[:OVERALL]))
    problem = as_problem(model, rows.features, target=as_target("loss", rows), fine=False, seed=seed, **absent)
    return problem if problem.players.is_shared and len(rows) > 1 else None


def _as_data(plan: Plan) -> Any:
    """Everything the results depend on, as what JSON makes of it.

    What is code (a black box, a forward, a target) cannot be hashed; what it *answers* about the explained rows
    and the reference rows can. Seconds are no part of the question: more time is a reason to go on.
    """
    data, problem = plan.data, plan.problem
    limits = {name: value for name, value in vars(plan.budget).items() if name != "seconds"}
    return as_json(
        {
            "data": data.source.sha256 if data.source else "",
            "ids": list(problem.inputs.ids),
            "rows": [int(row) for row in plan.explained.row_numbers],
            "model": model_card(plan.model)["digest"],
            "answers": _answers_digest(problem, plan.seed),
            "labels": "" if data.test.labels is None else digest_array(data.test.labels),
            "schema": "" if data.schema is None else key_of(data.schema.to_dict()),
            "methods": [{"label": label, "name": m.name, **m.settings()} for label, m in plan.methods.items()],
            "metrics": [{"name": metric.name, **metric.settings()} for metric in plan.metrics],
            "removal": problem.removal.settings(),
            "players": [problem.players.kind, key_of(problem.players.to_dict(), digest_array(problem.players.labels))],
            "truth": "" if plan.truth is None else digest_array(plan.truth.attributions),
            "regions": "" if plan.regions is None else digest_array(plan.regions.inside),
            "budget": limits,
            "seed": plan.seed,
        }
        | (
            {"entities": [[*row.place, row.said, row.truth, row.wrong] for row in plan.entities]}
            if plan.entities
            else {}
        )
    )


def _answers_digest(problem: Problem, seed: int) -> str:
    """A digest of the model's outputs, the target's values and the reference rows, to four digits or so.

    Without the last bits, which another number of threads may turn.
    """
    outputs, target = answers_and_target(problem)
    parts = [outputs, target]
    if isinstance(problem.removal, TensorRemoval):
        references = problem.removal.references(problem.inputs, problem.players, seed)
        parts.append(references.double().cpu().numpy())
    return digest(*(digest_array(part.astype(np.float32).view(np.int32) >> 10) for part in parts))


def _opened(model: Any, encoding: Any) -> Model:
    if isinstance(model, (str, os.PathLike)):
        return load(model, encoding=encoding)
    return wrap(model, encoding=encoding)


def named(model: Model, data: Dataset) -> Model:
    """The model with the data's class names where it has none of its own (the caller's object is not changed)."""
    if model.labels is not None or data.task != "classification":
        return model
    copied = copy.copy(model)
    one = (data.test if len(data.test) else data).take([0])  # a few rows may leave none to a test
    few = answers(as_problem(model, one.features))
    if few.shape[1] == len(data.classes):
        copied.labels = tuple(data.classes)
    elif few.shape[1] == 1 and len(data.classes) == 2:
        copied.labels = (data.classes[1],)
    else:
        raise InputError(f"the model has {few.shape[1]} outputs, the label {len(data.classes)} classes")
    return copied


def what_is_absent(
    data: Dataset, seed: int, background: Any = None, removal: Any = None, most: int = BACKGROUND
) -> tuple[Any, Any]:
    """(removal, background) as given. Where neither is: at most so many training rows for a table, a blur for images,
    lines for series; and such rows for a removal that is said in a word and needs some."""
    if background is not None or not (removal is None or isinstance(removal, str)):
        return removal, background
    if removal is not None:
        return removal, _drawn(data, seed, most) if takes_rows(removal, _kind(data)) else None
    if data.is_table:
        return None, _drawn(data, seed, most)
    if data.axes is not None:
        return Interpolated(), None
    if len(data.shape) >= 2:
        return Blur(max(1.0, max(data.shape[-2:]) / 8)), None
    return None, None


def _drawn(data: Dataset, seed: int, most: int) -> Any:
    train = data.train
    kept = train.take(np.sort(np.random.default_rng([seed, 2]).permutation(len(train))[:most]))
    return kept.features


def _kind(data: Dataset) -> str:
    """The modality of the rows, as a problem about them has it."""
    if data.is_table or data.is_text:
        return "table" if data.is_table else "text"
    return "series" if data.axes is not None else "image" if len(data.shape) == 3 else "tensor"


def chosen_methods(given: Any, problem: Problem) -> tuple[Method, ...]:
    """Methods from ``"default"`` (all that apply), names or objects."""
    if not (isinstance(given, str) and given == "default"):
        listed = given if isinstance(given, (list, tuple)) else [given]
        found = tuple(find("methods", one) for one in listed)
        for method in found:
            refuse_without_numbers(method)
        return found
    return tuple(methods_for(problem))


def refuse_without_numbers(method: Method) -> None:
    """Raise :class:`NotApplicable` for a method that answers with anything but a number for each player of each row."""
    if method.answers is not Explanation:
        raise NotApplicable(
            f"{method.name} answers with {method.answers.record}, which cannot be graded beside contributions",
            fix="ask it with explain",
        )


def _regions(given: Any, problem: Problem, data: Dataset, explained: Dataset) -> Regions | None:
    """The known regions of the explained rows: from those given of all rows of the data, else the data's own evidence.

    None where no region is known.
    """
    if not is_regions(given):
        own = explained.evidence if given is None and _speaks_of(problem) else None
        return None if own is None else as_regions(problem, own)
    if len(given) != int(data.row_numbers.max()):
        raise InputError(
            f"the known regions are of {len(given)} rows", fix="give those of every row of the data, in its order"
        )
    return as_regions(problem, given[explained.row_numbers - 1])


def _speaks_of(problem: Problem) -> bool:
    """Whether these rows are texts or series, in which passages can be marked."""
    return bool(problem.players.spans) or problem.inputs.axes is not None


def _truth(truth: Any, problem: Problem, explained: Dataset, background: Any) -> Explanation:
    """The rule's contributions against the same background, as a record."""
    values = np.asarray(truth(explained.features, background), dtype=np.float64)
    N, n = len(problem.inputs), problem.players.most
    if values.shape != (N, n):
        raise InputError(f"the truth has shape {values.shape}, {(N, n)} was due")
    return Explanation(
        attributions=values[:, :, None],
        players=problem.players,
        base=np.zeros((N, 1)),
        full=values.sum(1, keepdims=True),
        outputs=(("rule",),) * N,
        method="truth",
        rows=problem.inputs.raw,
        ids=problem.inputs.ids,
    )

"""Is the model itself any good? Its checks on held-out rows, and what it said of the explained ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..catalog import everything
from ..checks.check import CheckCase
from ..checks.slices import slices
from ..data.dataset import Dataset
from ..data.text_profile import LENGTHS, word_counts
from ..doors.question import as_problem
from ..engine.engine import answers
from ..problem.model import Model
from ..records.errors import InputError
from ..records.finding import Finding
from ..records.schema import Column
from .entities import tag_case

FEW_COLUMNS = 3
"""Without protected columns, so many categorical ones are looked at part by part."""


def checked(model: Model, data: Dataset, seed: int) -> tuple[Finding, ...]:
    """All checks that fit the task, on the test split and its slices; none without labels or tags."""
    if data.task == "tagging":
        case = tag_case(model, data, _slices(data), seed)
    elif data.labels is not None:
        case = case_of(model, data.test, _slices(data), seed)
    else:
        return ()
    kinds = [kind for kind in everything("checks").values() if data.task in kind.tasks]
    return tuple(finding for kind in kinds for finding in kind().run(case))


def case_of(model: Model, rows: Dataset, groups: Mapping[str, np.ndarray], seed: int) -> CheckCase:
    """What the model answers for labelled rows."""
    outputs = answers(as_problem(model, rows.features))
    labels, classes = _aligned(rows, model)
    task = "regression" if rows.task == "regression" else "classification"
    return CheckCase(outputs, labels, task=task, classes=classes, slices=groups, seed=seed)


def predictions(model: Model, rows: Dataset) -> tuple[dict[str, Any], ...]:
    """One line per row: its place in the file, what the model said, how surely, and what was true."""
    if rows.labels is None:
        return tuple({"row": int(row)} for row in rows.row_numbers)
    case = case_of(model, rows, {}, 0)
    lines = []
    for place, row in enumerate(rows.row_numbers):
        if rows.task == "regression":
            line = {"row": int(row), "prediction": float(case.predicted[place]), "label": float(case.labels[place])}
        else:
            line = {
                "row": int(row),
                "prediction": case.classes[case.predicted[place]],
                "probability": float(case.probabilities[place].max()),
                "label": case.classes[case.labels[place]],
            }
        lines.append(line)
    return tuple(lines)


def labels_of(rows: Dataset) -> np.ndarray:
    """The labels; raises :class:`InputError` where there are none."""
    if rows.labels is None:
        raise InputError("the data have no label", fix="name it: label=… (--label)")
    return rows.labels


def _slices(data: Dataset) -> dict[str, np.ndarray]:
    """Parts of the test rows: by protected columns, else by some categories; of texts also by their length."""
    if data.schema is None:
        return {}
    if data.is_text:
        frame = data.test.frame.assign(**{LENGTHS: word_counts(data.test)})
        protected = [column for column in data.schema if column.protected]
        return slices(frame, [*protected, Column(LENGTHS, "numeric")])
    features = data.schema.features
    columns = [column for column in features if column.protected]
    columns = columns or [column for column in features if column.type in ("categorical", "boolean")][:FEW_COLUMNS]
    return slices(data.test.frame, columns)


def _aligned(test: Dataset, model: Model) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers of the model's outputs: by name where both have names, in the data's order otherwise."""
    labels = labels_of(test)
    if test.task == "regression":
        return labels, ()
    classes = tuple(map(str, test.classes))
    if model.labels is None or len(model.labels) == 1 or tuple(model.labels) == classes:
        return labels, classes
    unknown = sorted(set(classes) - set(model.labels))
    if unknown:
        raise InputError(f"the label has classes that the model's outputs do not name: {', '.join(unknown[:5])}")
    places = np.array([model.labels.index(name) for name in classes])
    return places[labels], model.labels

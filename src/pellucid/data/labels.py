"""What a column of labels says: the task, a label for each row, and the names of the classes."""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError, shorten
from .cells import as_text
from .dataset import Task
from .inference import Understood

MOST_CLASSES = 20
"""Whole numbers with more values than this are taken for a quantity."""
Labels = tuple[Task, np.ndarray, tuple[str, ...]]
"""Task; ``Int64[N]`` places among the classes, or ``Float64[N]`` quantities; the classes' names."""


def labels_of(part: Understood, task: Task | None) -> Labels:
    """The labels in a column of a table.

    Texts are classes in the order of the alphabet, truth values no before yes, numbers as in :func:`of_numbers`; a
    declared order of categories wins. Raises :class:`InputError` where ``task`` asks for numbers of texts.
    """
    column, values = part.column, part.values
    if column.type == "numeric":
        return of_numbers(values, task)
    if task == "regression":
        if column.categories == ("0", "1"):
            return task, values.astype(np.float64), ()
        raise InputError(f"label {shorten(column.name)!r} holds no numbers", fix="pass task='classification'")
    ordered = column.categories if column.type in ("boolean", "ordinal") else tuple(sorted(column.categories))
    position = {name: place for place, name in enumerate(ordered)}
    import pandas as pd

    texts = as_text(pd.Series(values, dtype=object))
    return "classification", np.array([position[text] for text in texts], dtype=np.int64), ordered


def of_numbers(values: np.ndarray, task: Task | None) -> Labels:
    """Numbers as labels: unless ``task`` says, whole ones of few values are classes in their order."""
    whole = bool((values == np.floor(values)).all())
    known, labels = np.unique(values, return_inverse=True)
    if task is None:
        task = "classification" if whole and len(known) <= MOST_CLASSES else "regression"
    if task == "regression":
        return task, values.astype(np.float64), ()
    return task, labels.astype(np.int64), tuple(str(int(value) if whole else value) for value in known)

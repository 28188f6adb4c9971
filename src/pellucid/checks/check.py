"""What a check of the model is: a case in (answers, labels, slices of the rows), findings out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, final

import numpy as np

from ..records.errors import InputError, NotApplicable, NotFiniteError, shorten
from ..records.finding import Finding

Task = Literal["classification", "regression", "tagging"]
Scale = Literal["auto", "probabilities", "logits"]
Reading = Literal["probabilities", "sigmoid", "softmax", "number"]


class Case(Protocol):
    """What every case says of itself: what the model was asked to do, and which rows these are."""

    @property
    def task(self) -> Task: ...

    @property
    def part(self) -> str: ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True, eq=False)
class CheckCase:
    """What the model answered for N rows whose truth is known.

    Attributes
    ----------
    outputs: ``Float64[N, K]``, one row per item; ``[N]`` is read as ``[N, 1]``. For classes:
        probabilities or logits; one column is the second of two classes.
    labels: class numbers ``Int64[N]``, or ``Float64[N]`` for regression.
    classes: names of the classes; numbered where none are given.
    slices: name → ``Bool[N]``, parts of the rows to look at on their own (see ``slices.py``).
    part: what the rows are: ``"test"``, or the name of a slice.
    scale: ``"auto"`` takes outputs as probabilities when every row lies in [0, 1] and sums to 1 (one
        column: lies in [0, 1]), as logits otherwise.
    unit: printed behind a regression target's figures, e.g. ``"DM"``.

    Raises :class:`InputError` for shapes or labels that do not fit each other.
    """

    outputs: np.ndarray
    labels: np.ndarray
    task: Task = "classification"
    classes: tuple[str, ...] = ()
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0
    part: str = "test"
    scale: Scale = "auto"
    unit: str = ""

    def __post_init__(self) -> None:
        outputs = np.array(self.outputs, dtype=np.float64)
        outputs = outputs[:, None] if outputs.ndim == 1 else outputs
        labels = np.array(self.labels)
        if outputs.ndim != 2 or 0 in outputs.shape or labels.shape != (len(outputs),):
            raise InputError(
                f"a check needs outputs [N, K] and labels [N] with N, K ≥ 1, not {outputs.shape} and {labels.shape}"
            )
        _finite(outputs, "the model's output")
        if self.task == "regression":
            labels = _numbers(labels, outputs)
        else:
            classes = self.classes or tuple(map(str, range(max(2, outputs.shape[1]))))
            if len(classes) != max(2, outputs.shape[1]):
                raise InputError(f"{len(classes)} class names for {outputs.shape[1]} outputs")
            object.__setattr__(self, "classes", tuple(map(str, classes)))
            labels = _class_numbers(labels, len(classes))
        slices = {str(name): as_mask(name, mask, len(labels)) for name, mask in self.slices.items()}
        outputs.setflags(write=False)
        labels.setflags(write=False)
        for name, value in (("outputs", outputs), ("labels", labels), ("slices", slices)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def reading(self) -> Reading:
        """How the outputs were read."""
        if self.task == "regression":
            return "number"
        within = bool(((self.outputs >= 0) & (self.outputs <= 1)).all())
        single = self.outputs.shape[1] == 1
        sums = single or bool(np.allclose(self.outputs.sum(axis=1), 1.0, atol=1e-3))
        if self.scale == "probabilities" or (self.scale == "auto" and within and sums):
            if not (within and sums):
                raise InputError("outputs said to be probabilities leave [0, 1] or do not sum to 1")
            return "probabilities"
        return "sigmoid" if single else "softmax"

    @cached_property
    def probabilities(self) -> np.ndarray:
        """``Float64[N, K]`` with K ≥ 2, by :attr:`reading`."""
        if self.task == "regression":
            raise NotApplicable("a regression model states no probabilities")
        if self.reading == "sigmoid":
            logit = self.outputs[:, 0]
            # Each side from its own exponential: 1 − p would round a small chance to zero.
            return np.stack([np.exp(-np.logaddexp(0.0, logit)), np.exp(-np.logaddexp(0.0, -logit))], axis=1)
        if self.reading == "softmax":
            powers = np.exp(self.outputs - self.outputs.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        single = self.outputs.shape[1] == 1
        return np.concatenate([1 - self.outputs, self.outputs], axis=1) if single else self.outputs

    @cached_property
    def predicted(self) -> np.ndarray:
        """The answer: ``Int64[N]``, the likeliest class (the first of equals), or ``Float64[N]`` for regression."""
        if self.task == "regression":
            return self.outputs[:, 0]
        if self.outputs.shape[1] == 1:
            return self.probabilities.argmax(axis=1)
        return self.outputs.argmax(axis=1)

    def within(self, name: str) -> CheckCase:
        """The rows of one slice as a case of their own."""
        mask = self.slices[name]
        # What the whole was read as holds for its parts, too.
        scale: Scale = "probabilities" if self.reading == "probabilities" else "logits"
        return replace(self, outputs=self.outputs[mask], labels=self.labels[mask], slices={}, part=name, scale=scale)


@dataclass(frozen=True)
class Check(ABC, Generic[C]):
    """A judgement of the model. A check writes :meth:`find`; :meth:`run` does the chores around it.

    Class-level declarations: ``name`` (the file's name), ``tasks`` it can judge, ``source``. Its cases are
    :class:`CheckCase`, or :class:`~pellucid.checks.tag_case.TagCase` where the task is tagging.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]]
    source: ClassVar[str]

    @abstractmethod
    def find(self, case: C) -> Iterable[Finding]:
        """What there is to say about the case, the main finding first."""

    @final
    def run(self, case: C) -> tuple[Finding, ...]:
        """The findings. Raises :class:`NotApplicable` for a task that the check cannot judge."""
        if case.task not in self.tasks:
            raise NotApplicable(f"the check {self.name!r} judges {' and '.join(self.tasks)}, not {case.task}")
        return tuple(replace(finding, check=self.name, part=case.part) for finding in self.find(case))


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names from data for a sentence, shortened, the rest counted: ``"a, b, … (+3)"``."""
    names = list(names)
    shown = ", ".join(shorten(name, 40) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … (+{len(names) - most})"


def rounded(value: float) -> float | int:
    """A number in the target's unit with three significant digits, whole from a hundred on: 0.0123, 4.57, 12300."""
    short = float(f"{value:.3g}")
    return int(short) if abs(short) >= 100 else short


def spread(row: dict[str, Any], name: str, triple: tuple[float, float, float]) -> None:
    """Put a figure and its interval into a table's row as ``name``, ``name_low``, ``name_high``."""
    row[name], row[f"{name}_low"], row[f"{name}_high"] = triple


def _finite(values: np.ndarray, what: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise NotFiniteError(f"{what} is not a finite number in {int(bad.sum())} places", where=f"row {row}")


def _numbers(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    if outputs.shape[1] != 1:
        raise InputError(
            f"a regression check needs one output a row, the model gives {outputs.shape[1]}",
            fix="check each output on its own",
        )
    labels = labels.astype(np.float64)
    _finite(labels, "the label")
    return labels


def _class_numbers(labels: np.ndarray, classes: int) -> np.ndarray:
    if labels.dtype.kind not in "biuf":
        raise InputError("labels must be class numbers", fix="give the position of each label in classes")
    _finite(labels.astype(np.float64), "the label")
    numbers = labels.astype(np.int64)
    bad = (numbers != labels) | (numbers < 0) | (numbers >= classes)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"label {labels[row]} is not one of the {classes} classes, numbered 0 to {classes - 1}", where=f"row {row}"
        )
    return numbers


def by_part(code: str, part: str) -> str:
    """The main sentence speaks of "the test rows", or names the part."""
    return code if part == "test" else f"{code}_part"


def as_mask(name: str, mask: np.ndarray, rows: int) -> np.ndarray:
    mask = np.array(mask)
    if mask.dtype != bool or mask.shape != (rows,):
        raise InputError(f"the slice {shorten(name)!r} must be true or false for each of {rows} rows")
    mask.setflags(write=False)
    return mask

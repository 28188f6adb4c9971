"""The loss as a target: how wrong the model is about each row whose label is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..records.errors import TargetError, shorten
from ..records.files import digest_array
from .target import BoundTarget, Names, Rule, Target, one_each, output_names

Measure = Callable[[Tensor, Tensor], Tensor]
TITLES = {
    "cross_entropy": "cross-entropy",
    "squared_error": "squared error",
    "absolute_error": "absolute error",
    "zero_one": "0–1 error",
    "own": "squared change",
}
KINDS = ("auto", *TITLES)
NEAR_ONE = 1e-3
"""How far probabilities may miss the sum of 1 and still be taken for such."""


@dataclass(frozen=True, eq=False)
class Loss(Target):
    """How wrong the model is about each row.

    Attributes
    ----------
    labels: ``[N]``, what is right: class numbers, class names or numbers. None takes those of the Dataset that is
        explained.
    kind: ``"cross_entropy"``, ``"squared_error"`` (of classes: the Brier score, the sum over classes of the squared
        distance from 1 for the right one and 0 for others), ``"absolute_error"``, ``"zero_one"`` (1 where the likeliest
        class is not the right one), or a function ``(outputs[b, K], labels[b]) → [b]``. ``"auto"``: cross-entropy for
        classes, the squared error for numbers. ``"own"``: the squared distance from the model's own answer
        for the row, which needs no labels and says nothing about right and wrong.
    classes: the names that whole-numbered labels stand for, where the model may list them in another order.

    Outputs are read as probabilities where every row lies in [0, 1] and sums to 1 (a single one: lies in [0, 1]), as
    logits otherwise; which is recorded. A single output speaks for the second of two classes. A probability of 0
    counts as the smallest step of its float type.
    """

    listed: ClassVar[str] = "labels"

    labels: Any = None
    kind: str | Measure = "auto"
    classes: Names = field(default=())

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not callable(self.kind):
            raise TargetError(f"there is no loss {self.kind!r}", fix=f"choose one of {', '.join(KINDS)}, or a function")

    @cached_property
    def known(self) -> np.ndarray:
        """The labels as an array ``[N]``. Raises :class:`TargetError` where there are none, or NaN among them."""
        given = self.labels.detach().cpu().numpy() if isinstance(self.labels, Tensor) else np.asarray(self.labels)
        given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
        if self.labels is None or given.ndim != 1:
            raise TargetError(
                "the loss needs one label for each row"
                + ("" if self.labels is None else f", these have the shape {given.shape}"),
                fix='give a Dataset with labels (pellucid.read("…", label="…")) or target=pellucid.targets.Loss(y)',
            )
        if given.dtype.kind == "O":
            given = _plain(given)
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            row = int(np.flatnonzero(~np.isfinite(given))[0])
            raise TargetError("the label is NaN or infinite", where=f"row {row}", fix="leave rows without a label out")
        return given

    @property
    def rows(self) -> int | None:
        return None if self.kind == "own" else len(self.known)

    @property
    def at_once(self) -> bool:
        return True

    @property
    def savable(self) -> bool:
        return False

    def take(self, rows: Sequence[int]) -> Loss:
        return self if self.kind == "own" else Loss(self.known[list(rows)], self.kind, self.classes)

    def tie(self, row: int) -> float:
        return float(self._codes[row]) if self.kind != "own" else 0.0

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.unique(self.known, return_inverse=True)[1]

    def described(self, asked: dict[str, Any]) -> dict[str, Any]:
        return asked if self.kind == "own" else asked | {"labels": digest_array(np.asarray(self.known).astype("U"))}

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        width, kind = outputs.shape[1], self.kind
        asked: dict[str, Any] = {"kind": "loss"}
        if kind == "own":
            truth, measure, asked["loss"] = outputs.detach().double().cpu(), _own, "own"
        elif callable(kind):
            truth, measure = torch.from_numpy(self._numbers(labels, width)), kind
            asked |= {"loss": "function", "name": getattr(kind, "__name__", type(kind).__name__)}
        else:
            kind = self._settled(width) if kind == "auto" else kind
            truth, measure, how = self._measured(kind, outputs, labels)
            asked |= {"loss": kind, "outputs": how}
        name = asked.get("name") or TITLES[asked["loss"]]
        columns = torch.zeros((len(outputs), 1), dtype=torch.long)
        return BoundTarget(columns, ((name,),) * len(outputs), asked, rule=_Of(measure, truth, width))

    def _settled(self, width: int) -> str:
        """What ``"auto"`` stands for."""
        return "cross_entropy" if width > 1 or self._are_classes else "squared_error"

    @cached_property
    def _are_classes(self) -> bool:
        known = self.known
        two = known.dtype.kind in "iu" and bool(np.isin(known, (0, 1)).all())
        return bool(self.classes) or known.dtype.kind in "USb" or two

    def _measured(self, kind: str, outputs: Tensor, names: Names | None) -> tuple[Tensor, Measure, str]:
        """The labels as the measure takes them, the measure, and how outputs were read."""
        width = outputs.shape[1]
        if width == 1 and not self._are_classes and kind in ("squared_error", "absolute_error"):
            truth = torch.from_numpy(self._numbers(names, width).astype(np.float64))
            return truth, _squared if kind == "squared_error" else _absolute, "numbers"
        truth = torch.from_numpy(self._positions(names, width))
        how = "probabilities" if _are_probabilities(outputs) else "logits"
        if kind == "absolute_error":
            raise TargetError(
                "the absolute error is one of numbers, these labels are classes", fix=f"choose {KINDS[1]}"
            )
        return truth, _Classes(kind, how, torch.finfo(outputs.dtype).eps), how

    def _numbers(self, names: Names | None, width: int) -> np.ndarray:
        """Labels as numbers: class names as positions."""
        return self._positions(names, width) if self.known.dtype.kind in "US" else self.known

    def _positions(self, names: Names | None, width: int) -> np.ndarray:
        """The output of each row's class, ``Int64[N]``; 1 for the class that a single output speaks for."""
        known, count = self.known, max(width, 2)
        wanted = output_names(width, names)
        if self.classes and known.dtype.kind in "iu" and names is not None:
            named = np.array(self.classes)[known]
            known = named if set(self.classes) <= set(wanted) or wanted[0] in self.classes else known
        if known.dtype.kind in "US":
            return _by_name(known, wanted)
        places = known.astype(np.int64)
        bad = np.flatnonzero((places != known) | (places < 0) | (places >= count))
        if len(bad):
            raise TargetError(
                f"the label {known[bad[0]]} is no class of a model with {width} outputs",
                where=f"row {int(bad[0])}",
                fix=f"label rows 0 to {count - 1}, or by name" if width > 1 else 'numbers want kind="squared_error"',
            )
        return places


def _plain(given: np.ndarray) -> np.ndarray:
    """Python's objects as one type: texts where there is any, numbers otherwise (None is NaN)."""
    if any(isinstance(one, str) for one in given):
        empty = next((row for row, one in enumerate(given) if not isinstance(one, str)), None)
        if empty is not None:
            raise TargetError(f"the label {shorten(given[empty])} is no name", where=f"row {empty}")
        return given.astype("U")
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TargetError("the labels are neither numbers nor names", why=shorten(error, 200)) from error


def _by_name(known: np.ndarray, wanted: Names) -> np.ndarray:
    single = len(wanted) == 1
    strange = [name for name in np.unique(known) if name not in wanted]
    if strange and not (single and len(strange) == 1):
        row = int(np.flatnonzero(known == strange[0])[0])
        have = ", ".join(shorten(name, 20) for name in wanted[:8])
        raise TargetError(f"{shorten(strange[0])!r} is no class of the model", where=f"row {row}", why=f"it has {have}")
    if single:
        return (known == wanted[0]).astype(np.int64)
    place = {name: index for index, name in enumerate(wanted)}
    return np.array([place[name] for name in known.tolist()], dtype=np.int64)


def _are_probabilities(outputs: Tensor) -> bool:
    found = outputs.detach().double()
    sums = found.shape[1] == 1 or bool(((found.sum(1) - 1).abs() <= NEAR_ONE).all())
    return sums and bool(((found >= 0) & (found <= 1)).all())


@dataclass(frozen=True, eq=False)
class _Of(Rule):
    """A measure of outputs against the labels ``[N]`` (or ``[N, K]``) of their rows."""

    measure: Measure
    truth: Tensor
    width: int

    def numbers(self, outputs: Tensor, rows: Tensor) -> Tensor:
        truth = self.truth.to(outputs.device)[rows.to(outputs.device)]
        return one_each(self.measure(outputs.double(), truth), outputs, "the loss")

    def take(self, rows: Sequence[int]) -> Rule:
        return _Of(self.measure, self.truth[list(rows)], self.width)


def _squared(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs[:, 0] - truth).square()


def _absolute(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs[:, 0] - truth).abs()


def _own(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs - truth).square().sum(1)


@dataclass(frozen=True)
class _Classes:
    """A measure of K outputs against the right class; a single output stands for the second of two."""

    kind: str
    how: str
    least: float

    def __call__(self, outputs: Tensor, truth: Tensor) -> Tensor:
        chances = self._logarithms(outputs) if self.how == "logits" else _both(outputs)
        if self.kind == "cross_entropy":
            own = chances.gather(1, truth[:, None])[:, 0]
            return -(own if self.how == "logits" else own.clamp(min=self.least).log())
        if self.kind == "zero_one":
            return (chances.argmax(1) != truth).double()
        chances = chances.exp() if self.how == "logits" else chances
        return (chances - torch.nn.functional.one_hot(truth, chances.shape[1])).square().sum(1)

    def _logarithms(self, outputs: Tensor) -> Tensor:
        if outputs.shape[1] == 1:
            outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
        return torch.log_softmax(outputs, dim=1)


def _both(outputs: Tensor) -> Tensor:
    return torch.cat([1 - outputs, outputs], dim=1) if outputs.shape[1] == 1 else outputs

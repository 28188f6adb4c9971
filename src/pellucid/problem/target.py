"""Target: which number of the model's outputs is explained.

A target is bound once, on the outputs of the whole batch, and from then on is a pure function of
outputs: a change of the prediction under removal never changes what is asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..records.errors import TargetError, shorten

Names = tuple[str, ...]


class Rule(ABC):
    """One number made of all K outputs of a row.

    ``width`` is K.
    """

    width: int

    @abstractmethod
    def numbers(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """``Float[b, 1]`` of ``outputs[b, K]`` about ``rows[b]``."""

    def take(self, rows: Sequence[int]) -> Rule:
        """The same rule for some of the rows."""
        return self


@dataclass(frozen=True, eq=False)
class BoundTarget:
    """T numbers of each of N rows: columns of the outputs, or differences of two, or made by a rule.

    ``columns`` and ``against`` are ``Int[N, T]``; ``against`` is None unless contrasts are asked for.
    ``averaged`` is K where the outputs are averaged over reference rows before the rule makes its number of them;
    0 where the number is made of each and averaged then. ``among`` is the number of outputs that the asked ones are
    chosen from.
    """

    columns: Tensor
    names: tuple[Names, ...]
    asked: dict[str, Any]
    against: Tensor | None = None
    rule: Rule | None = None
    averaged: int = 0
    among: int = 1

    @property
    def of_classes(self) -> bool:
        """Whether it asks for one of several outputs, so that there is a decision: which of them is the largest."""
        return self.rule is None and self.against is None and self.among > 1

    @property
    def count(self) -> int:
        """T, how many numbers of each row are explained."""
        return self.columns.shape[1]

    @property
    def is_loss(self) -> bool:
        """Whether the number says how wrong the model is."""
        return self.asked.get("kind") == "loss"

    def take(self, rows: Sequence[int]) -> BoundTarget:
        rows = list(rows)
        against = None if self.against is None else self.against[rows]
        rule = None if self.rule is None else self.rule.take(rows)
        return replace(
            self, columns=self.columns[rows], names=tuple(self.names[r] for r in rows), against=against, rule=rule
        )

    def of_means(self) -> BoundTarget:
        """The number made of mean outputs; the same where it is an output, whose mean it is anyway."""
        return self if self.rule is None else replace(self, averaged=self.rule.width)

    def select(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The asked numbers ``[b, T]`` among ``outputs[b, K]`` of questions about ``rows[b]``."""
        if self.rule is not None:
            return self.rule.numbers(outputs, rows)
        columns = self.columns  # compared where they are: an accelerator would be waited for
        if len(columns) == 1 or bool((columns == columns[:1]).all()):
            picked = outputs[:, columns[0].to(outputs.device)]
        else:
            picked = outputs.gather(1, columns[rows].to(outputs.device))
        if self.against is None:
            return picked
        return picked - outputs.gather(1, self.against.to(outputs.device)[rows])

    def margins(self, outputs: Tensor, rows: Tensor, which: Tensor) -> Tensor:
        """How far target ``which[b]`` of ``rows[b]`` lies above the largest other output, ``[b]``; below 0 where one is
        larger. What is one number (the only output, a contrast, a function) is that number itself."""
        which = which.to(outputs.device)
        if not self.of_classes:
            return self.select(outputs, rows).gather(1, which[:, None])[:, 0]
        asked = self.columns.to(outputs.device)[rows, which][:, None]
        return outputs.gather(1, asked)[:, 0] - outputs.scatter(1, asked, -torch.inf).amax(1)


class Target(ABC):
    """What is asked, before any output was seen; ``listed`` names what it has one of for each row, where it has."""

    listed: ClassVar[str] = "targets"

    @abstractmethod
    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        """Bind to the outputs ``[N, K]`` of the explained rows. Raises :class:`TargetError`."""

    def take(self, rows: Sequence[int]) -> Target:
        """The same question about some of the rows."""
        return self

    @property
    def rows(self) -> int | None:
        """How many rows it speaks of, one by one; None where it asks the same of all."""
        return None

    @property
    def at_once(self) -> bool:
        """True where binding has to see the outputs of all rows together."""
        return False

    @property
    def savable(self) -> bool:
        """False for targets that a record cannot hold: code, and labels."""
        return True

    def described(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What was asked, as data, of all rows in the caller's order; ``asked`` is what binding said."""
        return asked

    def tie(self, row: int) -> float:
        """What tells rows apart that the model cannot: equal rows are worked on in this order."""
        return 0.0


def output_names(count: int, labels: Names | None) -> Names:
    """Names of ``count`` outputs: the labels where given."""
    if labels is None:
        return ("output",) if count == 1 else tuple(f"output {k}" for k in range(count))
    if len(labels) != count:
        raise TargetError(f"{len(labels)} names were given for {count} outputs", fix="give one name per output")
    return labels


def _columns(columns: Tensor, labels: Names, asked: dict[str, Any]) -> BoundTarget:
    rows = [tuple(row) for row in columns.tolist()]
    known = {row: tuple(labels[c] for c in row) for row in set(rows)}  # rows that ask the same share their names
    return BoundTarget(columns, tuple(known[row] for row in rows), asked, among=len(labels))


@dataclass(frozen=True)
class Predicted(Target):
    """The output with the largest value, row by row; the only one of a model with one output."""

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        return _columns(outputs.argmax(1, keepdim=True).cpu(), names, {"kind": "predicted"})


@dataclass(frozen=True)
class Class(Target):
    """One output for all rows, by index (negative counts from the end) or by name."""

    which: int | str

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        column = find_output(self.which, names)
        columns = torch.full((len(outputs), 1), column)
        return _columns(columns, names, {"kind": "class", "which": self.which})


@dataclass(frozen=True)
class Contrast(Target):
    """Why one output and not another: their difference."""

    which: int | str
    rather_than: int | str

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        a, b = find_output(self.which, names), find_output(self.rather_than, names)
        if a == b:
            raise TargetError(f"a contrast of {names[a]!r} with itself is always zero")
        full = torch.full((len(outputs), 1), a)
        asked = {"kind": "contrast", "which": self.which, "rather_than": self.rather_than}
        label = ((f"{names[a]} rather than {names[b]}",),) * len(outputs)
        return BoundTarget(full, label, asked, against=torch.full((len(outputs), 1), b))


@dataclass(frozen=True)
class All(Target):
    """Every output of every row."""

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        columns = torch.arange(outputs.shape[1]).expand(len(outputs), -1).clone()
        return _columns(columns, names, {"kind": "all"})


@dataclass(frozen=True)
class Top(Target):
    """The k largest outputs of each row, largest first."""

    k: int

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        if not 1 <= self.k <= len(names):
            raise TargetError(
                f"top:{self.k} of a model with {len(names)} outputs", fix=f"give top:1 to top:{len(names)}"
            )
        return _columns(outputs.topk(self.k, 1).indices.cpu(), names, {"kind": "top", "k": self.k})


@dataclass(frozen=True)
class EachRow(Target):
    """One output per row, by index or name."""

    which: tuple[int | str, ...]

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        if len(self.which) != len(outputs):
            raise TargetError(f"{len(self.which)} targets for {len(outputs)} rows")
        columns = torch.tensor([[find_output(which, names)] for which in self.which])
        return _columns(columns, names, {"kind": "each row", "which": list(self.which)})

    def take(self, rows: Sequence[int]) -> EachRow:
        return EachRow(tuple(self.which[row] for row in rows))

    @property
    def rows(self) -> int:
        return len(self.which)

    def described(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "each row", "which": list(self.which)}


@dataclass(frozen=True)
class Computed(Target):
    """A function of the outputs: ``Float[b, K] → Float[b]``. It cannot be saved with a record."""

    function: Callable[[Tensor], Tensor]

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        rule = _Function(self.function, outputs.shape[1])
        rule.numbers(outputs, torch.arange(len(outputs)))
        columns = torch.zeros((len(outputs), 1), dtype=torch.long)
        asked = {"kind": "function", "name": name}
        return BoundTarget(columns, ((name,),) * len(outputs), asked, rule=rule)

    @property
    def savable(self) -> bool:
        return False


@dataclass(frozen=True)
class Total(Target):
    """The sum of several outputs, by index or name; without any, of all: a forecast over its whole horizon.

    A record holds its value, not how it was made: whoever judges it later gives the target again.
    """

    which: tuple[int | str, ...] = ()

    def bind(self, outputs: Tensor, labels: Names | None) -> BoundTarget:
        names = output_names(outputs.shape[1], labels)
        columns = [find_output(which, names) for which in self.which] or list(range(len(names)))
        if len(set(columns)) < len(columns):
            raise TargetError("an output is in the sum twice", fix="name each once")
        ends = [names[column] for column in columns]
        name = " + ".join(ends if len(ends) <= 3 else [ends[0], "…", ends[-1]])
        asked = {"kind": "total", "which": list(self.which)}
        rule = _Sum(tuple(columns), outputs.shape[1])
        return BoundTarget(
            torch.zeros((len(outputs), 1), dtype=torch.long), ((name,),) * len(outputs), asked, rule=rule
        )

    @property
    def savable(self) -> bool:
        return False


@dataclass(frozen=True)
class _Sum(Rule):
    columns: tuple[int, ...]
    width: int

    def numbers(self, outputs: Tensor, rows: Tensor) -> Tensor:
        return outputs[:, list(self.columns)].sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Function(Rule):
    function: Callable[[Tensor], Tensor]
    width: int

    def numbers(self, outputs: Tensor, rows: Tensor) -> Tensor:
        return one_each(self.function(outputs), outputs, "the target function")


def one_each(found: Any, outputs: Tensor, what: str) -> Tensor:
    """What a user's function returned for ``outputs[b, K]``, as ``[b, 1]``. Raises :class:`TargetError`."""
    if not isinstance(found, Tensor) or found.numel() != len(outputs):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise TargetError(
            f"{what} returned {shape} for {len(outputs)} rows",
            fix="it must return one number per row: a tensor [rows]",
        )
    return found.reshape(len(outputs), 1)


def find_output(which: int | str, names: Names) -> int:
    """The column of an output given by index or name. Raises :class:`TargetError` naming what there is."""
    count = len(names)
    listing = ", ".join(shorten(name, 20) for name in names[:8]) + (", …" if count > 8 else "")
    have = f"the model has {count} outputs (0–{count - 1}): {listing}"
    if isinstance(which, str):
        if which not in names:
            index = which.isascii() and which.isdigit() and int(which) < count
            fix = f"its index is a number: target={int(which)}" if index else ""
            raise TargetError(f"there is no output named {shorten(which)!r}", why=have, fix=fix)
        return names.index(which)
    if not -count <= which < count:
        raise TargetError(f"target {which} is out of range", why=have)
    return which % count

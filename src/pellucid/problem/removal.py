"""Removal: what "absent" means. It belongs to the problem, never to a method.

A method and whatever judges it share one removal object; a baseline that differs between the two
makes an exact explanation look wrong. With everyone present the row comes back bit for bit.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..records.errors import RemovalError
from ..records.players import Players
from .inputs import Inputs, mean

MOST_ROWS = 100
"""A background larger than this is reduced to a seeded draw of as many rows."""
MANY_ROWS = 2000
"""The same for methods that draw single rows from it instead of asking all of them for each evaluation."""


@dataclass(frozen=True, eq=False)
class Removal:
    """Base of all meanings of "absent"."""

    kinds: ClassVar[tuple[str, ...]] = ()
    """The modalities it makes sense for; empty: all."""
    known_as: ClassVar[tuple[str, ...]] = ()
    """Other words for it, beside its name."""

    def settings(self) -> dict[str, Any]:
        """The choice as data: class name and the fields that are plain."""
        plain = (int, float, str, bool, type(None))
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": type(self).__name__} | {name: value for name, value in own.items() if isinstance(value, plain)}

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Removal:
        """The same choice with rows of its own in model space; ``flatten`` turns raw rows into ``[S, D]``."""
        return self


class TensorRemoval(Removal):
    """Absent elements take the values of reference rows; v(S) is the mean over them.

    Rows of its own are tensors ``[S, D]`` in its fields.
    """

    conditional: ClassVar[bool] = False
    """Whether what stands for the absent depends on what is present."""

    @property
    def deletes(self) -> bool:
        """Whether what is absent leaves no place behind."""
        return False

    def cut(self, elements: np.ndarray, width: int) -> TensorRemoval:
        """The same for rows that have only some, ``Int[D']``, of ``width`` elements."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        rows = {name: value for name, value in own.items() if isinstance(value, Tensor) and value.shape[1] == width}
        kept = torch.from_numpy(elements)
        return replace(self, **{name: value[:, kept.to(value.device)] for name, value in rows.items()})

    @abstractmethod
    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        """Reference rows ``[R, S, D]``, R = 1 (shared) or N: S of them for each explained row.

        They are what the model is asked with nobody present.
        """

    def fill(self, rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
        """Rows ``[g, D]`` with only the elements in ``present`` (``Bool[1 | g, c, D]``): ``[g, c, s, D]``.

        ``references`` ``[1 | g, s, D]`` are the reference rows of the numbers in ``draws``. What is present is the
        row's own, bit for bit.
        """
        return torch.where(present[:, :, None], rows[:, None, None], references[:, None])

    def background(self, inputs: Inputs, references: Tensor) -> Tensor:
        """The rows ``[R, S, D]`` that say what the data are like: a path starts at their mean, and shared ones are kept
        in the record, from which the removal is made again."""
        return references


class OpaqueRemoval(Removal):
    """Absent parts of rows that are not tensors (words of a sentence)."""

    @abstractmethod
    def fill(self, row: Any, absent: np.ndarray) -> Any:
        """``row`` without some of its parts: ``absent`` ``Int[length of the row]`` is the absent player that owns a
        part, −1 where the part is there."""


@dataclass(frozen=True, eq=False)
class Constant(TensorRemoval):
    """Absent elements take one value, or those of one given row."""

    value: Any = 0.0
    known_as: ClassVar[tuple[str, ...]] = ("zeros",)

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Removal:
        value = self.value
        if isinstance(value, (np.ndarray, np.generic, Tensor)) and value.ndim == 0:
            value = value.item()
        if isinstance(value, (int, float)):
            if not math.isfinite(value):
                raise RemovalError(f"Constant({value}) cannot stand for what is absent", fix="give a finite number")
            return replace(self, value=value)
        rows = flatten(value)
        if len(rows) != 1:
            raise RemovalError(f"Constant stands for one row, {len(rows)} were given", fix="use Marginal(rows)")
        return replace(self, value=rows)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        flat = inputs.flat
        if isinstance(self.value, Tensor):
            return matching(self.value, flat)[None]
        matching(torch.full((1, flat.shape[1]), float(self.value)), flat)
        return torch.full((1, 1, flat.shape[1]), self.value, dtype=flat.dtype, device=flat.device)


@dataclass(frozen=True, eq=False)
class Marginal(TensorRemoval):
    """Absent elements are drawn from background rows, independently of the present ones (interventional).

    More than ``most`` rows are reduced to a seeded draw; ``given`` says how many there were.
    """

    rows: Any = None
    given: int = 0
    most: int = MOST_ROWS

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Removal:
        rows = flatten(self.rows)
        return replace(self, rows=fewer(rows, self.most, seed), given=len(rows))

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        return matching(self.rows, inputs.flat)[None]


def finite(rows: Tensor) -> Tensor:
    """Background rows ``[S, D]`` as they are, for a removal that makes others of them.

    Raises :class:`RemovalError` where cells are missing, though the model takes these.
    """
    if rows.is_floating_point() and not bool(torch.isfinite(rows).all()):
        bad = torch.nonzero(~torch.isfinite(rows).all(1)).flatten()
        raise RemovalError(
            f"cells are missing in {len(bad)} background rows, and nothing can be made of them",
            where=f"background row {int(bad[0])}",
            fix="background=rows (Marginal) takes rows as they are; or leave these rows out",
        )
    return rows


def fewer(rows: Tensor, most: int, seed: int) -> Tensor:
    """At most so many of the rows ``[S, D]``, drawn by the seed, in their order."""
    if len(rows) <= most:
        return rows
    kept = np.sort(np.random.default_rng([seed, len(rows)]).choice(len(rows), most, replace=False))
    return rows[torch.from_numpy(kept).to(rows.device)]


def matching(rows: Tensor, flat: Tensor) -> Tensor:
    """Background rows in the type and on the device of the explained ones. Raises where their widths differ."""
    if rows.shape[1] != flat.shape[1]:
        alone = rows.shape[1] == flat.numel()  # one row, whose first axis was taken for rows
        raise RemovalError(
            f"the background has {rows.shape[1]} elements a row, the inputs have {flat.shape[1]}",
            fix="a single row needs a leading dimension: row[None]"
            if alone
            else "give background rows of the same kind as the explained ones",
        )
    if rows.is_floating_point() and not flat.is_floating_point() and bool((rows != rows.round()).any()):
        raise RemovalError("these rows hold whole numbers, and what stands for the absent does not")
    return rows.to(dtype=flat.dtype, device=flat.device)


def as_float(flat: Tensor) -> Tensor:
    """Bytes and other whole numbers as float64, so that they can be averaged."""
    return flat if flat.is_floating_point() else flat.double()


def in_type(rows: Tensor, flat: Tensor) -> Tensor:
    """Rows in the type of the explained ones, whole numbers rounded and kept within their type."""
    if flat.is_floating_point():
        return rows
    limits = (0, 1) if flat.dtype == torch.bool else (torch.iinfo(flat.dtype).min, torch.iinfo(flat.dtype).max)
    return rows.round().clamp(*limits).to(flat.dtype)


def path_start(references: Tensor, labels: Tensor, types: tuple[str, ...]) -> Tensor:
    """Where a path begins: the mean of the references ``[R, S, D] → [R, D]`` (rounded where they are whole numbers),
    the mode for categories.

    The mean of a one-hot group is no category, so a categorical player starts at its most frequent
    pattern (the first met, among equals).
    """
    start = mean(references.to(torch.float64), 1)
    start = (start if references.is_floating_point() else start.round()).to(references.dtype)
    if references.shape[1] == 1:
        return references[:, 0].clone()
    for player, kind in enumerate(types):
        if kind in ("categorical", "boolean"):
            own = torch.nonzero(labels == player).flatten()
            for row in range(len(references)):
                patterns, counts = torch.unique(references[row][:, own], dim=0, return_counts=True)
                start[row, own] = patterns[counts.argmax()]
    return start

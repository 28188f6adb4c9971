"""Tables: columns as players, and the most common row as what is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.removal import TensorRemoval, finite, matching, path_start
from ..problem.units import Units
from ..records.errors import InputError, RemovalError, UnknownName, shorten
from ..records.players import Players
from ..records.settings import is_number


class ColumnUnits(Units):
    """Base of choices whose players are columns; ``names`` are the columns', where no encoding has them."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Columns(ColumnUnits):
    """Each raw column a player; all input elements that an encoding makes of it move together.

    A column of which the encoding makes nothing is no player.
    """

    names: tuple[str, ...] = ()

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        width = inputs.width
        if encoding is None or not hasattr(encoding, "groups"):
            names = self.names or tuple(f"x{i}" for i in range(width))
            if len(names) != width:
                raise InputError(f"{len(names)} column names were given for rows of {width} elements")
            return Players.shared(np.arange(width), names, kind="column", types=("numeric",) * width)
        labels = np.full(width, -1)
        groups = {name: list(elements) for name, elements in encoding.groups.items() if len(elements)}
        for player, elements in enumerate(groups.values()):
            labels[elements] = player
        kinds = getattr(encoding, "types", {})
        types = tuple(kinds.get(name, "numeric" if len(own) == 1 else "categorical") for name, own in groups.items())
        return Players.shared(labels, tuple(groups), kind="column", types=types)


@dataclass(frozen=True)
class ColumnGroups(ColumnUnits):
    """Each column a player, some of them in groups: ``ColumnGroups({"money": ["income", "debt"], …})``.

    A column that no group names stands alone. Raises :class:`UnknownName` for a column that is not there, and
    :class:`InputError` for one in two groups.
    """

    groups: Any = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = isinstance(self.groups, Mapping)
        if named and all(isinstance(own, (list, tuple, set, frozenset)) for own in self.groups.values()):
            return
        strange = next((own for own in self.groups.values() if isinstance(own, str)), None) if named else None
        raise InputError(
            f"{shorten(self.groups)} does not say which columns belong together"
            if strange is None
            else f"{shorten(strange)!r} is one name, a group is a list of them",
            fix='ColumnGroups({"money": ["income", "debt"]})',
        )

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        players = Columns(self.names).make(inputs, encoding)
        known = {name: place for place, name in enumerate(players.of(0))}
        level = np.arange(len(known)) + len(self.groups)
        for place, (group, columns) in enumerate(self.groups.items()):
            for column in columns:
                if column not in known:
                    raise UnknownName.among("column", str(column), known)
                if level[known[column]] < place:
                    raise InputError(f"column {shorten(column)!r} is in two groups, one of them {shorten(group)!r}")
                level[known[column]] = place
        return players.in_groups(level[None])


@dataclass(frozen=True)
class ColumnBlocks(ColumnUnits):
    """Neighbouring columns together in ``count`` blocks of near-equal numbers, each block a player.

    For rows of very many columns, of which asking one by one would take as many questions. Raises :class:`InputError`
    for more blocks than columns.
    """

    count: int = 64
    names: tuple[str, ...] = ()

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        columns = Columns(self.names).make(inputs, encoding)
        names, labels = columns.of(0), columns.labels[0]
        if not is_number(self.count) or not 0 < self.count <= len(names):
            raise InputError(f"{len(names)} columns cannot be divided into {self.count!r} blocks")
        block = np.arange(len(names)) * self.count // len(names)
        ends = np.flatnonzero(np.diff(block, prepend=-1, append=self.count))
        spans = zip(ends[:-1], ends[1:] - 1, strict=True)
        told = [names[a] if a == b else f"{shorten(names[a], 25)} … {shorten(names[b], 25)}" for a, b in spans]
        return Players.shared(np.where(labels < 0, -1, block[labels]), told, kind="block")


@dataclass(frozen=True)
class CorrelatedColumns(ColumnUnits):
    """Each column a player, those that move together in groups, found in background rows.

    Two columns hang together as strongly as the two of their elements that correlate most. Groups are joined from
    the strongest down (average linkage, Sokal & Michener 1958); each of ``marks`` is a level: the groups whose columns
    hang together at least that much.
    """

    rows: Any = None
    marks: tuple[float, ...] = (0.25, 0.5, 0.75)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        marks = self.marks if isinstance(self.marks, (tuple, list)) else ()
        if self.rows is None or not marks or not all(is_number(mark) and 0 < mark <= 1 for mark in marks):
            raise InputError(
                "columns that move together are found in rows, at marks between 0 and 1",
                fix="CorrelatedColumns(rows, marks=(0.25, 0.5, 0.75))",
            )

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        players = Columns(self.names).make(inputs, encoding)
        return players.in_groups(linked(self._association(players, encoding), sorted(self.marks)))

    def _association(self, players: Players, encoding: Any) -> np.ndarray:
        """The largest |correlation| between an element of one column and one of another, ``Float64[n, n]``."""
        labels = players.labels[0]
        raw = self.rows.detach().cpu() if isinstance(self.rows, Tensor) else self.rows
        encoded = (encoding is not None and np.ndim(raw) != 2) or hasattr(raw, "columns")
        given = np.asarray(encoding.encode(raw) if encoded and encoding is not None else raw)
        rows: np.ndarray = given.astype(np.float64) if given.dtype.kind in "iufb" else np.full(given.shape, np.nan)
        if rows.ndim != 2 or rows.shape[1] != len(labels) or len(rows) < 2 or not np.isfinite(rows).all():
            raise InputError(
                f"rows of shape {rows.shape} do not tell how {len(labels)} elements move together",
                fix="give two or more rows of the same kind as the explained ones, numbers without NaN",
            )
        scaled = rows - rows.mean(0)
        length = np.linalg.norm(scaled, axis=0)
        scaled /= np.where(length > 0, length, 1.0)
        strength, n = np.abs(scaled.T @ scaled), players.most
        found = np.zeros((n, n))
        own = labels >= 0
        np.maximum.at(found, (labels[own][:, None], labels[own][None, :]), strength[np.ix_(own, own)])
        return found


def linked(strength: np.ndarray, marks: Sequence[float]) -> np.ndarray:
    """Average linkage of strengths ``Float64[n, n]``: the groups ``Int[L, n]`` at each mark, the weakest mark first."""
    groups = np.arange(len(strength))
    between = strength.copy()
    np.fill_diagonal(between, -1.0)
    sizes, levels = np.ones(len(strength)), []
    for mark in reversed(marks):
        while between.max(initial=-1.0) >= mark:
            one, other = sorted(divmod(int(between.argmax()), len(between)))
            joined = (sizes[one] * between[one] + sizes[other] * between[other]) / (sizes[one] + sizes[other])
            between[one] = between[:, one] = joined
            between[other], between[:, other], between[one, one] = -1.0, -1.0, -1.0
            sizes[one] += sizes[other]
            groups[groups == other] = one
        levels.append(groups.copy())
    return np.array(levels[::-1])


@dataclass(frozen=True, eq=False)
class Mode(TensorRemoval):
    """Absent columns take their most common state in the background: the mean of numbers, the mode of categories."""

    rows: Any = None
    kinds: ClassVar[tuple[str, ...]] = ("table",)
    known_as: ClassVar[tuple[str, ...]] = ("mean",)

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Mode:
        if self.rows is None:
            raise RemovalError("Mode needs background rows to find the most common state in", fix="Mode(rows)")
        return replace(self, rows=finite(flatten(self.rows)))

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        rows = matching(self.rows, inputs.flat)
        labels = torch.from_numpy(players.labels[0].copy())
        return path_start(rows[None], labels, players.types)[:, None]

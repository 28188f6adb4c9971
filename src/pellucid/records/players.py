"""Players: the units an explanation speaks of, and which input elements each of them owns.

A row in model space is a flat run of D elements. A player is a column, an image region, a word;
``labels`` says, element by element, whose it is (−1: nobody's, never removed). One map serves all
rows, or every row has its own (superpixels, words), and then rows may have different numbers
of players. Players may stand in a hierarchy: words in sentences, patches in regions, columns in groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from .errors import InputError, shorten
from .series import SeriesAxes


@dataclass(frozen=True, eq=False)
class Players:
    """The players of N rows.

    Attributes
    ----------
    labels: ``Int[R, D]``, the player of each element, R = 1 (shared) or N.
    names: R tuples of player names, in the order of the labels.
    kind: what a player is: ``"column"``, ``"pixel"``, ``"patch"``, ``"region"``, ``"word"``, ``"element"``, …
    types: the type of each player where all rows share them: ``"numeric"``, ``"categorical"``, …
    layout: the shape of one row before it was flattened, e.g. ``(3, 64, 64)``.
    spans: for players of text, R tuples with where each player begins and ends in its row's text, in characters.
    hierarchy: ``Int[R, L, n]``, the group of each player at L levels from coarse to fine, each level's groups within
        those of the one before; −1 beyond the players of a row; None: they stand side by side.
    axes: what the axes of a row are where rows are time series.
    """

    labels: np.ndarray
    names: tuple[tuple[str, ...], ...]
    kind: str = "element"
    types: tuple[str, ...] = ()
    layout: tuple[int, ...] = field(default=())
    hierarchy: np.ndarray | None = None
    spans: tuple[tuple[tuple[int, int], ...], ...] = ()
    axes: SeriesAxes | None = None

    def __post_init__(self) -> None:
        labels = np.maximum(np.atleast_2d(np.asarray(self.labels, dtype=np.int64)), -1)
        labels.setflags(write=False)
        object.__setattr__(self, "labels", labels)
        if len(self.names) != len(labels):
            raise InputError(f"{len(labels)} label maps but {len(self.names)} lists of player names")
        self._refuse_misfits(labels.shape[1])
        for row, names in enumerate(self.names):
            if not names:
                raise InputError("there are no players", where=f"row {row}", fix="give at least one element to someone")
            sizes = np.bincount(labels[row] + 1, minlength=len(names) + 1)[1:]
            if len(sizes) > len(names) or not sizes.all():
                missing = np.flatnonzero(sizes[: len(names)] == 0).tolist()[:5]
                raise InputError(
                    f"labels and names of the players disagree: {len(names)} names, players without elements {missing}",
                    where=f"row {row}",
                    fix="label the elements 0 … n−1, and −1 for nobody's",
                )
        if self.hierarchy is not None:
            object.__setattr__(self, "hierarchy", _nested(np.asarray(self.hierarchy), self.names))

    def _refuse_misfits(self, width: int) -> None:
        if self.types and len(self.types) != self.most:
            raise InputError(f"{len(self.types)} types were given for {self.most} players")
        if self.layout and prod(self.layout) != width:
            raise InputError(f"a layout of {self.layout} does not hold {width} elements")
        if self.spans and [len(row) for row in self.spans] != self.counts.tolist():
            raise InputError("players of text and their places in it disagree on how many there are")

    @classmethod
    def shared(cls, labels: np.ndarray, names: Sequence[str], **fields: Any) -> Players:
        """Players whose map is the same for every row."""
        return cls(np.asarray(labels)[None], (tuple(map(str, names)),), **fields)

    @classmethod
    def elements(cls, names: Sequence[str], layout: tuple[int, ...] = (), kind: str = "element") -> Players:
        """Every input element a player of its own."""
        return cls(np.arange(len(names))[None], (tuple(names),), kind=kind, layout=layout)

    @property
    def is_shared(self) -> bool:
        return len(self.labels) == 1

    @property
    def counts(self) -> np.ndarray:
        """``Int[R]``: how many players each row has."""
        return np.array([len(names) for names in self.names])

    @property
    def most(self) -> int:
        """The largest number of players of any row: the width of the result."""
        return int(self.counts.max()) if len(self.names) else 0

    @property
    def every_element(self) -> bool:
        """True where each element is its own player, in order."""
        return self.is_shared and np.array_equal(self.labels[0], np.arange(self.labels.shape[1]))

    def of(self, row: int) -> tuple[str, ...]:
        """The player names of one row."""
        return self.names[0] if self.is_shared else self.names[row]

    def map_of(self, row: int) -> np.ndarray:
        """The labels of one row in the row's own layout (a region map, for an image)."""
        labels = self.labels[0 if self.is_shared else row]
        return labels.reshape(self.layout) if self.layout else labels

    def take(self, rows: Sequence[int] | np.ndarray) -> Players:
        """The players of some rows."""
        if self.is_shared:
            return self
        rows = [int(row) for row in rows]
        names = tuple(self.names[row] for row in rows)
        hierarchy = None if self.hierarchy is None else self.hierarchy[rows]
        spans = tuple(self.spans[row] for row in rows) if self.spans else ()
        return replace(self, labels=self.labels[rows], names=names, hierarchy=hierarchy, spans=spans)

    def cut(self, elements: np.ndarray, axes: SeriesAxes | None = None) -> Players:
        """The same players of rows that have only some of the elements ``Int[D']``; ``axes`` are those of such rows.

        Raises :class:`InputError` for a player that has none of them.
        """
        labels = self.labels[:, elements]
        for row, names in enumerate(self.names):
            gone = np.setdiff1d(np.arange(len(names)), labels[row])
            if len(gone):
                raise InputError(
                    f"the player {shorten(names[gone[0]])!r} lies behind the end of a shorter row",
                    fix="let each row have players of its own, as the choices in pellucid.players make them",
                )
        return replace(self, labels=labels, layout=() if axes is None else axes.shape, axes=axes)

    def in_groups(self, hierarchy: np.ndarray | None) -> Players:
        """The same players in a hierarchy ``Int[L, n]`` (``Int[R, L, n]`` where rows have players of their own).

        Raises :class:`InputError` for one that leaves a player out, or whose levels are not nested.
        """
        return replace(self, hierarchy=hierarchy)

    def levels_of(self, row: int) -> np.ndarray | None:
        """The hierarchy ``Int[L, n]`` of one row's players, or None."""
        if self.hierarchy is None:
            return None
        return self.hierarchy[0 if self.is_shared else row][:, : len(self.of(row))]

    def spread(self, values: np.ndarray, row: int) -> np.ndarray:
        """Player values ``[n]`` laid over the elements of a row, in its layout; NaN where nobody owns one."""
        labels = self.map_of(row)
        padded = np.append(np.asarray(values, dtype=np.float64), np.nan)
        return padded[np.where(labels >= 0, labels, len(padded) - 1)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "names": [list(names) for names in self.names],
            "kind": self.kind,
            "types": list(self.types),
            "layout": list(self.layout),
            "hierarchy": None if self.hierarchy is None else self.hierarchy.tolist(),
            "spans": [[list(ends) for ends in row] for row in self.spans],
            "axes": None if self.axes is None else self.axes.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], labels: np.ndarray) -> Players:
        names = tuple(tuple(row) for row in data["names"])
        levels = data.get("hierarchy")  # files written before there were any lack it, spans and axes
        hierarchy, axes = None if levels is None else np.array(levels), data.get("axes")
        spans = tuple(tuple((start, stop) for start, stop in row) for row in data.get("spans", ()))
        known = None if axes is None else SeriesAxes.from_dict(axes)
        return cls(labels, names, data["kind"], tuple(data["types"]), tuple(data["layout"]), hierarchy, spans, known)

    def __repr__(self) -> str:
        shown = ", ".join(shorten(name, 20) for names in self.names[:1] for name in names[:4])
        more = ", …" if self.most > 4 else ""
        return f"Players({self.most} × {self.kind}: {shown}{more})"


def _nested(given: np.ndarray, names: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """A hierarchy as ``Int[R, L, n]``. Raises :class:`InputError` naming a player that is left out or in two places."""
    levels = given[None] if given.ndim == 2 else given
    if levels.ndim != 3 or len(levels) != len(names) or levels.dtype.kind not in "iu":
        raise InputError(
            f"a hierarchy of shape {given.shape} does not fit {len(names)} rows of players",
            fix="give whole numbers [levels, players], or [rows, levels, players]",
        )
    most = max(map(len, names))
    if (levels[:, :, most:] >= 0).any():
        raise InputError(f"a hierarchy of {levels.shape[2]} players, but there are {most}")
    for row, own in enumerate(names):
        found = levels[row][:, : len(own)]
        absent = [len(found[0])] if len(found) and len(found[0]) < len(own) else np.argwhere(found.T < 0)[:, 0].tolist()
        if absent:
            raise InputError(
                "a hierarchy that does not cover the players",
                where=f"row {row}" if len(names) > 1 else "",
                why=f"{shorten(own[absent[0]])!r} is in no group",
                fix="give every player a group at every level, one of its own where it stands alone",
            )
        _refuse_crossing(found, own)
    levels = np.array(levels[:, :, :most], dtype=np.int64)
    for row, own in enumerate(names):
        levels[row, :, len(own) :] = -1
    levels.setflags(write=False)
    return levels


def _refuse_crossing(levels: np.ndarray, names: tuple[str, ...]) -> None:
    for depth, (coarse, fine) in enumerate(pairwise(levels)):
        first = np.unique(fine, return_index=True)
        home = first[1][np.searchsorted(first[0], fine)]  # the first player of each one's fine group
        apart = np.flatnonzero(coarse != coarse[home])
        if len(apart):
            one, other = names[home[apart[0]]], names[apart[0]]
            raise InputError(
                "the levels of the hierarchy are not nested",
                why=f"{shorten(one)!r} and {shorten(other)!r} are together at level {depth + 1} and not at level "
                f"{depth}, which is coarser",
            )

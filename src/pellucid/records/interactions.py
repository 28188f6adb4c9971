"""Interactions: what groups of a few players do together, beyond what their members do apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from math import comb
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .amounts import listed
from .answer import Answer
from .errors import InputError, UnknownName, shorten
from .messages import marked

if TYPE_CHECKING:
    import pandas as pd

JOIN = " × "


def parts_of(n: int, largest: int) -> np.ndarray:
    """All parts of 1 … ``largest`` of n players, ``Int[M, largest]``: members ascending, −1 where there are fewer.

    They stand in colexicographic order ({0}, {1}, {0, 1}, {2}, {0, 2}, …), so that the parts of fewer players
    come first, as in the answer about a row that has only these.
    """
    parts = np.full((count_parts(n, largest), largest), -1)
    place = 0
    for last in range(n):
        inner = [c for size in range(largest) for c in combinations(range(last), size)]
        for members in sorted(inner, key=lambda c: c[::-1]):
            parts[place, : len(members) + 1] = (*members, last)
            place += 1
    return parts


def count_parts(n: int, largest: int) -> int:
    """How many parts of 1 … ``largest`` of n players there are."""
    return sum(comb(n, size) for size in range(1, largest + 1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Interactions(Answer):
    """A number for each part (a set of one to a few players) of each row.

    A part of one player is its main effect; what a part of two or three is worth goes beyond what its members are
    worth apart. How credit is divided is the index's affair: see the card of the method.

    Attributes
    ----------
    interactions: ``Float64[N, M, T]``; NaN where a row has fewer players than a part needs.
    errors: their standard errors in the same shape; NaN where unknown.
    gaps: ``Float64[N, T]``, |Σ − (full − base)| over max(Σ|·|, |full − base|); None where the index does not promise
        that all parts add up.
    parts: ``Int[M, largest]``, the members of each part, ascending, −1 where it has fewer; in colexicographic order.
    """

    record: ClassVar[str] = "interactions"
    by_row: ClassVar[tuple[str, ...]] = ("interactions", "errors", "gaps", *Answer.by_row)
    shared: ClassVar[tuple[str, ...]] = ("parts", *Answer.shared)
    of_estimate = {"values": "interactions", "stderr": "errors"}
    each_player: ClassVar[bool] = False

    interactions: np.ndarray
    parts: np.ndarray
    errors: np.ndarray | None = None
    gaps: np.ndarray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interactions.ndim != 3 or self.interactions.shape[1] != len(self.parts):
            raise InputError(
                f"interactions must be [N, M, T] with M = {len(self.parts)} parts, not {self.interactions.shape}"
            )

    # What the user reads -------------------------------------------------------------------

    @property
    def index(self) -> str:
        """The name of the index, e.g. ``"k-SII"``."""
        return str(self.settings.get("index", self.method))

    @property
    def largest(self) -> int:
        """The most players of a part."""
        return self.parts.shape[1]

    @property
    def sizes(self) -> np.ndarray:
        """``Int[M]``, how many players each part has."""
        return (self.parts >= 0).sum(1)

    @property
    def values(self) -> np.ndarray:
        """``[N, M]``, ``[N, M, T]`` with several targets."""
        return self.interactions if self.several else self.interactions[..., 0]

    @property
    def stderr(self) -> np.ndarray | None:
        """Standard errors in the shape of ``values``."""
        return self.errors if self.several or self.errors is None else self.errors[..., 0]

    @property
    def gap(self) -> np.ndarray:
        """The completeness gap of each row, ``[N]`` or ``[N, T]``; NaN where the index promises none."""
        gaps = np.full(self.base.shape, np.nan) if self.gaps is None else self.gaps
        return gaps if self.several else gaps[:, 0]

    def of(self, *players: str | int, row: int = 0, output: int = 0) -> float:
        """What the part of these players (names or places, in any order) is worth in a row.

        Raises :class:`UnknownName` for a player that the row lacks, :class:`InputError` for a part that is not here.
        """
        return float(self.interactions[row, self._place(players, row), output])

    def error_of(self, *players: str | int, row: int = 0, output: int = 0) -> float:
        """The standard error of what :meth:`of` tells; NaN where unknown."""
        errors = self.errors
        return float("nan") if errors is None else float(errors[row, self._place(players, row), output])

    def _place(self, players: tuple[str | int, ...], row: int) -> int:
        names = self.players.of(range(len(self))[row])
        members = sorted({_member(player, names) for player in players})
        if len(members) < len(players) or not 1 <= len(members) <= self.largest:
            raise InputError(
                f"{len(players)} players were named, {len(members)} of them different",
                fix=f"name 1 to {self.largest} different players",
            )
        return sum(  # the place in colexicographic order: parts below each member, from the largest member down
            sum(comb(member, size) for size in range(1, self.largest - above + 1)) + (above > 0)
            for above, member in enumerate(reversed(members))
        )

    def order(self, size: int, row: int = 0, output: int = 0) -> np.ndarray:
        """The parts of exactly ``size`` players as an array with an axis for each: ``[n]``, ``[n, n]``, ….

        It is symmetric, and NaN where a player would stand twice.
        """
        return self._laid(self.interactions, size, row, output)

    def errors_of_order(self, size: int, row: int = 0, output: int = 0) -> np.ndarray:
        """The standard errors of :meth:`order`, in its shape."""
        errors = np.full_like(self.interactions, np.nan) if self.errors is None else self.errors
        return self._laid(errors, size, row, output)

    def _laid(self, array: np.ndarray, size: int, row: int, output: int) -> np.ndarray:
        if not 1 <= size <= self.largest:
            raise InputError(f"there are parts of 1 to {self.largest} players, not of {size}")
        n = len(self.players.of(range(len(self))[row]))
        laid = np.full((n,) * size, np.nan)
        for place in np.flatnonzero((self.sizes == size) & (self.parts.max(1) < n)):
            for way in permutations(self.parts[place, :size]):
                laid[way] = array[row, place, output]
        return laid

    def top(
        self, k: int = 5, row: int = 0, output: int = 0, size: int | None = None
    ) -> list[tuple[tuple[str, ...], float, float]]:
        """The ``k`` parts of a row with the largest |value|: (names, value, standard error or NaN).

        ``size`` restricts them to parts of so many players.
        """
        values = self.interactions[row, :, output]
        errors = np.full(values.shape, np.nan) if self.errors is None else self.errors[row, :, output]
        there = np.flatnonzero(np.isfinite(values) & (True if size is None else self.sizes == size))
        order = there[np.argsort(-np.abs(values[there]), kind="stable")][:k]
        return [(self.names(place, row), float(values[place]), float(errors[place])) for place in order]

    def names(self, place: int, row: int = 0) -> tuple[str, ...]:
        """The names of the players of one part."""
        names = self.players.of(range(len(self))[row])
        return tuple(names[member] for member in self.parts[place] if member >= 0)

    def to_frame(self) -> pd.DataFrame:
        """A long table: row, output, size, players, value, stderr."""
        import pandas as pd

        lines = []
        for row in range(len(self)):
            for t, output in enumerate(self.outputs[row]):
                for place in np.flatnonzero(np.isfinite(self.interactions[row, :, t])):
                    error = np.nan if self.errors is None else self.errors[row, place, t]
                    told = JOIN.join(self.names(int(place), row))
                    lines.append((row, output, self.sizes[place], told, self.interactions[row, place, t], error))
        return pd.DataFrame(lines, columns=["row", "output", "size", "players", "value", "stderr"])

    def __repr__(self) -> str:
        head = f"Interactions ({self.index}) of {len(self)} rows by {self.method}: {self.players!r}"
        if len(self):
            base, full = float(self.base[0, 0]), float(self.full[0, 0])
            first = listed([(_joined(names), value, error) for names, value, error in self.top(3)], base, full)
            head += f"\n  row 0, {self.outputs[0][0]}: {base:.3g} → {full:.3g}; {first}"
        return head + marked(self.warnings)


def _joined(names: tuple[str, ...]) -> str:
    return JOIN.join(shorten(name, 30) for name in names)


def _member(player: str | int, names: tuple[str, ...]) -> int:
    """The place of a player given by name or by place."""
    if isinstance(player, (int, np.integer)) and not isinstance(player, bool):
        if not 0 <= player < len(names):
            raise InputError(f"player {player} of {len(names)}")
        return int(player)
    if player not in names:
        raise UnknownName.among("player", str(player), names)
    return names.index(str(player))

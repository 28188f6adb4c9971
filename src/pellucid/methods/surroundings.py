"""What a rule holds fixed and how the rest is drawn: the surroundings of a row in which a rule is tested.

A *condition* belongs to a player; a *rule* ``Int[n]`` names the condition that holds each player, −1 where none does. A
draw is a reference row and one number of chance for each player. What a rule makes of a draw is told player by player,
as :meth:`Session.margins` reads it: from which reference row the player is taken, −1 for the explained row. A player
that satisfies its condition by itself stays as it was drawn, so one asked row serves many rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from ..engine.session import Session

QUARTILES = (0.25, 0.5, 0.75)
BINS = len(QUARTILES) + 1
PACKED = 52
"""So many zeros and ones fit into one number exactly."""
RUNS = sorted(
    ((low, high) for low in range(BINS) for high in range(low, BINS)), key=lambda run: run[0] > 0 and run[1] < BINS - 1
)
"""Bins from one to another; those that are open at an end come first, (0, 0) the very first."""


class Surroundings(ABC):
    """The draws about each row of a session, the conditions that can hold them, and what share a rule covers.

    Attributes
    ----------
    owner: ``Int[L]``, the player of each condition.
    within: ``Bool[L, L]``, whether the second condition (of the same player) is stricter than the first.
    first: ``Bool[L]``, the conditions with which a player may enter a rule; the others only replace wider ones.
    """

    owner: np.ndarray
    within: np.ndarray
    first: np.ndarray

    def __init__(self, session: Session):
        self.session, self.n = session, session.n

    def attend(self, items: np.ndarray) -> None:
        """Turn to these rows ``Int[G]``; what follows is told about the g-th of them."""
        self._items = items

    @abstractmethod
    def possible(self, g: int) -> np.ndarray:
        """Which conditions hold of the row itself and not of every draw, each once, ``Bool[L]``."""

    @abstractmethod
    def satisfied(self, draws: Draws, g: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Which conditions draws ``k`` of rows ``g`` satisfy by themselves, ``Bool[b, L]``."""

    @abstractmethod
    def free(self, draws: Draws, g: np.ndarray, k: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        """Whether they satisfy one condition ``Int[b]`` each by themselves, ``Bool[b]``."""

    @abstractmethod
    def sources(self, draws: Draws, g: np.ndarray, k: np.ndarray, held: np.ndarray) -> np.ndarray:
        """What rules, by the conditions ``Int[b, m]`` that they hold (see :func:`held_by`), make of draws:
        ``Int[b, n]`` for :meth:`Session.margins`."""

    @abstractmethod
    def extended(self, g: int, rules: np.ndarray) -> np.ndarray:
        """The share that rules ``Int[B, n]`` cover with each of the conditions beside, ``Float64[B, L]``."""

    @abstractmethod
    def covered(self, g: int, rules: np.ndarray) -> tuple[np.ndarray, int]:
        """The share ``Float64[C]`` of draws that satisfy rules ``Int[C, n]`` by themselves, and of how many rows it
        is a count; 0 where it is exact."""

    def limits(self, g: int, rule: np.ndarray) -> np.ndarray:
        """Between which values a rule holds each player, ``Float64[2, n]``: above the first, up to the second, in the
        units of the raw columns; NaN where there is no such end."""
        return np.full((2, self.n), np.nan)


class Draws:
    """Draws about each of G rows: reference rows ``Int[G, K]`` and chance ``Float32[G, K, n]``, each row's own."""

    def __init__(self, around: Surroundings, noise: Sequence[np.random.Generator]):
        self._noise, self._references, self._n = noise, around.session.draws, around.n
        self.rows = np.zeros((len(noise), 0), dtype=np.int64)
        self.chance = np.zeros((len(noise), 0, around.n), dtype=np.float32)

    def more(self, count: int) -> None:
        """So many draws more of every row."""
        rows = [rng.integers(self._references, size=count) for rng in self._noise]
        chance = [rng.random((count, self._n), dtype=np.float32) for rng in self._noise]
        self.rows = np.concatenate([self.rows, np.stack(rows)], 1)
        self.chance = np.concatenate([self.chance, np.stack(chance)], 1)


def held_by(rules: np.ndarray) -> np.ndarray:
    """The conditions that rules ``Int[…, n]`` hold, one beside the other, ``Int[…, m]``: −1 behind the shorter ones."""
    most = int((rules >= 0).sum(-1).max(initial=0))
    return -np.sort(-rules, axis=-1)[..., :most]


class OnAndOff(Surroundings):
    """Each player is there or not by a fair coin; what is absent is filled in by the problem's removal."""

    def __init__(self, session: Session):
        super().__init__(session)
        self.owner = np.arange(self.n)
        self.within, self.first = np.zeros((self.n, self.n), dtype=bool), np.ones(self.n, dtype=bool)

    def possible(self, g: int) -> np.ndarray:
        return self.first

    def satisfied(self, draws: Draws, g: np.ndarray, k: np.ndarray) -> np.ndarray:
        return draws.chance[g, k] < 0.5

    def free(self, draws: Draws, g: np.ndarray, k: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        return draws.chance[g, k, conditions] < 0.5

    def sources(self, draws: Draws, g: np.ndarray, k: np.ndarray, held: np.ndarray) -> np.ndarray:
        there = draws.chance[g, k] < 0.5
        b, place = np.nonzero(held >= 0)
        there[b, held[b, place]] = True
        return np.where(there, -1, draws.rows[g, k][:, None])

    def extended(self, g: int, rules: np.ndarray) -> np.ndarray:
        return np.repeat(0.5 ** ((rules >= 0).sum(1, keepdims=True) + 1), self.n, axis=1)

    def covered(self, g: int, rules: np.ndarray) -> tuple[np.ndarray, int]:
        return 0.5 ** (rules >= 0).sum(1), 0


class Bins(Surroundings):
    """Rows of a table are drawn from the background; a rule holds a number in a run of bins, a category as it is.

    Bins lie between the quartiles of the background, which are values that occur in it. A player that does not satisfy
    its condition takes the value of another background row that does, drawn for each player apart.
    """

    def __init__(self, session: Session):
        super().__init__(session)
        labels = session.players.labels[0]
        owned = [np.flatnonzero(labels == player) for player in range(self.n)]
        numeric = [kind == "numeric" for kind in session.types or ("numeric",) * self.n]
        conditions = [(player, *run) for player in range(self.n) for run in (RUNS if numeric[player] else RUNS[:1])]
        self.owner, self.low, self.high = np.array(conditions).T
        wider = (self.low[:, None] <= self.low) & (self.high[:, None] >= self.high)
        self.within = (self.owner[:, None] == self.owner) & wider & ~np.eye(len(self.owner), dtype=bool)
        self.first = (self.low == 0) | (self.high == BINS - 1)
        rows, references = (part.double().cpu().numpy() for part in (session.x, session.references))
        shared = len(references) == 1
        self._tables = [_Table(t, rows if shared else rows[[k]], owned, numeric) for k, t in enumerate(references)]
        self._which = np.zeros(len(rows), dtype=np.int64) if shared else np.arange(len(rows))
        self._codes = np.stack([table.codes for table in self._tables])
        self._order = np.stack([table.order for table in self._tables])
        own = np.concatenate([table.own for table in self._tables])[:, self.owner]
        bins = np.concatenate([table.bins for table in self._tables])
        self._known = bins >= 0
        bin_of = np.maximum(bins, 0)[:, self.owner]
        self._from, self._to = own - bin_of + self.low, own - bin_of + self.high
        whole = self._known[:, self.owner] | ((self.low == 0) & (self.high == 0))
        self._holds = (self.low <= bin_of) & (bin_of <= self.high) & whole
        self._start, self._count = self._members()

    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in its player's order the background rows of each condition start, and their number: ``Int[N, L]``."""
        start, stop = np.zeros(self._from.shape, np.int64), np.zeros(self._from.shape, np.int64)
        for which, table in enumerate(self._tables):
            items = np.flatnonzero(self._which == which)
            for place, player in enumerate(self.owner.tolist()):
                ordered = table.codes[table.order[player], player]
                start[items, place] = np.searchsorted(ordered, self._from[items, place], side="left")
                stop[items, place] = np.searchsorted(ordered, self._to[items, place], side="right")
        return start, stop - start

    def attend(self, items: np.ndarray) -> None:
        super().attend(items)
        tables = self._codes if len(self._codes) == 1 else self._codes[self._which[items]]
        codes, low, high = (part.astype(np.int32) for part in (tables, self._from[items], self._to[items]))
        codes = np.take(codes, self.owner, axis=2)
        self._inside = (low[:, None] <= codes) & (codes <= high[:, None])  # [G, S, L]

    def possible(self, g: int) -> np.ndarray:
        item = self._items[g]
        found = self._holds[item] & (self._count[item] < self._codes.shape[1])
        # Between equal quartiles a bin is empty; of runs of bins that are the same condition the first stands for all.
        runs = np.stack([self.owner, self._start[item], self._count[item], ~found])
        once = np.zeros(len(found), dtype=bool)
        once[np.unique(runs, axis=1, return_index=True)[1]] = True
        return found & once

    def satisfied(self, draws: Draws, g: np.ndarray, k: np.ndarray) -> np.ndarray:
        return self._inside[g, draws.rows[g, k]]

    def free(self, draws: Draws, g: np.ndarray, k: np.ndarray, conditions: np.ndarray) -> np.ndarray:
        return self._inside[g, draws.rows[g, k], conditions]

    def sources(self, draws: Draws, g: np.ndarray, k: np.ndarray, held: np.ndarray) -> np.ndarray:
        rows, (_, S, L) = draws.rows[g, k], self._inside.shape
        found = np.empty((len(rows), self.n), dtype=np.int32)
        found[:] = rows[:, None]
        lacking = (held >= 0) & ~self._inside.reshape(-1).take(((g * S + rows) * L)[:, None] + held)
        b, place = np.nonzero(lacking)
        condition, row = held[b, place], g[b]
        player, item = self.owner[condition], self._items[row]
        count, chance = self._count[item, condition], draws.chance[row, k[b], player]
        place = self._start[item, condition] + np.minimum((chance * count).astype(np.int64), count - 1)
        others = self._order[self._which[item], player, np.maximum(place, 0)]
        found[b, player] = np.where(count > 0, others, -1)  # a category that the background lacks stays the row's own
        return found

    def extended(self, g: int, rules: np.ndarray) -> np.ndarray:
        inside = self._inside[g]  # a stricter condition in place of a player's own leaves what both hold of
        kept = np.stack([inside[:, rule[rule >= 0]].all(1) for rule in rules])
        return (kept.astype(np.float32) @ inside.astype(np.float32)).astype(np.float64) / len(inside)

    def covered(self, g: int, rules: np.ndarray) -> tuple[np.ndarray, int]:
        held = np.zeros((len(rules), len(self.owner)), dtype=np.float32)
        c, player = np.nonzero(rules >= 0)
        held[c, rules[c, player]] = 1
        outside = (~self._inside[g]).astype(np.float32)
        return (outside @ held.T == 0).mean(0), len(outside)

    def limits(self, g: int, rule: np.ndarray) -> np.ndarray:
        item = self._items[g]
        ends = np.full((2, self.n), np.nan)
        for player in np.flatnonzero((rule >= 0) & self._known[item]).tolist():
            raw = self._raw_edges[self._which[item]]
            low, high = self.low[rule[player]], self.high[rule[player]]
            if low > 0:
                ends[0, player] = raw[player][low - 1]
            if high < BINS - 1:
                ends[1, player] = raw[player][high]
        return ends

    @cached_property
    def _raw_edges(self) -> list[np.ndarray]:
        """Where bins meet, ``Float64[n, 3]`` for each table, in the units of the raw columns where an encoding
        tells."""
        return [self._in_raw_units(table) for table in self._tables]

    def _in_raw_units(self, table: _Table) -> np.ndarray:
        frame = self.session.decoded(torch.from_numpy(table.rows[table.edge_rows.ravel()]))
        if frame is None:
            return table.edges
        raw = table.edges.copy()
        for player in np.flatnonzero(np.isfinite(table.edges).all(1)).tolist():
            cells = frame[self.session.names(0)[player]].to_numpy().reshape(-1, len(QUARTILES))
            raw[player] = cells[player].astype(np.float64)
        return raw


class _Table:
    """Background rows ``[S, D]`` and explained rows ``[k, D]`` as codes: in which bin or state each player is.

    ``codes`` ``Int[S, n]`` and ``own`` ``Int[k, n]``; ``order[i]`` lists the background rows by player i's code.
    ``bins`` ``Int[k, n]`` is the bin of the explained rows' numbers (−1: not a number), ``edges`` ``Float64[n, 3]``
    where bins meet (NaN for what is no number) and ``edge_rows`` background rows that lie there.
    """

    def __init__(self, table: np.ndarray, rows: np.ndarray, owned: list[np.ndarray], numeric: list[bool]):
        S, n = len(table), len(owned)
        self.rows, both = table, np.concatenate([table, rows])
        codes, self.bins = np.zeros((len(both), n), dtype=np.int64), np.full((len(rows), n), -1)
        self.edges, self.edge_rows = np.full((n, len(QUARTILES)), np.nan), np.zeros((n, len(QUARTILES)), dtype=np.int64)
        for player, (own, number) in enumerate(zip(owned, numeric, strict=True)):
            flags = both[:, own[1:] if number else own]  # beside a number stand flags, such as that of a missing cell
            if number and np.isnan(both[:, own[0]]).any():
                flags = np.concatenate([flags, np.isnan(both[:, own[:1]])], axis=1)
            codes[:, player] = _states(flags) * BINS if flags.shape[1] else 0
            if not number:
                continue
            known = np.logical_not(flags.any(1))
            if not known[:S].any():
                continue
            values, at = both[:, own[0]], np.flatnonzero(known[:S])
            edges = np.quantile(values[at], QUARTILES, method="lower")
            self.edges[player], self.edge_rows[player] = edges, at[(values[at] == edges[:, None]).argmax(1)]
            bins = np.searchsorted(edges, values, side="left")
            codes[known, player] += bins[known]
            self.bins[:, player] = np.where(known, bins, -1)[S:]
        self.codes, self.own = codes[:S], codes[S:]
        self.order = np.argsort(self.codes, axis=0, kind="stable").T


def _states(cells: np.ndarray) -> np.ndarray:
    """The place of each row ``[S, w]`` among the different ones, ``Int[S]``."""
    if np.isnan(cells).any():  # a missing cell is a state of its own
        cells = np.concatenate([np.nan_to_num(cells), np.isnan(cells)], axis=1)
    w = cells.shape[1]
    if w <= PACKED and ((cells == 0) | (cells == 1)).all():
        cells = cells @ 2.0 ** np.arange(w)  # a number for each pattern: sorting numbers is faster than sorting rows
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)


def surroundings_of(session: Session) -> Surroundings:
    """Bins for the columns of a table with more than one background row; players on and off everywhere else."""
    if session.kind == "table" and not session.opaque and session.players.is_shared and session.draws > 1:
        return Bins(session)
    return OnAndOff(session)

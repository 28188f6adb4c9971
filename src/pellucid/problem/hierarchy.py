"""A hierarchy of players as a tree, and a balanced one where nobody gave any."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..records.players import Players


@dataclass(eq=False)
class Tree:
    """Groups within groups of n players; node 0 is everyone, a node without children is one player.

    Players stand in an ``order`` in which every group is a run: node g holds ``order[start[g]:stop[g]]``. Children
    come after their parents.
    """

    order: np.ndarray
    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)

    @classmethod
    def of(cls, levels: np.ndarray) -> Tree:
        """The tree of a hierarchy ``Int[L, n]``; a level that divides nothing is left out, the last are the players."""
        n = levels.shape[1]
        tree = cls(np.lexsort((np.arange(n), *levels[::-1])))
        marks = np.concatenate([levels[:, tree.order], np.arange(n)[None]])
        tree._grow(marks, 0, n, -1)
        return tree

    def _grow(self, marks: np.ndarray, start: int, stop: int, parent: int) -> None:
        place = len(self.start)
        self.start.append(start)
        self.stop.append(stop)
        self.parent.append(parent)
        self.depth.append(0 if parent < 0 else self.depth[parent] + 1)
        self.children.append([])
        if parent >= 0:
            self.children[parent].append(place)
        if stop - start == 1:
            return
        own = marks[:, start:stop]
        level = int((own != own[:, :1]).any(1).argmax())
        edges = start + 1 + np.flatnonzero(own[level, 1:] != own[level, :-1])
        for low, high in zip([start, *edges.tolist()], [*edges.tolist(), stop], strict=True):
            self._grow(marks[level:], low, high, place)

    def size(self, node: int) -> int:
        """How many players a node holds."""
        return self.stop[node] - self.start[node]

    def siblings(self, node: int) -> list[int]:
        """The other children of a node's parent."""
        return [other for other in self.children[self.parent[node]] if other != node]

    def lineage(self, node: int) -> list[int]:
        """A node and the groups around it, everyone left out, from the inside out."""
        found = []
        while node > 0:
            found.append(node)
            node = self.parent[node]
        return found


def balanced(players: Players, row: int) -> np.ndarray:
    """Halves of halves of one row's players, ``Int[L, n]``: by their places in an image, else in their own order."""
    places = _places(players, row)
    n, levels = len(places), []
    groups = np.zeros(n, dtype=np.int64)
    while np.bincount(groups).max(initial=1) > 2:
        for group in range(int(groups.max()) + 1):
            own = np.flatnonzero(groups == group)
            if len(own) > 1:
                axis = np.ptp(places[own], axis=0).argmax()
                later = own[np.argsort(places[own, axis], kind="stable")[(len(own) + 1) // 2 :]]
                groups[later] = groups.max() + 1
        levels.append(groups.copy())
    return np.array(levels, dtype=np.int64).reshape(-1, n)


def _places(players: Players, row: int) -> np.ndarray:
    """Where each player is, ``Float64[n, axes]``: the middle of its elements in the last two axes, or its number."""
    n = len(players.of(row))
    if len(players.layout) < 2:
        return np.arange(n, dtype=np.float64)[:, None]
    labels = players.map_of(row)
    held = labels >= 0
    counts = np.bincount(labels[held], minlength=n)
    axes = np.indices(labels.shape)[-2:]
    return np.stack([np.bincount(labels[held], axis[held], minlength=n) / counts for axis in axes], axis=1)

"""Designs: which pairs of coalitions (each with its complement) Shapley estimators ask, and how likely each was.

Shapley values depend on the odd part o(S) = (v(S) − v(Sᶜ))/2 of a game alone, so a coalition is always asked
together with its complement, and a design lists one of each pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, factorial

import numpy as np

from ..engine.session import Session

BLOCK = 2**21
"""Values held at once."""
CHAINS = 1.25
"""Below so many pairs a player, prefixes of random orders tell more than pairs of every size."""
TILTED = 3.5
"""Up to so many pairs a player, small coalitions are drawn more often than by leverage."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """One coalition of each pair, ``Bool[pairs, n]``; ``exact`` where every pair there is was drawn."""

    first: np.ndarray
    exact: bool

    @property
    def coalitions(self) -> np.ndarray:
        """Each coalition followed by its complement, ``Bool[2 · pairs, n]``."""
        both = np.empty((2 * len(self.first), self.first.shape[1]), dtype=bool)
        both[0::2], both[1::2] = self.first, ~self.first
        return both

    def weights(self) -> np.ndarray:
        """Shapley kernel over chance of being drawn: the kernel's mass of a size, shared by the pairs drawn of it.

        The pairs of size k (or n − k) weigh 1/(k (n − k)) together, half of that where k = n/2; a binomial coefficient,
        which overflows for many players, cancels.
        """
        n = self.first.shape[1]
        smaller = np.minimum(self.first.sum(1), n - self.first.sum(1))
        mass = np.where(2 * smaller == n, 0.5, 1.0) / (smaller * (n - smaller))
        weights = mass / np.bincount(smaller)[smaller]
        return weights / weights.max()


def odd_parts(session: Session, pairs: Pairs, least: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Runs of questions ``Int[q]`` and their odd parts ``Float64[q, pairs]``, as many at once as memory allows.

    A run takes all targets of its rows, of which it has ``least`` at least where there are so many.
    """
    rows = max(BLOCK // (2 * len(pairs.first)) // session.targets, least)
    for start in range(0, len(session), rows):
        stop = min(start + rows, len(session))
        questions = np.arange(start * session.targets, stop * session.targets)
        v = session.values(pairs.coalitions, questions)
        yield questions, (v[:, 0::2] - v[:, 1::2]) / 2


def drawn_pairs(rng: np.random.Generator, n: int, pairs: int, tilt: bool = False) -> Pairs:
    """``pairs`` pairs for n ≥ 2 players: all there are; chains where they are few; else sizes by leverage.

    Leverage gives every size the same mass (Musco & Witter 2025, arXiv 2410.01917). With ``tilt``, small coalitions are
    taken more often while pairs are few, as a fit wants that knows more than lines. From n − 1 pairs on, all players
    are told apart for certain: where the draw leaves two alike, one whole chain takes the first places.
    """
    if pairs >= 2 ** (n - 1) - 1:
        return Pairs(_all_halves(n), True)
    if pairs < CHAINS * n:
        return Pairs(_chains(rng, n, pairs), False)
    first = _by_size(rng, n, pairs, -1.0 if tilt and pairs <= TILTED * n else 0.0)
    if np.linalg.matrix_rank(np.vstack([np.ones(n), 2.0 * first - 1])) < n:
        first[: n - 1] = _chains(rng, n, n - 1)
    return Pairs(first, False)


def pairs_by_size(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    """``pairs`` distinct pairs of every size, small coalitions more often, ``Bool[pairs, n]``."""
    return _by_size(rng, n, min(pairs, 2 ** (n - 1) - 1), -1.0)


def everything(_: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """All coalitions ``Bool[2ⁿ, n]`` and the weights ``Float64[2ⁿ, n]`` with φ = v · weights."""
    coalitions = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    sizes = coalitions.sum(1)
    inside = np.array([0.0] + [factorial(k - 1) * factorial(n - k) / factorial(n) for k in range(1, n + 1)])
    outside = np.array([factorial(k) * factorial(n - k - 1) / factorial(n) for k in range(n)] + [0.0])
    return coalitions, np.where(coalitions, inside[sizes, None], -outside[sizes, None])


def _all_halves(n: int) -> np.ndarray:
    """One of each complementary pair: the coalitions without the last player, the empty one left out."""
    return (np.arange(1, 2 ** (n - 1))[:, None] >> np.arange(n)) & 1 == 1


def prefixes(order: np.ndarray) -> np.ndarray:
    """The coalitions on the way from nobody to everyone in an order, both ends left out, ``Bool[n − 1, n]``."""
    arrival = np.empty(len(order), dtype=int)
    arrival[order] = np.arange(len(order))
    return arrival < np.arange(1, len(order))[:, None]


def _chains(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    """Prefixes of random orders, no pair twice; the first n − 1 are one whole chain, so every player is told apart."""
    rows, seen = [], set()
    while len(rows) < pairs:
        for row in prefixes(rng.permutation(n)):
            key = _key(row)
            if key not in seen:
                seen.add(key)
                rows.append(row)
    return np.array(rows[:pairs])


def _key(row: np.ndarray) -> bytes:
    """The same for a coalition and its complement."""
    return min(row.tobytes(), (~row).tobytes())


def _by_size(rng: np.random.Generator, n: int, pairs: int, tilt: float) -> np.ndarray:
    """Pairs of every size, mass ∝ (k/n)^tilt a size (and its mirror), drawn without replacement, ``Bool[pairs, n]``."""
    sizes = np.arange(1, n // 2 + 1)
    capacity = np.array([pairs_of_size(n, int(k)) for k in sizes])
    mass = np.where(2 * sizes == n, 1.0, 2.0) * (sizes / n) ** tilt
    counts = _rounded(rng, _expected(pairs, mass, capacity), capacity)
    return np.array(
        [row for k, count in zip(sizes, counts, strict=True) for row in _balanced(rng, n, int(k), int(count))]
    )


def pairs_of_size(n: int, k: int) -> float:
    """How many pairs there are of coalitions of k and n − k players, 2⁵³ at most."""
    return float(min(comb(n, k) // (2 if 2 * k == n else 1), 2**53))


def _expected(pairs: int, mass: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """min(h · mass, capacity) with h such that all sum to ``pairs``: full sizes hand their surplus on."""
    full = np.zeros(len(mass), dtype=bool)
    while True:
        share = np.where(full, capacity, mass * (pairs - capacity[full].sum()) / max(mass[~full].sum(), 1e-300))
        over = (share > capacity) & ~full
        if not over.any():
            return share
        full |= over


def _rounded(rng: np.random.Generator, expected: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """Whole numbers with the same sum (floors, and one random offset that hands out what they leave)."""
    floors = np.floor(expected)
    edges = np.floor(np.cumsum(expected - floors) + rng.random())
    edges[-1] = round(float((expected - floors).sum()))
    return np.minimum(floors + np.diff(edges, prepend=0), capacity).astype(int)


def _balanced(rng: np.random.Generator, n: int, k: int, count: int) -> list[np.ndarray]:
    """``count`` distinct coalitions of size k (or n − k, by a coin), each player in about equally many."""
    total = comb(n, k) // (2 if 2 * k == n else 1)
    if 2 * count >= total:
        every = _all_of_size(n, k)
        drawn = [every[i] for i in rng.permutation(len(every))[:count]]
    else:
        drawn, seen = [], set()
        while len(drawn) < count:
            order = rng.permutation(n)
            for start in range(0, n - k + 1, k):
                row = np.zeros(n, dtype=bool)
                row[order[start : start + k]] = True
                key = _key(row) if 2 * k == n else row.tobytes()
                if key not in seen and len(drawn) < count:
                    seen.add(key)
                    drawn.append(row)
    return [row if coin else ~row for row, coin in zip(drawn, rng.random(len(drawn)) < 0.5, strict=True)]


def _all_of_size(n: int, k: int) -> np.ndarray:
    """Every coalition of size k; for k = n/2 only those with the first player, one of each pair."""
    inside = [set(c) for c in combinations(range(n), k) if 2 * k != n or c[0] == 0]
    return np.array([[player in c for player in range(n)] for c in inside])

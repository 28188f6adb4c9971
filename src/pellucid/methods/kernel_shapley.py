"""Kernel Shapley: Shapley values by weighted least squares over sampled pairs of coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.settings import Range
from .method import Method


@dataclass(frozen=True)
class KernelShapley(Method):
    """Shapley values as the weighted least-squares fit of v (Lundberg & Lee 2017, arXiv 1705.07874, theorem 2).

    Every coalition is asked together with its complement (Covert & Lee 2021, arXiv 2012.01536, section 4.1); sizes
    are drawn by leverage, equal mass per size and without replacement (Musco & Witter 2025, arXiv 2410.01917).
    No feature is ever set to zero by a penalty. From 2ⁿ evaluations on the answer is exact.
    """

    samples: Annotated[
        int | None, Range(4, 10_000_000), "evaluations per explained number, both ends counted; none: 2n + 2048"
    ] = None

    name: ClassVar[str] = "kernel_shapley"
    title: ClassVar[str] = "Kernel Shapley"
    source: ClassVar[str] = "Lundberg & Lee 2017, arXiv 1705.07874, theorem 2; Musco & Witter 2025, arXiv 2410.01917"
    promises: ClassVar[tuple[str, ...]] = ("completeness", "symmetry", "linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        n, change = session.n, session.full - session.empty
        if n == 1:
            return Estimate(change[:, None], stderr=np.zeros((len(change), 1)))
        budget = session.allowance(self.samples or 2 * n + 2048, least=min(2 * n, 2**n))
        pairs = min((self.samples or budget) - 2, 2**n - 2, budget - 2) // 2
        design = session.design(_design, n, pairs)
        fitted = np.zeros((session.questions, n))
        crossed = np.zeros((session.questions, n))
        squares = np.zeros(session.questions)
        for part, v in session.sweep(design.coalitions, multiple=2):
            odd = (v[:, 0::2] - v[:, 1::2]) / 2
            half = slice(part.start // 2, part.stop // 2)
            fitted += odd @ design.solve[half]
            crossed += odd @ design.signs[half] / 2
            squares += np.square(odd).sum(1)
        values = fitted + design.share * change[:, None]
        notes = {"pairs": pairs, "exact": design.exact}
        return Estimate(values, stderr=design.errors(values, crossed, squares), notes=notes)

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 2048)


@dataclass(frozen=True, eq=False)
class _Design:
    """Pairs of coalitions (each followed by its complement) and what is solved for them once.

    With signs s = ±1 of the first of each pair and the odd part o = (v(S) − v(Sᶜ))/2, an additive game has
    o = s·φ/2; φ = o · ``solve`` + ``share`` · (v(N) − v(∅)) is the constrained fit.
    """

    coalitions: np.ndarray
    signs: np.ndarray
    solve: np.ndarray
    share: np.ndarray
    spread: np.ndarray
    gram: np.ndarray
    exact: bool

    def errors(self, values: np.ndarray, crossed: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Standard errors from the residuals of the odd parts; NaN where no pair is left over to tell them."""
        pairs, n = self.signs.shape
        if self.exact:
            return np.zeros_like(values)
        left = pairs - (n - 1)
        if left <= 0:
            return np.full_like(values, np.nan)
        residual = squares - 2 * (values * crossed).sum(1) + np.einsum("qi,ij,qj->q", values, self.gram, values)
        return np.sqrt(np.maximum(residual, 0.0) / left)[:, None] * self.spread


def _design(rng: np.random.Generator, n: int, pairs: int) -> _Design:
    exact = pairs >= 2 ** (n - 1) - 1
    if exact:
        first = _all_halves(n)
    elif pairs < 1.25 * n:
        first = _chains(rng, n, pairs)
    else:
        first = _by_leverage(rng, n, pairs)
        if np.linalg.matrix_rank(np.vstack([np.ones(n), 2.0 * first - 1])) < n:
            first[: n - 1] = _chains(rng, n, n - 1)
    return _solved(first, _weights(first), exact)


def _weights(first: np.ndarray) -> np.ndarray:
    """Shapley kernel over chance of being drawn, per pair: the kernel's mass of a size, shared by those drawn of it.

    The pairs of size k (or n − k) weigh 1/(k (n − k)) together, half of that where k = n/2; a binomial coefficient,
    which overflows for many players, cancels.
    """
    n = first.shape[1]
    smaller = np.minimum(first.sum(1), n - first.sum(1))
    mass = np.where(2 * smaller == n, 0.5, 1.0) / (smaller * (n - smaller))
    weights = mass / np.bincount(smaller)[smaller]
    return weights / weights.max()


def _solved(first: np.ndarray, weights: np.ndarray, exact: bool) -> _Design:
    """The fit's linear map: minimise Σ w (o − s·φ/2)² subject to Σ φ = v(N) − v(∅)."""
    signs = 2.0 * first - 1
    half, n = signs / 2, signs.shape[1]
    free = np.linalg.svd(np.ones((1, n)))[2][1:].T  # a basis of what sums to zero: φ = share · D + free · β
    gram = free.T @ (half.T @ (weights[:, None] * half)) @ free
    solve = (free @ np.linalg.pinv(gram, hermitian=True) @ free.T @ (half.T * weights)).T
    share = (1 - (half @ np.ones(n)) @ solve) / n
    coalitions = np.empty((2 * len(first), first.shape[1]), dtype=bool)
    coalitions[0::2], coalitions[1::2] = first, ~first
    return _Design(coalitions, signs, solve, share, np.sqrt(np.square(solve).sum(0)), half.T @ half, exact)


def _all_halves(n: int) -> np.ndarray:
    """One of each complementary pair: the coalitions without the last player, the empty one left out."""
    return (np.arange(1, 2 ** (n - 1))[:, None] >> np.arange(n)) & 1 == 1


def _chains(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    """Prefixes of random orders; the first n − 1 are one whole chain, so every player is told apart."""
    rows = []
    while len(rows) < pairs:
        order = rng.permutation(n)
        for k in range(1, n):
            row = np.zeros(n, dtype=bool)
            row[order[:k]] = True
            rows.append(row)
    return np.array(rows[:pairs])


def _by_leverage(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    """Equal mass per size (a size and its mirror count as one), drawn without replacement, ``Bool[pairs, n]``."""
    sizes = np.arange(1, n // 2 + 1)
    capacity = np.array([min(comb(n, int(k)) // (2 if 2 * k == n else 1), 2**53) for k in sizes], dtype=np.float64)
    counts = _rounded(rng, _expected(pairs, np.where(2 * sizes == n, 1.0, 2.0), capacity))
    return np.array(
        [row for k, count in zip(sizes, counts, strict=True) for row in _balanced(rng, n, int(k), int(count))]
    )


def _expected(pairs: int, mass: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """min(h · mass, capacity) with h such that all sum to ``pairs``: full sizes hand their surplus on."""
    full = np.zeros(len(mass), dtype=bool)
    while True:
        share = np.where(full, capacity, mass * (pairs - capacity[full].sum()) / max(mass[~full].sum(), 1e-300))
        over = (share > capacity) & ~full
        if not over.any():
            return share
        full |= over


def _rounded(rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
    """Whole numbers with the same sum (systematic rounding: one random offset for all inner edges)."""
    edges = np.floor(np.cumsum(expected) + rng.random())
    edges[-1] = round(expected.sum())
    return np.diff(edges, prepend=0).astype(int)


def _balanced(rng: np.random.Generator, n: int, k: int, count: int) -> list[np.ndarray]:
    """``count`` distinct coalitions of size k (or n − k, by a coin), each player in about equally many."""
    total = comb(n, k) // (2 if 2 * k == n else 1)
    if count >= total / 2:
        every = _all_of_size(n, k)
        drawn = [every[i] for i in rng.permutation(len(every))[:count]]
    else:
        drawn, seen = [], set()
        while len(drawn) < count:
            order = rng.permutation(n)
            for start in range(0, n - k + 1, k):
                row = np.zeros(n, dtype=bool)
                row[order[start : start + k]] = True
                key = min(row.tobytes(), (~row).tobytes()) if 2 * k == n else row.tobytes()
                if key not in seen and len(drawn) < count:
                    seen.add(key)
                    drawn.append(row)
    return [row if coin else ~row for row, coin in zip(drawn, rng.random(len(drawn)) < 0.5, strict=True)]


def _all_of_size(n: int, k: int) -> np.ndarray:
    """Every coalition of size k; for k = n/2 only those with the first player, one of each pair."""
    inside = [set(c) for c in combinations(range(n), k) if 2 * k != n or c[0] == 0]
    return np.array([[player in c for player in range(n)] for c in inside])

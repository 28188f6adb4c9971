"""Kernel Shapley: Shapley values by weighted least squares over sampled pairs of coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.intervals import widening
from ..records.errors import NotApplicable
from ..records.settings import Range
from .coalition_design import Pairs, drawn_pairs, odd_parts, pairs_of_size
from .method import Method

GROUPS = 4
"""Runs of sizes whose residuals are pooled to tell the standard errors."""
CALM = 15
"""So many partitions of the players are assumed to have shown no effect of the design."""


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
    default: ClassVar[bool] = False
    promises: ClassVar[tuple[str, ...]] = ("completeness", "symmetry", "linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        n, change = session.n, session.full - session.empty
        if n == 1:
            return Estimate(change[:, None], stderr=np.zeros((len(change), 1)))
        if (self.samples or 2**n) < self.least(n):
            raise NotApplicable(
                f"kernel_shapley(samples={self.samples}) is too few for {n} players",
                fix=f"{self.least(n)} at least: with fewer no line can be fitted to them",
            )
        least = min(max(self.samples or 0, self.least(n)), 2**n)  # a number that was given is exact
        budget = session.allowance(self.samples or 2 * n + 2048, least=least)
        pairs = min((self.samples or budget) - 2, 2**n - 2, budget - 2) // 2
        design = session.design(_design, n, pairs)
        values, errors = np.zeros((session.questions, n)), np.zeros((session.questions, n))
        for block, odd in odd_parts(session, design.pairs):
            values[block] = odd @ design.solve + design.share * change[block, None]
            errors[block] = design.errors(values[block], odd)
        notes = {"pairs": pairs, "exact": design.pairs.exact}
        return Estimate(values, stderr=errors, notes=notes)

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 2048)

    def least(self, players: int) -> int:
        """The smallest budget in evaluations per explained number, both ends counted."""
        return min(2 * players, 2**players)


@dataclass(frozen=True, eq=False)
class Fit:
    """Pairs of coalitions (each followed by its complement) and what is solved for them once.

    With signs s = ±1 of the first of each pair and the odd part o = (v(S) − v(Sᶜ))/2, an additive game has
    o = s·φ/2; φ = o · ``solve`` + ``share`` · (v(N) − v(∅)) is the constrained fit. ``groups`` are runs of pairs whose
    residuals are pooled, ``spread`` what the variance of one weighs in each value, ``missed`` the share of each pair's
    size that was not drawn.
    """

    pairs: Pairs
    signs: np.ndarray
    solve: np.ndarray
    share: np.ndarray
    groups: tuple[slice, ...]
    spread: np.ndarray
    missed: np.ndarray

    @cached_property
    def balance(self) -> _Balance:
        """The pairs that partition the players."""
        return _balance(self.pairs.first, np.where(self.missed[:, None] > 0, self.solve, 0.0))

    def errors(self, values: np.ndarray, odd: np.ndarray) -> np.ndarray:
        """Standard errors ``[q, n]`` from the residuals of odd parts ``[q, pairs]``; NaN where no pair is left over.

        The variance of a regression estimator under sampling by size without replacement (Särndal, Swensson &
        Wretman 1992, Model Assisted Survey Sampling, equation 6.6.3), the residuals' variance pooled over ``groups``
        of sizes: Σ_g s²_g Σ_{S in g} (1 − f_S) solve²_S, f_S being the share of S's size that was drawn. A size that
        was drawn whole adds nothing. Then the design's effect, and Student's quantile for the pairs left over.
        """
        pairs, n = self.signs.shape
        if self.pairs.exact:
            return np.zeros_like(values)
        left = pairs - (n - 1)
        if left <= 0:
            return np.full_like(values, np.nan)
        residual = odd - values @ (self.signs / 2).T
        variance = np.zeros_like(values)
        for group, spread in zip(self.groups, self.spread, strict=True):
            variance += np.square(residual[:, group]).mean(1, keepdims=True) * pairs / left * spread
        return widening(left) * np.sqrt(variance * self.balance.effect(residual)[:, None])


@dataclass(frozen=True, eq=False)
class _Balance:
    """Runs of pairs of one size that have no player twice: parts of one random order, which balance each other.

    ``one`` and ``other`` are the places of any two pairs of a run, ``crossed`` their weights' inner product over the
    players, ``own`` that of each pair with itself, 0 for sizes that were drawn whole.
    """

    runs: int
    one: np.ndarray
    other: np.ndarray
    crossed: np.ndarray
    own: np.ndarray

    def effect(self, residual: np.ndarray) -> np.ndarray:
        """How much the variance differs from that of pairs drawn one by one, ``Float64[q]`` (Kish 1965, design effect).

        The squares of what the pairs of a run do to the values together over those of what each does alone, summed
        over all players, drawn towards 1.
        """
        apart = np.square(residual) @ self.own
        together = apart + 2 * (residual[:, self.one] * residual[:, self.other]) @ self.crossed
        ratio = np.divide(together, apart, out=np.ones_like(apart), where=apart > 0)
        return (np.maximum(ratio, 0.0) * self.runs + CALM) / (self.runs + CALM)


def _design(rng: np.random.Generator, n: int, pairs: int) -> Fit:
    return fitted_to(drawn_pairs(rng, n, pairs))


def fitted_to(pairs: Pairs) -> Fit:
    """The fit's linear map: minimise Σ w (o − s·φ/2)² subject to Σ φ = v(N) − v(∅)."""
    first, weights, missed, groups = _grouped(pairs.first, pairs.weights())
    signs = 2.0 * first - 1
    half, n = signs / 2, signs.shape[1]
    free = np.linalg.svd(np.ones((1, n)))[2][1:].T  # a basis of what sums to zero: φ = share · D + free · β
    gram = free.T @ (half.T @ (weights[:, None] * half)) @ free
    solve = (free @ np.linalg.pinv(gram, hermitian=True) @ free.T @ (half.T * weights)).T
    share = (1 - (half @ np.ones(n)) @ solve) / n
    spread = np.array([(missed[own, None] * np.square(solve[own])).sum(0) for own in groups]).reshape(-1, n)
    return Fit(
        Pairs(first, pairs.exact),
        signs,
        solve,
        share,
        groups,
        spread,
        missed,
    )


def _balance(first: np.ndarray, solve: np.ndarray) -> _Balance:
    """Of pairs in the order of their sizes; the smaller coalition of each counts. Weights of 0: drawn whole."""
    n, runs = first.shape[1], []
    smaller = np.where((2 * first.sum(1) > n)[:, None], ~first, first)
    seen, size = np.ones(n, dtype=bool), 0
    for place in np.flatnonzero(solve.any(1)):
        row = smaller[place]
        if row.sum() != size or (seen & row).any():
            runs.append([])
            seen, size = np.zeros(n, dtype=bool), row.sum()
        runs[-1].append(place)
        seen |= row
    linked = [(a, b) for run in runs for k, b in enumerate(run) for a in run[:k]]
    one, other = np.array(linked, dtype=int).reshape(-1, 2).T
    return _Balance(len(runs), one, other, (solve[one] * solve[other]).sum(1), np.square(solve).sum(1))


def _grouped(first: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[slice, ...]]:
    """Pairs in the order of their sizes, the share of each one's size that was not drawn, and the groups.

    Groups are runs of sizes with about equally many pairs; sizes that were drawn whole belong to none.
    """
    n = first.shape[1]
    smaller = np.minimum(first.sum(1), n - first.sum(1))
    order = np.argsort(smaller, kind="stable")
    first, weights, smaller = first[order], weights[order], smaller[order]
    drawn = np.bincount(smaller, minlength=n // 2 + 1)
    there = np.array([pairs_of_size(n, k) for k in range(n // 2 + 1)])
    missed = np.maximum(1 - drawn / there, 0.0)
    ends = np.cumsum(drawn)
    groups, start = [], None
    size = max(int(drawn[missed > 0].sum()) // GROUPS, 1)
    for k in range(1, n // 2 + 1):
        if not missed[k] or not drawn[k]:
            continue
        start = ends[k - 1] if start is None else start
        later = drawn[k + 1 :] * (missed[k + 1 :] > 0)
        if (ends[k] - start >= size and len(groups) < GROUPS - 1) or not later.any() or not missed[k + 1]:
            groups.append(slice(int(start), int(ends[k])))
            start = None
    return first, weights, missed[smaller], tuple(groups)

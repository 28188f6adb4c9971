"""Banzhaf values: what a player changes on average, when each of the others is present by the toss of a coin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from ..records.settings import Range
from .method import Method

FEW_PLAYERS, MOST_PLAYERS = 12, 20
"""Up to the first number all coalitions are asked unless told otherwise; up to the second where the budget allows."""
MOST_BITS = 62
HEAVIEST = 2**60
"""Pairs that the drawn ones stand for at most: weighs what 2ⁿ would, which no float holds from n = 1,024 on."""


@dataclass(frozen=True)
class Banzhaf(Method):
    """φ_i = 2^(1−n) Σ_S (v(S ∪ i) − v(S)) over the coalitions without i (Banzhaf 1965; Owen 1975).

    The values are the slopes of the least-squares line through v when all 2ⁿ coalitions weigh the same (Hammer &
    Holzman 1992). All are asked for up to 20 players where the budget allows; else that line is fitted to
    coalitions drawn by tossing coins, each asked together with its complement. The values need not add up to
    v(N) − v(∅): nothing is shared out.
    """

    samples: Annotated[
        int | None,
        Range(2, 10_000_000),
        "evaluations per explained number, both ends counted; none: all 2ⁿ up to 12 players, 2n + 2048 above",
    ] = None

    name: ClassVar[str] = "banzhaf"
    title: ClassVar[str] = "Banzhaf values"
    source: ClassVar[str] = "Banzhaf 1965; Hammer & Holzman 1992; Wang & Jia 2023, arXiv 2205.15466"
    promises: ClassVar[tuple[str, ...]] = ("symmetry", "linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n, change = session.n, session.full - session.empty
        least = min(2 * n + 2, 2**n)  # as many pairs as players
        if self.samples is not None and self.samples < least:
            raise NotApplicable(
                f"banzhaf of {n} players needs at least {least} evaluations, samples={self.samples} were given",
                fix=f"samples={least} or more, or none",
            )
        wanted = int(self.cost(n))
        budget = session.allowance(wanted, least=least if self.samples is None else min(wanted, 2**n))
        pairs = (min(self.samples or budget, 2 ** min(n, MOST_PLAYERS)) - 2) // 2
        design = session.design(_design, n, pairs)
        crossed, squares = np.zeros((session.questions, n)), np.zeros(session.questions)
        for part, v in session.sweep(design.coalitions, multiple=2):
            odd = (v[:, 0::2] - v[:, 1::2]) / 2
            crossed += odd @ design.half[part.start // 2 : part.stop // 2]
            squares += np.square(odd).sum(1)
        values = (change[:, None] / 4 + design.weight * crossed) @ design.inverse
        notes = {"pairs": pairs, "exact": design.exact}
        return Estimate(values, stderr=design.errors(values, crossed, squares), notes=notes)

    def cost(self, players: int) -> float:
        return float(self.samples or (2**players if players <= FEW_PLAYERS else 2 * players + 2048))


@dataclass(frozen=True, eq=False)
class _Design:
    """Pairs of coalitions (each followed by its complement) and what is solved for them once.

    With signs s = ±1 of the first of each pair, the odd part o = (v(S) − v(Sᶜ))/2 of an additive game is s·φ/2.
    ``half`` holds s/2; ``weight`` says for how many pairs each drawn one stands; the pair of everyone and nobody,
    always known, stands for itself. ``inverse`` is that of Σ weight · s sᵀ/4.
    """

    coalitions: np.ndarray
    half: np.ndarray
    weight: float
    inverse: np.ndarray
    missed: float
    exact: bool

    def errors(self, values: np.ndarray, crossed: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Standard errors from the residuals of the odd parts; 0 where all were asked, NaN where none is left.

        All pairs have the same chance, and (s_i/2)² is the same for all, so that one variance serves: the regression
        estimator's (Särndal, Swensson & Wretman 1992, Model Assisted Survey Sampling, equation 6.6.3).
        """
        pairs, n = self.half.shape
        if self.exact:
            return np.zeros_like(values)
        if pairs <= n:
            return np.full_like(values, np.nan)
        gram = self.half.T @ self.half
        misfit = squares - 2 * (values * crossed).sum(1) + ((values @ gram) * values).sum(1)
        spread = self.missed * self.weight**2 * np.diag(self.inverse @ gram @ self.inverse)
        return np.sqrt(np.maximum(misfit, 0.0)[:, None] / (pairs - n) * spread)


def _design(rng: np.random.Generator, n: int, pairs: int) -> _Design:
    others = 2 ** (n - 1) - 1  # pairs besides that of everyone and nobody
    exact, others = pairs >= others, min(others, HEAVIEST)
    first = _drawn(rng, n, pairs)
    while not exact and np.linalg.matrix_rank(first - 0.5) < n:
        first = _drawn(rng, n, pairs)
    coalitions = np.empty((2 * pairs, n), dtype=bool)
    coalitions[0::2], coalitions[1::2] = first, ~first
    half, weight = first - 0.5, others / max(pairs, 1)
    inverse = np.linalg.inv(weight * half.T @ half + 0.25)
    return _Design(coalitions, half, weight, inverse, 1 - pairs / max(others, 1), exact)


def _drawn(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    """The first of each of so many different pairs, ``Bool[pairs, n]``: the last player is always absent from it."""
    if n > MOST_BITS:  # two alike are out of the question
        return np.hstack([rng.random((pairs, n - 1)) < 0.5, np.zeros((pairs, 1), dtype=bool)])
    codes = rng.choice(2 ** (n - 1) - 1, pairs, replace=False) + 1
    return (codes[:, None] >> np.arange(n)) & 1 == 1

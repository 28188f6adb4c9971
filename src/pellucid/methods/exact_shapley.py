"""Exact Shapley values: every coalition asked, nothing estimated."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from .method import Method

MOST_PLAYERS = 20


@dataclass(frozen=True)
class ExactShapley(Method):
    """φ_i = Σ_S |S|! (n − |S| − 1)! / n! · (v(S ∪ i) − v(S)) over all 2ⁿ coalitions (Shapley 1953).

    For up to 20 players. The standard errors are zero: there is nothing left to chance.
    """

    name: ClassVar[str] = "exact_shapley"
    title: ClassVar[str] = "Exact Shapley values"
    source: ClassVar[str] = "Shapley 1953, A value for n-person games, equation 13"
    promises: ClassVar[tuple[str, ...]] = (
        "completeness",
        "null_player",
        "symmetry",
        "linearity",
        "implementation_invariance",
    )

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        if n > MOST_PLAYERS:
            raise NotApplicable(
                f"exact Shapley values of {n} players need 2^{n} evaluations",
                fix=f"up to {MOST_PLAYERS} players; kernel_shapley estimates them for more",
            )
        session.allowance(2**n, least=2**n)
        coalitions, weights = session.design(_everything, n)
        values = np.zeros((session.questions, n))
        for part, v in session.sweep(coalitions):
            values += v @ weights[part]
        return Estimate(values, stderr=np.zeros_like(values))

    def cost(self, players: int) -> float:
        return 2.0**players


def _everything(_: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """All coalitions ``Bool[2ⁿ, n]`` and the weights ``Float64[2ⁿ, n]`` with φ = v · weights."""
    coalitions = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    sizes = coalitions.sum(1)
    inside = np.array([0.0] + [factorial(k - 1) * factorial(n - k) / factorial(n) for k in range(1, n + 1)])
    outside = np.array([factorial(k) * factorial(n - k - 1) / factorial(n) for k in range(n)] + [0.0])
    return coalitions, np.where(coalitions, inside[sizes, None], -outside[sizes, None])

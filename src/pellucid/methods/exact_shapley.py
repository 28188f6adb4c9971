"""Exact Shapley values: every coalition asked, nothing estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from .coalition_design import everything
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
    default: ClassVar[bool] = False
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
        values = enumerated(session)
        return Estimate(values, stderr=np.zeros_like(values))

    def cost(self, players: int) -> float:
        return 2.0**players

    def least(self, players: int) -> int:
        """The smallest budget in evaluations per explained number, both ends counted."""
        return 2**players


def enumerated(session: Session) -> np.ndarray:
    """The values ``[Q, n]`` from all coalitions; the ends are known and not asked again."""
    coalitions, weights = session.design(everything, session.n)
    values, full = np.zeros((session.questions, session.n)), session.full[:, None]
    for part, v in session.sweep(coalitions[1:-1]):
        values += (v - full) @ weights[1:-1][part]  # weights add up to nothing: a constant game gets exact zeros
    # Nobody comes last: where some output is NaN, a smaller set of absent players is then named before it.
    return values + (session.empty[:, None] - full) * weights[0]

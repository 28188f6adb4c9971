"""Permutation Shapley: Shapley values as mean marginal contributions along random orders and their reverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.intervals import widening
from ..records.errors import NotApplicable
from ..records.settings import Range
from .coalition_design import prefixes
from .exact_shapley import MOST_PLAYERS, enumerated
from .method import Method

SHARED = 2
"""Degrees of freedom that the mean variance over all players lends to each: with two pairs of orders most players of a
sparse game have shown no spread yet."""


@dataclass(frozen=True)
class PermutationShapley(Method):
    """Shapley values as the mean of v(S ∪ i) − v(S), S being those before i in a random order (Castro et al. 2009).

    Each order is walked together with its reverse (Mitchell et al. 2022, arXiv 2104.12199, section 4.1), so that games
    without interactions of three players or more are told exactly. Below 2n evaluations one order is walked forwards.
    No coalition is asked twice. From 2ⁿ evaluations on the answer is exact, up to 20 players.
    """

    samples: Annotated[
        int | None, Range(2, 10_000_000), "evaluations per explained number, both ends counted; none: 2n + 2048"
    ] = None

    name: ClassVar[str] = "permutation_shapley"
    title: ClassVar[str] = "Permutation Shapley"
    source: ClassVar[str] = "Castro, Gómez & Tejada 2009; Mitchell et al. 2022, arXiv 2104.12199"
    promises: ClassVar[tuple[str, ...]] = (
        "completeness",
        "null_player",
        "symmetry",
        "linearity",
        "implementation_invariance",
    )
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        least = min(max(self.samples or 0, self.least(n)), 2**n)  # a number that was given is exact
        budget = session.allowance(int(self.cost(n)), least=least)
        budget = min(self.samples or budget, budget)
        if budget < min(self.least(n), 2**n):
            raise NotApplicable(
                f"permutation_shapley(samples={self.samples}) is too few for {n} players",
                fix=f"{min(self.least(n), 2**n)} at least: one whole order",
            )
        if n <= MOST_PLAYERS and budget >= 2**n:
            values = enumerated(session)
            return Estimate(values, stderr=np.zeros_like(values), notes={"orders": 0, "exact": True})
        walk = session.design(_walk, n, budget)
        values, errors = walk.along(_table(session, walk.coalitions))
        return Estimate(values, stderr=errors, notes={"orders": len(walk.before), "exact": False})

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 2048)

    def least(self, players: int) -> int:
        """The smallest budget in evaluations per explained number, both ends counted."""
        return players + 1


def _table(session: Session, coalitions: np.ndarray) -> np.ndarray:
    """v of nobody, of the coalitions and of everyone, ``Float64[b + 2, Q]``."""
    table = np.empty((len(coalitions) + 2, session.questions))
    table[0], table[-1] = session.empty, session.full
    for part, v in session.sweep(coalitions):
        table[part.start + 1 : part.stop + 1] = v.T
    return table


@dataclass(frozen=True, eq=False)
class _Walk:
    """Distinct coalitions and, for every order and player, their places before and after the player arrives.

    Place 0 is nobody, the last one everyone. Orders 2p and 2p + 1 are each other's reverse, unless there is one alone.
    """

    coalitions: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def along(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors ``[Q, n]``: the mean over pairs of orders, and what their spread says of it.

        A player's variance is his own, with P − 1 degrees of freedom for P pairs, and the mean one with ``SHARED``; the
        quantile of Student's t for their sum is folded in. NaN for a single pair.
        """
        step = min(len(self.before), 2)
        mean = np.zeros((self.before.shape[1], table.shape[1]))
        squares = np.zeros_like(mean)
        done = len(self.before) // step
        for count, first in enumerate(range(0, len(self.before), step), start=1):
            seen = sum(table[self.after[k]] - table[self.before[k]] for k in range(first, first + step)) / step
            away = seen - mean
            mean += away / count
            squares += away * (seen - mean)
        if done == 1:
            return mean.T, np.full_like(mean.T, np.nan)
        freedom = done - 1 + SHARED
        variance = (squares + SHARED * squares.mean(0) / (done - 1)) / freedom
        return mean.T, widening(freedom) * np.sqrt(variance.T / done)


def _walk(rng: np.random.Generator, n: int, budget: int) -> _Walk:
    """As many orders as the budget allows, each new coalition counted once.

    Which orders still fit depends on how often coalitions recur, not on who is who: every order stays equally likely.
    """
    places = {bytes(n): 0}
    orders: list[np.ndarray] = []
    while len(orders) < budget:  # more would tell nothing new of so few coalitions
        order = rng.permutation(n)
        pair = [order, order[::-1]] if budget >= 2 * n else [order]
        keys = {row.tobytes(): row for one in pair for row in prefixes(one)}
        new = [key for key in keys if key not in places]
        if len(places) + len(new) + 1 > budget:
            break
        places.update({key: len(places) + k for k, key in enumerate(new)})
        orders += pair
        if len(pair) == 1:
            break
    rows = np.frombuffer(b"".join(places), dtype=bool).reshape(-1, n)[1:]
    places[np.ones(n, dtype=bool).tobytes()] = len(places)
    before, after = np.empty((len(orders), n), dtype=int), np.empty((len(orders), n), dtype=int)
    for k, order in enumerate(orders):
        path = [0, *(places[row.tobytes()] for row in prefixes(order)), len(places) - 1]
        before[k, order], after[k, order] = path[:-1], path[1:]
    return _Walk(rows.copy(), before, after)

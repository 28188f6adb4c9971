"""Shapley values, estimated the way that suits the budget or the tolerance; the record says which way and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from ..engine.budget import Budget
from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.intervals import order_is_open
from ..records.messages import Caution
from ..records.settings import Range
from .exact_shapley import MOST_PLAYERS, ExactShapley
from .kernel_shapley import KernelShapley
from .method import Method
from .odd_gp_shapley import POOLED, OddGpShapley
from .odd_gp_slopes import may_pay
from .owen import Owen
from .permutation_shapley import PermutationShapley

FEW = 12
"""Up to so many players every coalition is asked where nothing else was said."""
MANY = 128
"""More players than this that lie in a picture are shared along halves of it, unless the budget is large."""
DIVIDED = 4.0
"""So many evaluations a player divide every group of a hierarchy; beyond them orders and fits do as well."""
LINES = 2.5
"""Below so many evaluations a player, orders tell more than a fit."""
MOST_PAIRS = 2000
"""A process is fitted to at most so many pairs: its arithmetic grows with their third power."""
ROW, FIT = 4e4, 6e8
"""Operations that a model row costs at least, whatever it computes, and that a process fitted to one question costs."""
MORE = 3
"""A line needs about so many times more evaluations than a process."""
FIRST_ROUND, LAST_ROUND = 5, 320
"""Evaluations a player of the first round, and in all where no budget ends the rounds before."""
ENUMERATED = 14
"""Up to so many players rounds may go on until every coalition was asked."""


@dataclass(frozen=True)
class Shapley(Method):
    """The mean marginal contribution of each player over all orders (Shapley 1953), by the best of several estimators.

    With a budget the most accurate at that budget is taken: all coalitions where it allows them, an order of the
    players below 2.5 evaluations a player, a Gaussian process on odd parts above, a line through very many pairs, and
    values along the hierarchy of the players where they have one or are hundreds. With a ``tolerance`` evaluations are
    added in rounds, row by row, until the estimated relative error √(Σ se²/Σ φ²) of the row is that small; by the
    estimator whose evaluations and arithmetic together cost least. ``settled=k`` ends a row as soon as its first k
    players stand apart. The notes say what was taken, why, and how many evaluations each row had.
    """

    tolerance: Annotated[
        float | None, Range(1e-6, 1.0), "relative standard error at which a row is done; none: use the budget"
    ] = None
    settled: Annotated[
        int | None, Range(1, 1000), "a row is done once the order of its first so many players is settled"
    ] = None

    name: ClassVar[str] = "shapley"
    title: ClassVar[str] = "Shapley values"
    source: ClassVar[str] = "Shapley 1953, A value for n-person games, equation 13"
    promises: ClassVar[tuple[str, ...]] = ("completeness", "implementation_invariance")
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        if self.tolerance is None and self.settled is None:
            budget = session.allowance(int(self.cost(session.n)), least=min(self.least(session.n), 2**session.n))
            method, why = chosen(session, budget)
            found = _estimated(method, session, budget)
            return replace(found, notes={"estimator": method.name, "why": why, **found.notes})
        return self._in_rounds(session)

    def cost(self, players: int) -> float:
        return 2.0**players if players <= FEW else 2.0 * players + 512

    def least(self, players: int) -> int:
        """The smallest budget in evaluations per explained number, both ends counted."""
        return players + 1

    def _in_rounds(self, session: Session) -> Estimate:
        """Twice the evaluations in each round for the rows that are still open; rounds are averaged by precision."""
        n, T = session.n, session.targets
        most = session.allowance(max(LAST_ROUND * n, 2 ** min(n, ENUMERATED)), least=min(self.least(n), 2**n))
        values, errors = np.zeros((session.questions, n)), np.full((session.questions, n), np.nan)
        spent, names = np.zeros(session.questions), np.full(session.questions, "", dtype=object)
        rows, size = np.arange(len(session)), FIRST_ROUND * n
        while len(rows):
            # Every coalition at once is cheaper than two more rounds; what a last round would leave is spent in it.
            left = most - int(spent.max())
            size = 2**n if 2**n <= min(3 * size, most) and n <= MOST_PLAYERS else min(size, left)
            if left < self.least(n) or (spent.any() and size < FIRST_ROUND * n):
                break
            asked = (rows[:, None] * T + np.arange(T)).ravel()
            part = session if len(rows) == len(session) else session.take(rows.tolist())
            method = cheapest(part, size)
            found = _estimated(method, part, size)
            values[asked], errors[asked] = _averaged(values[asked], errors[asked], found)
            spent[asked] += size
            names[asked] = method.name
            rows = rows[self._open(values[asked], errors[asked]).reshape(-1, T).any(1)]
            if method.name == ExactShapley.name:
                break
            size *= 2
        return self._told(session, values, errors, {"estimator": names, "evaluations": spent}, len(rows))

    def _open(self, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """The questions that are not done, ``Bool[Q]``; what has no standard error is not."""
        unknown = ~np.isfinite(errors).all(1)
        open_ = np.ones(len(values), dtype=bool)
        if self.tolerance is not None:
            open_ &= np.square(errors).sum(1) > self.tolerance**2 * np.square(values).sum(1)
        if self.settled is not None:
            open_ &= order_is_open(values, errors, self.settled)
        return open_ | unknown

    def _told(
        self, session: Session, values: np.ndarray, errors: np.ndarray, notes: dict[str, np.ndarray], left: int
    ) -> Estimate:
        missed = left and not (errors == 0).all()
        cautions = (Caution.of("tolerance_missed", "yellow", rows=left, total=len(session)),) if missed else ()
        return Estimate(
            values, stderr=errors, notes={"why": "the least cost for the tolerance", **notes}, cautions=cautions
        )


def chosen(session: Session, budget: int) -> tuple[Method, str]:
    """The most accurate estimator for so many evaluations, and the reason."""
    n = session.n
    if n <= MOST_PLAYERS and budget >= 2**n:
        return ExactShapley(), "the budget allows all coalitions"
    if session.players.hierarchy is not None:
        return Owen(), "the players stand in a hierarchy"
    if may_pay(session, budget):
        return OddGpShapley(), "few evaluations a player, and a model with gradients, which a pilot may add"
    if n > MANY and budget < DIVIDED * n and len(session.players.layout) > 1:
        # Neighbours in a picture matter together or not at all; halves of columns or words are no groups, and lost to
        # orders and fits by a factor of three to five in squared error on dense networks of 200 and 400 columns.
        return Owen(), "there are hundreds of players in a picture and few evaluations"
    if budget < LINES * n:
        return PermutationShapley(), "few evaluations a player: orders tell more than a fit"
    if budget > 2 * MOST_PAIRS:
        return KernelShapley(), "so many pairs that a line through them costs less than a process"
    return OddGpShapley(), "the smallest error at this budget"


def cheapest(session: Session, budget: int) -> Method:
    """The estimator of a round: a line where the evaluations it needs more cost less than fitting a process.

    For many rows the process is pooled and costs next to nothing; a black box hides what it costs, and counts as dear.
    """
    method, _ = chosen(session, budget)
    more = MORE * budget * max(session.flops, ROW * session.draws)
    line = session.questions < POOLED and np.isfinite(session.flops) and more < FIT
    return KernelShapley() if line and isinstance(method, OddGpShapley) else method


def _estimated(method: Method, session: Session, evaluations: int) -> Estimate:
    """What an estimator finds that is to spend so much and no more; the session's own budget stays as it was."""
    own, session.budget = session.budget, Budget(evaluations=evaluations)
    try:
        return method.estimate(session)
    finally:
        session.budget = own


def _averaged(values: np.ndarray, errors: np.ndarray, found: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """What was known with what was found beside it, by their precision; exact or first answers stand alone."""
    assert found.stderr is not None
    both = np.isfinite(errors) & np.isfinite(found.stderr) & (found.stderr > 0)
    known = both.all(1, keepdims=True)
    before, now = (1 / np.square(np.where(known, e, 1.0)) for e in (errors, found.stderr))
    mixed = (before * values + now * found.values) / (before + now)
    total = (found.values - mixed).sum(1, keepdims=True) / values.shape[1]  # both add up to the change; so shall this
    values = np.where(known, mixed + total, found.values)
    return values, np.where(known, np.sqrt(1 / (before + now)), found.stderr)

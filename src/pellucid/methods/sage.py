"""SAGE: the model's whole gain over knowing nothing, shared out among the players as Shapley values of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.importance import Importance
from ..records.messages import Caution
from ..records.settings import Range
from .coalition_design import everything
from .method import Method

MOST_ORDERS = 8
ENOUGH = 0.25
"""So many orders are asked that they account for at most about this share of the squared error."""
PILOT = 32
"""Rows on which two orders are tried beforehand."""
FEW = 16
"""Coalitions that are all asked where no budget says more."""
CELLS = 2**24


@dataclass(frozen=True)
class Sage(Method):
    """Shapley values of what the players together take off the loss (Covert, Lundberg & Lee 2020, arXiv 2004.00668).

    v(S) is the mean over the rows of the loss of the *mean* answer with only S present (their section 2), so that
    Σ φ = loss of knowing nothing − loss of the model, and a positive value lowers the loss. Every row draws orders of
    its own (every second one the reverse of the one before, Mitchell et al. 2022, arXiv 2104.12199), and so gives an
    unbiased answer by itself; the rows' spread tells the standard errors, which speak of the rows as a sample, too.
    There are as many orders as it takes until rows, not orders, make the error: mostly one. With few players, or
    budget enough, all coalitions are asked.

    Without labels the loss is the squared distance from the model's own answer, and a caution says so.
    """

    orders: Annotated[
        int | None, Range(1, 10_000), "random orders of each row, every second one a reverse; none: as many as help"
    ] = None

    name: ClassVar[str] = "sage"
    title: ClassVar[str] = "SAGE"
    source: ClassVar[str] = "Covert, Lundberg & Lee 2020, arXiv 2004.00668, section 3"
    answers: ClassVar[type[Answer]] = Importance
    of_loss: ClassVar[bool] = True
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        if session.opaque or not session.players.is_shared:
            raise NotApplicable(
                "these rows have players of their own, which have no importance over all rows",
                fix="give players that all rows share",
            )
        if len(session) < 2:
            raise NotApplicable("one row says nothing about all rows", fix="give at least a few dozen rows")
        game = _Losses(session.of_means())
        limit = session.budget.allowance
        if self.orders is None and 2**session.n <= (FEW if limit is None else limit):
            by_row, orders, share = game.exactly(), 0, 0.0
        else:
            by_row, orders, share = self._by_orders(game, session)
        values = by_row.mean(0)
        errors = by_row.std(0, ddof=1) / np.sqrt(len(session))
        change = (game.empty - game.full).mean(0)
        cautions = () if session.bound.is_loss else (Caution.of("own_answers", "yellow", method=self.name),)
        notes = {
            "orders": orders,
            "exact": orders == 0,
            "share_of_orders": share,
            "rows": len(session),
            "loss": session.bound.asked.get("loss", "own"),
            "miss": float(np.abs(values.sum(1) - change).max()),
        }
        ends = {"base": game.empty.reshape(-1), "full": game.full.reshape(-1)}
        return Estimate(values, stderr=errors, notes=notes, cautions=cautions, base=ends["base"], full=ends["full"])

    def _by_orders(self, game: _Losses, session: Session) -> tuple[np.ndarray, int, float]:
        """Each row's values ``[N, T, n]``, the orders asked, and their share of the squared error (NaN: not known)."""
        each, N = session.n - 1, len(session)
        least = (self.orders or 1) * each + 2
        most = (session.allowance(MOST_ORDERS * each + 2, least=least) - 2) // max(each, 1)
        count, noise = self.orders or 1, float("nan")
        if self.orders is None:
            count, noise = self._enough(game, session, most)
        mean = np.mean([game.along(_nth(session, order), np.arange(N)) for order in range(count)], axis=0)
        spread = float(mean.var(0, ddof=1).sum())
        return mean, count, min(noise / count / spread, 1.0) if spread > 0 else 0.0

    def _enough(self, game: _Losses, session: Session, most: int) -> tuple[int, float]:
        """How many orders are worth asking, and one order's share of a row's variance, from two on the first rows."""
        N = len(session)
        rows, left = np.arange(min(PILOT, N)), most - 2 * min(PILOT, N) / N
        if left < 1:
            return 1, float("nan")  # the budget has no room for a trial
        first, second = (game.along(_nth(session, order), rows) for order in (0, 2))
        noise = float(np.square(first - second).mean(0).sum()) / 2
        between = max(float(first.var(0, ddof=1).sum()) - noise, 1e-300)
        wanted = min(left, MOST_ORDERS, noise * (1 / ENOUGH - 1) / between)
        return (1 if wanted <= 1 else max(2 * int(wanted // 2), 1)), noise

    def cost(self, players: int) -> float:
        return float((self.orders or MOST_ORDERS) * (players - 1) + 2)


class _Losses:
    """The loss of each row with only some players present; the squared distance from the own answer without labels."""

    def __init__(self, session: Session):
        self._session, self._shape = session, (len(session), session.targets)
        self._own = None if session.bound.is_loss else session.full.reshape(self._shape)
        self.full = self._loss(session.full.reshape(self._shape))
        self.empty = self._loss(session.empty.reshape(self._shape))

    def _loss(self, values: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """Values of the target ``[R, T, …]`` as losses."""
        if self._own is None:
            return values
        own = self._own[rows]
        return np.square(values - own.reshape(*own.shape, *[1] * (values.ndim - 2)))

    def exactly(self) -> np.ndarray:
        """Each row's Shapley values ``[N, T, n]`` over all coalitions."""
        session = self._session
        coalitions, weights = session.design(everything, session.n)
        found = np.zeros((*self._shape, session.n))
        for part, v in session.sweep(coalitions):
            found -= self._loss(v.reshape(*self._shape, -1)) @ weights[part]
        return found

    def along(self, orders: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Some rows' marginal contributions ``[R, T, n]``, each along an order of its own, ``orders[N, n]``."""
        n, T = orders.shape[1], self._shape[1]
        size = max(CELLS // (n * n), 1)
        found = [self._along(orders[rows[start : start + size]], rows[start : start + size])
                 for start in range(0, len(rows), size)]  # fmt: skip
        return np.concatenate(found).reshape(len(rows), T, n)

    def _along(self, orders: np.ndarray, rows: np.ndarray) -> np.ndarray:
        (count, n), T = orders.shape, self._shape[1]
        places = np.argsort(orders, axis=1)
        present = np.repeat(places[:, None, :] < np.arange(1, n)[:, None], T, axis=0)
        questions = (rows[:, None] * T + np.arange(T)).reshape(-1)
        losses = self._loss(self._session.values(present, questions).reshape(count, T, -1), rows)
        steps = -np.diff(np.concatenate([self.empty[rows, :, None], losses, self.full[rows, :, None]], axis=2))
        return np.take_along_axis(steps, np.repeat(places[:, None], T, axis=1), axis=2)


def _nth(session: Session, place: int) -> np.ndarray:
    """The orders of all rows at a place: every second one is the reverse of the one before."""
    orders = session.design(_orders, len(session), session.n, place // 2)
    return orders[:, ::-1] if place % 2 else orders


def _orders(rng: np.random.Generator, N: int, n: int, _: int) -> np.ndarray:
    """A random order of the players for each row, ``Int[N, n]``."""
    return rng.permuted(np.tile(np.arange(n), (N, 1)), axis=1)

"""Sobol indices: how much of the output's variance under random masks goes through each player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable
from ..records.settings import Range
from .method import Method

LEAST, FEWEST, MOST, DEFAULT = 8, 32, 1024, 8192
"""Points that a budget must allow; the limits by default, within which a power of two fits DEFAULT evaluations."""
RUN = 2**21
"""Shares made at once."""
REDRAWS = 200
WIDEST = torch.quasirandom.SobolEngine.MAXDIM // 2


@dataclass(frozen=True)
class Sobol(Method):
    """T_i = E[(v(A) − v(Aᵢ))²] / 2 Var(v), the share of variance that player i has a part in (Fel et al. 2021, eq. 4).

    A and B are independent random masks, Aᵢ is A with i's share taken from B (Jansen's estimator). Images and other
    tensors are mixed to shares that are uniform on 0 to 1; columns and words are there or absent by a fair coin. Where
    that makes no more coalitions than evaluations, all are asked and the indices are exact.
    ``order="first"`` gives S_i = 1 − E[(v(B) − v(Aᵢ))²] / 2 Var(v), what i does by itself. An index is a magnitude in
    units of the whole variance; total indices add up to 1 where nothing interacts, to more where players do.
    """

    samples: Annotated[
        int | None,
        Range(8, 1_000_000),
        "points of the design, n + 2 evaluations each; none: a power of two, 32 to 1024",
    ] = None
    order: Annotated[Literal["total", "first"], "with all interactions, or by itself"] = "total"
    masks: Annotated[
        Literal["shares", "coins"] | None, "uniform shares, or there by a coin; none: shares for images and tensors"
    ] = None

    name: ClassVar[str] = "sobol"
    title: ClassVar[str] = "Sobol indices"
    source: ClassVar[str] = "Fel et al. 2021, arXiv 2111.04138, equation 4; Jansen 1999"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "implementation_invariance")
    sampled: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("sobol_indices", "sobol_attribution", "variance_based", "total_indices")
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n, samples = session.n, self._points(session)
        coins = self.masks == "coins" or (self.masks is None and session.kind not in ("image", "series", "tensor"))
        if coins and n < 30 and 2**n <= samples * (n + 2):
            return self._all_coalitions(session)
        first, second = session.design(_designs, n, samples, coins)
        differ = 1.0
        if coins and self.order == "total":  # i changes always instead of half of the time, and counts for half
            second, differ = ~first, 0.5
        a, b = self._asked(session, first), self._asked(session, second)
        redraws = session.design(_redraws, samples)
        both = np.hstack([a, b])
        variance, others = _variance(both), _redrawn_variances(both, redraws)
        values, errors = np.zeros((2, session.questions, n))
        run = max(RUN // (samples * n), 1)
        for start in range(0, n, run):
            players = np.arange(start, min(start + run, n))
            mixed = np.repeat(first[None], len(players), 0)
            for place, player in enumerate(players):
                mixed[place, :, player] = second[:, player]
            found = self._asked(session, mixed.reshape(-1, n)).reshape(session.questions, len(players), samples)
            for place, player in enumerate(players.tolist()):
                squares = np.square(found[:, place] - (a if self.order == "total" else b)) * differ / 2
                values[:, player] = self._index(squares.mean(1), variance)
                errors[:, player] = self._index(squares @ redraws.T, others).std(1, ddof=1)
        notes = {"samples": samples, "variance": variance, "coins": coins, "exact": False}
        return Estimate(values, stderr=errors, notes=notes)

    def _all_coalitions(self, session: Session) -> Estimate:
        """Both expectations over all 2ⁿ coalitions: coins differ in i half of the time."""
        n, codes = session.n, np.arange(2**session.n)
        v = session.values((codes[:, None] >> np.arange(n)) & 1 == 1)
        variance, values = _variance(v), np.zeros((session.questions, n))
        for player in range(n):
            if self.order == "total":
                part = np.square(v - v[:, codes ^ 1 << player]).mean(1) / 4
            else:
                part = np.square((v * (2 * (codes >> player & 1) - 1)).mean(1))
            values[:, player] = _share(part, variance)
        notes = {"samples": 2**n, "variance": variance, "coins": True, "exact": True}
        return Estimate(values, stderr=np.zeros_like(values), notes=notes)

    def cost(self, players: int) -> float:
        return float((self.samples or _fitting(DEFAULT, players)) * (players + 2) + 2)

    def _points(self, session: Session) -> int:
        """Points of the design; a number that was given is exact."""
        each = session.n + 2
        if session.n > WIDEST:
            raise NotApplicable(
                f"sobol takes {WIDEST} players at most, not {session.n}", fix="group them, as Patches do"
            )
        if self.samples is not None:
            session.allowance(self.samples * each + 2, least=self.samples * each + 2)
            return self.samples
        default = int(self.cost(session.n))
        return _fitting(min(session.allowance(default, least=LEAST * each + 2), default) - 2, session.n)

    def _asked(self, session: Session, masks: np.ndarray) -> np.ndarray:
        """v at masks ``[b, n]`` of truth values or shares, ``Float64[Q, b]``."""
        return session.values(masks) if masks.dtype == bool else session.blends(torch.from_numpy(masks))

    def _index(self, squares: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """The index from half a mean squared difference; 0 where nothing varies."""
        share = _share(squares, variance)
        return share if self.order == "total" else np.where(variance > 0, 1 - share, 0.0)


def _fitting(evaluations: int, n: int) -> int:
    """The most points, a power of two, that so many evaluations have room for; for the default within both limits."""
    fitting = 2 ** int(np.log2(max(evaluations // (n + 2), LEAST)))
    return min(max(fitting, FEWEST), MOST) if evaluations == DEFAULT else min(fitting, MOST)


def _designs(rng: np.random.Generator, n: int, samples: int, coins: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two masks ``[samples, n]`` (``Float32``, or truth values) from one scrambled Sobol' sequence in 2n dimensions."""
    engine = torch.quasirandom.SobolEngine(2 * n, scramble=True, seed=int(rng.integers(2**31)))
    drawn = engine.draw(samples).numpy()
    drawn = drawn < 0.5 if coins else drawn
    return drawn[:, :n], drawn[:, n:]


def _redraws(rng: np.random.Generator, samples: int) -> np.ndarray:
    """How much each point weighs in each bootstrap sample, ``Float64[REDRAWS, samples]``; rows sum to 1."""
    return rng.multinomial(samples, np.full(samples, 1 / samples), size=REDRAWS) / samples


def _variance(v: np.ndarray) -> np.ndarray:
    """The variance ``Float64[Q]`` of values ``[Q, b]``; 0 where it is below what single precision tells apart."""
    found = v.var(axis=1)
    return np.where(found > np.square(1e-6 * np.abs(v).max(1)), found, 0.0)


def _redrawn_variances(v: np.ndarray, redraws: np.ndarray) -> np.ndarray:
    """The variance of each bootstrap sample, ``Float64[Q, REDRAWS]``, of values ``[Q, 2b]`` at the designs' points."""
    weights = np.tile(redraws, 2).T / 2
    centred = v - v.mean(1, keepdims=True)
    return np.square(centred) @ weights - np.square(centred @ weights)


def _share(part: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.divide(part, variance, out=np.zeros_like(part), where=variance > 0)

"""Odd Gaussian process: Shapley values read off a smooth model of the game, fitted to few pairs of coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.settings import Range
from .coalition_design import drawn_pairs, odd_parts
from .kernel_shapley import Fit, fitted_to
from .method import Method
from .odd_fit import Hyper
from .odd_process import Fitter, Process

POOLED = 256
"""From so many questions on, one set of hyper-parameters serves all of them."""
SAMPLED = 24
"""Questions whose data decide the pooled hyper-parameters."""
EXPONENTS = (0.0, 0.25, 0.5)
"""How far a question's own profile may bend the pooled relevance in a one-shot fit."""
BENDING, OWN = 1e9, 4e9
"""Operations of a question's evaluations, 10 and 50 ms of them, that are worth a bent fit and a fit of its own."""
ROUNDING = 1e-9
"""A residual below this share of the largest odd part is no residual."""
SMALLEST = 1e-8
"""Standard errors are at least this share of a game's scale: below it is rounding."""
CHAIN = 2.5
"""Below so many evaluations a player the line through chains is the better answer."""


@dataclass(frozen=True)
class OddGpShapley(Method):
    """Shapley values by a Gaussian process on o(S) = (v(S) − v(Sᶜ))/2, on which alone they depend.

    The kernel is a line plus the odd part of a product over players, each with a relevance of its own, fitted by
    marginal likelihood (as in automatic relevance determination, Rasmussen & Williams 2006, section 5.1); the values
    are then linear in the data (:mod:`pellucid.methods.odd_process`). A game that is additive to rounding gets the
    exact answer of the line, and below 2.5 evaluations a player the line answers for every game.

    ``fit="row"`` fits every question on its own; ``"pooled"`` once for all of them; ``"one_shot"`` bends the
    pooled relevance by each question's own first answer. None: by row for few questions or dear evaluations, pooled
    from 256 questions on, one-shot where their evaluations cost more than the bending. A pooled fit rests on 24 of the
    call's rows, so a row's answer then depends on which rows stand beside it, within its standard error.
    """

    samples: Annotated[
        int | None, Range(4, 1_000_000), "evaluations per explained number, both ends counted; none: 2n + 512"
    ] = None
    fit: Annotated[
        Literal["row", "one_shot", "pooled"] | None, "hyper-parameters per row, bent, or for all; none: by the cost"
    ] = None

    name: ClassVar[str] = "odd_gp_shapley"
    title: ClassVar[str] = "Odd Gaussian process Shapley"
    source: ClassVar[str] = "likelihood-fitted process on the odd part; Rasmussen & Williams 2006, section 5.1"
    promises: ClassVar[tuple[str, ...]] = ("completeness", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n, change = session.n, session.full - session.empty
        if n == 1:
            return Estimate(change[:, None], stderr=np.zeros((len(change), 1)))
        least = min(max(self.samples or 0, self.least(n)), 2**n)
        budget = session.allowance(self.samples or 2 * n + 512, least=least)
        pairs = min((self.samples or budget) - 2, 2**n - 2, budget - 2) // 2
        line = session.design(_design, n, pairs)
        chosen = "line" if line.pairs.exact or pairs < CHAIN * n / 2 - 1 else self.fit or _by_cost(session, pairs)
        values, errors = np.zeros((session.questions, n)), np.zeros((session.questions, n))
        games = _Games(line, chosen)
        for block, odd in odd_parts(session, line.pairs, SAMPLED):
            values[block], errors[block] = games.solved(odd, change[block])
        notes = {"pairs": pairs, "exact": line.pairs.exact, "fit": chosen}
        return Estimate(values, stderr=errors, notes=notes)

    def least(self, players: int) -> int:
        """The smallest number of evaluations it takes, both ends counted."""
        return min(2 * players, 2**players)

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 512)


def _design(rng: np.random.Generator, n: int, pairs: int) -> Fit:
    return fitted_to(drawn_pairs(rng, n, pairs, tilt=True))


def _by_cost(session: Session, pairs: int) -> Literal["row", "one_shot", "pooled"]:
    """A fit of its own for each of few questions; of many only where what it saves costs more."""
    work = session.flops * 2 * pairs
    if session.questions < POOLED or work >= OWN:
        return "row"
    return "pooled" if work < BENDING else "one_shot"  # of a black box nothing is known: between the two


class _Games:
    """Solves games that share a design, block by block; the first block decides what is pooled."""

    def __init__(self, line: Fit, how: str):
        self.line, self.how = line, how
        n = line.signs.shape[1]
        self.signs = np.vstack([np.ones(n), line.signs])
        self.fit = Fitter(self.signs)
        self.pooled: Process | None = None

    def solved(self, odd: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors ``[Q, n]`` of games with odd parts ``[Q, pairs]`` and v(N) − v(∅) ``[Q]``."""
        values = odd @ self.line.solve + self.line.share * change[:, None]
        residual = odd - values @ (self.line.signs / 2).T
        largest = np.abs(odd).max(1)
        additive = np.abs(residual).max(1) <= ROUNDING * largest
        if self.how == "line":
            return values, self.line.errors(values, odd)
        errors = np.zeros_like(values)
        left = np.flatnonzero(~additive)
        if len(left):
            values[left], errors[left] = self._by_process(odd[left], change[left])
        return values, errors

    def _by_process(self, odd: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data = np.column_stack([change / 2, odd]).T
        scale = np.sqrt(np.square(data[1:]).mean(0))
        scale = np.where(scale > 0, scale, np.abs(data[0]))
        data = data / scale
        if self.how == "row":
            parts = [self._read(self._fit(one[:, None]), one[:, None]) for one in data.T]
        else:
            if self.pooled is None:
                self.pooled = self._fit(data[:, :SAMPLED])
            values, errors = self._read(self.pooled, data)
            if self.how == "pooled":
                parts = [(values, errors)]
            else:
                parts = [
                    self._read(self._bent(self.pooled.hyper, values, row, one[:, None]), one[:, None])
                    for row, one in enumerate(data.T)
                ]
        values, errors = (np.vstack(part) * scale[:, None] for part in zip(*parts, strict=True))
        values += ((change - values.sum(1)) / values.shape[1])[:, None]
        return values, np.maximum(errors, SMALLEST * scale[:, None])

    def _fit(self, data: np.ndarray) -> Process:
        return Process(self.signs, self.fit(data))

    def _bent(self, pooled: Hyper, values: np.ndarray, row: int, data: np.ndarray) -> Process:
        """The pooled relevance times (profile / reference)^e, with the exponent of the best evidence.

        A question's profile is |φ| over its mean, plus 0.1; the reference is the profiles' geometric mean.
        """
        profiles = np.abs(values) / np.maximum(np.abs(values).mean(1, keepdims=True), 1e-300) + 0.1
        reference = np.exp(np.log(profiles).mean(0))
        tried = [Process(self.signs, pooled.reshaped((profiles[row] / reference) ** e)) for e in EXPONENTS]
        return min(tried, key=lambda process: process.evidence(data))

    def _read(self, process: Process, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors ``[R, n]`` of ``data [rows, R]``, in units of each game's scale.

        Relevances fitted to one question cost it as many degrees of freedom; pooled ones do not.
        """
        rows, n = process.signs.shape
        pairs = rows - 1
        spent = pairs / max(pairs - n, 1) if data.shape[1] == 1 else 1.0
        errors = np.sqrt(np.outer(process.spread(data) * spent, process.variances))
        return (process.map @ data).T, errors

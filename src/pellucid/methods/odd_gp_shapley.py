"""Odd Gaussian process: Shapley values read off a smooth model of the game, fitted to few pairs of coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import NotApplicable, NotFiniteError
from ..records.settings import Range
from .coalition_design import drawn_pairs, odd_parts
from .kernel_shapley import Fit, fitted_to
from .method import Method
from .odd_games import SAMPLED, Data, Games, How, OddParts
from .odd_gp_slopes import LEAST, SlopeEstimate, may_pay

POOLED = 256
"""From so many questions on, one set of hyper-parameters serves all of them."""
BENDING, OWN = 1e9, 4e9
"""Operations of a question's evaluations, 10 and 50 ms of them, that are worth a bent fit and a fit of its own."""
ROUNDING = 1e-9
"""A residual below this share of the largest odd part is no residual."""
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

    From 16 to 128 players and 2 to 7 evaluations a player, gradients of odd parts are observed too where the model
    gives them and a pilot says that they pay (:mod:`pellucid.methods.odd_gp_slopes`); a value with its gradient counts
    as three evaluations. ``gradients=False`` never asks them, True always does and raises :class:`NotApplicable` where
    there are none.
    """

    samples: Annotated[
        int | None, Range(4, 1_000_000), "evaluations per explained number, both ends counted; none: 2n + 512"
    ] = None
    fit: Annotated[
        Literal["row", "one_shot", "pooled"] | None, "hyper-parameters per row, bent, or for all; none: by the cost"
    ] = None
    gradients: Annotated[
        bool | None, "observe gradients of odd parts too, a value with its gradient as three evaluations; none: a pilot"
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
        least = min(max(self.samples or 0, self.least(n), LEAST if self.gradients else 0), 2**n)
        budget = session.allowance(self.samples or 2 * n + 512, least=least)
        spent, notes = min(self.samples or budget, budget), dict[str, Any]()
        if spent < 2**n and (self.gradients or (self.gradients is None and may_pay(session, spent))):
            before = session.spent.evaluations
            try:
                return self._with_slopes(session, spent)
            except (NotApplicable, NotFiniteError) as error:  # only the gradient is to blame, or else values are, too
                if self.gradients:
                    raise
                notes = {"gradients": np.zeros(session.questions, dtype=bool), "because": error.what}
                spent = max(spent - int(np.ceil(session.spent.evaluations - before)), least)
        pairs = min(spent - 2, 2**n - 2) // 2
        line = session.design(_design, n, pairs)
        chosen: How | Literal["line"]
        chosen = "line" if line.pairs.exact or pairs < CHAIN * n / 2 - 1 else self.fit or _by_cost(session, pairs)
        values, errors = np.zeros((session.questions, n)), np.zeros((session.questions, n))
        games = _Games(line, chosen)
        for block, odd in odd_parts(session, line.pairs, SAMPLED):
            values[block], errors[block] = games.solved(odd, change[block])
        notes = {"pairs": pairs, "exact": line.pairs.exact, "fit": chosen, **notes}
        return Estimate(values, stderr=errors, notes=notes)

    def _with_slopes(self, session: Session, budget: int) -> Estimate:
        how: How = self.fit or _by_cost(session, budget // 2)
        found = SlopeEstimate(session, budget, how, always=bool(self.gradients))
        return Estimate(found.values, stderr=found.errors, notes={"exact": False, "fit": how, **found.notes()})

    def least(self, players: int) -> int:
        """The smallest number of evaluations it takes, both ends counted."""
        return min(2 * players, 2**players)

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 512)


def _design(rng: np.random.Generator, n: int, pairs: int) -> Fit:
    return fitted_to(drawn_pairs(rng, n, pairs, tilt=True))


def _by_cost(session: Session, pairs: int) -> How:
    """A fit of its own for each of few questions; of many only where what it saves costs more."""
    work = session.flops * 2 * pairs
    if session.questions < POOLED or work >= OWN:
        return "row"
    return "pooled" if work < BENDING else "one_shot"  # of a black box nothing is known: between the two


class _Games:
    """Odd parts at one design, run by run: by the line where it is exact or chosen, by the process where it is not."""

    def __init__(self, line: Fit, how: How | Literal["line"]):
        self.line, self.how = line, how
        signs = np.vstack([np.ones(line.signs.shape[1]), line.signs])
        self.games = Games(OddParts(signs), "row" if how == "line" else how)

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
            values[left], errors[left] = self.games.solved(Data.of(change[left], odd[left]))
        return values, errors

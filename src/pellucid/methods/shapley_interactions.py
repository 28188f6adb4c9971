"""Shapley interactions: what pairs and triples of players do together, beyond what each does alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.indices import EFFICIENT, INDICES, of_game
from ..records.answer import Answer
from ..records.errors import NotApplicable, UnknownName
from ..records.interactions import Interactions, count_parts, parts_of
from ..records.settings import Range
from .coalition_design import drawn_pairs
from .game_process import Readout, estimated, rows_to_fit
from .method import Method

FEW_PLAYERS, MOST_PLAYERS = 12, 20
"""Up to the first number all coalitions are asked unless told otherwise; up to the second where the budget allows."""
MOST_PARTS, MOST_PAIRS = 10_000, 2_500
"""Of parts, and of pairs that an estimate rests on: it costs their third power."""
HELD = 2**24
"""Values of coalitions held at once."""


@dataclass(frozen=True)
class ShapleyInteractions(Method):
    """A number for each player, pair and (with ``order=3``) triple.

    ``index`` says how credit is divided. ``"k-SII"``, ``"STII"`` and ``"FSII"`` add up to the change in the output;
    ``"SII"`` and ``"BII"`` (Banzhaf) tell of each part what it is worth to the others, and do not. Exact where all
    coalitions can be asked; else read off a Gaussian process that is fitted to each row's own pairs of coalitions and
    complements.
    """

    index: Annotated[
        Literal["k-SII", "SII", "STII", "FSII", "BII"],
        "how credit is divided: k-SII (n-Shapley values), SII, STII (Shapley–Taylor), FSII (Faith-Shap), BII (Banzhaf)",
    ] = "k-SII"
    order: Annotated[int, Range(1, 3), "the most players of a part"] = 2
    samples: Annotated[
        int | None,
        Range(2, 10_000_000),
        "evaluations per explained number, both ends counted; none: all 2ⁿ up to 12 players, 2n + 1024 above",
    ] = None

    name: ClassVar[str] = "shapley_interactions"
    title: ClassVar[str] = "Shapley interactions"
    source: ClassVar[str] = (
        "Grabisch & Roubens 1999; Sundararajan et al. 2020, arXiv 1902.05622; Tsai et al. 2023, arXiv 2203.00870; "
        "Bordt & von Luxburg 2023, arXiv 2209.04012"
    )
    promises: ClassVar[tuple[str, ...]] = ("completeness", "symmetry", "linearity", "implementation_invariance")
    answers: ClassVar[type[Answer]] = Interactions
    sampled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.index not in INDICES:
            raise UnknownName.among("index of interaction", self.index, INDICES)
        super().__post_init__()

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        if count_parts(n, self.order) > MOST_PARTS:
            raise NotApplicable(
                f"{n} players have {count_parts(n, self.order):,} parts of up to {self.order}",
                fix=f"up to {MOST_PARTS:,} parts; a smaller order, or players that are groups",
            )
        parts = session.design(_parts, n, self.order)
        pairs = (self._evaluations(session) - 2) // 2
        if n <= MOST_PLAYERS and pairs >= 2 ** (n - 1) - 1:
            values = self._exact(session, parts)
            return self._found(values, np.zeros_like(values), parts, {"exact": True})
        values, errors = self._estimated(session, parts, min(pairs, MOST_PAIRS))
        return self._found(values, errors, parts, {"exact": False, "pairs": min(pairs, MOST_PAIRS)})

    def _evaluations(self, session: Session) -> int:
        """How many the budget or the setting gives. Raises :class:`BudgetError`, :class:`NotApplicable` for too few."""
        n, least = session.n, min(4 * session.n + 2, 2**session.n)  # two pairs a player
        if self.samples is not None and self.samples < least:
            raise NotApplicable(
                f"{self.name} of {n} players needs at least {least} evaluations, samples={self.samples} were given",
                fix=f"samples={least} or more, or none",
            )
        wanted = int(self.cost(n))
        return min(
            session.allowance(wanted, least=least if self.samples is None else min(wanted, 2**n)), self.samples or 2**n
        )

    def _found(self, values: np.ndarray, errors: np.ndarray, parts: np.ndarray, notes: dict[str, object]) -> Estimate:
        complete = self.index in EFFICIENT
        return Estimate(values, stderr=errors, arrays={"parts": parts}, notes=notes, complete=complete)

    def _exact(self, session: Session, parts: np.ndarray) -> np.ndarray:
        """From all 2ⁿ coalitions, a few rows at a time, so that not all values of all rows are held at once."""
        n, T = session.n, session.targets
        coalitions = session.design(_everything, n)
        values = np.zeros((session.questions, len(parts)))
        step = T * max(HELD // (T * 2**n), 1)
        for start in range(0, session.questions, step):
            asked = np.arange(start, min(start + step, session.questions))
            values[asked] = of_game(session.values(coalitions, asked), self.index, parts)
        return values

    def _estimated(self, session: Session, parts: np.ndarray, pairs: int) -> tuple[np.ndarray, np.ndarray]:
        """From pairs that all rows share; each question has a process of its own."""
        n = session.n
        coalitions, v = session.table(_pairs, n, pairs)
        signs = np.vstack([np.ones(n), 2.0 * coalitions[0::2] - 1])
        kept, readout = session.design(rows_to_fit, len(signs)), Readout.of(self.index, parts, n)
        values, errors = np.zeros((2, session.questions, len(parts)))
        for question in range(session.questions):
            ends = np.array([session.full[question], session.empty[question]])
            found = estimated(signs, v[question].reshape(-1, 2), ends, kept, readout)
            values[question], errors[question] = found
        return values, errors

    def cost(self, players: int) -> float:
        return float(self.samples or (2**players if players <= FEW_PLAYERS else 2 * players + 1024))


def _parts(_: np.random.Generator, n: int, largest: int) -> np.ndarray:
    return parts_of(n, largest)


def _pairs(rng: np.random.Generator, n: int, pairs: int) -> np.ndarray:
    return drawn_pairs(rng, n, pairs, tilt=True).coalitions


def _everything(_: np.random.Generator, n: int) -> np.ndarray:
    """All coalitions, ``Bool[2ⁿ, n]``: player i is bit i of the place."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1

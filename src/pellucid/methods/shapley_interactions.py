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
from .method import Method

FEW_PLAYERS, MOST_PLAYERS = 12, 20
"""Up to the first number all coalitions are asked unless told otherwise; up to the second where the budget allows."""
MOST_PARTS = 10_000
HELD = 2**24
"""Values of coalitions held at once."""


@dataclass(frozen=True)
class ShapleyInteractions(Method):
    """A number for each player, pair and (with ``order=3``) triple.

    ``index`` says how credit is divided. ``"k-SII"``, ``"STII"`` and ``"FSII"`` add up to the change in the output;
    ``"SII"`` and ``"BII"`` (Banzhaf) tell of each part what it is worth to the others, and do not. Exact where all
    coalitions can be asked.
    """

    index: Annotated[
        Literal["k-SII", "SII", "STII", "FSII", "BII"],
        "how credit is divided: k-SII (n-Shapley values), SII, STII (Shapley–Taylor), FSII (Faith-Shap), BII (Banzhaf)",
    ] = "k-SII"
    order: Annotated[int, Range(1, 3), "the most players of a part"] = 2

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
        super().__post_init__()
        if self.index not in INDICES:
            raise UnknownName.among("index of interaction", self.index, INDICES)

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        if count_parts(n, self.order) > MOST_PARTS:
            raise NotApplicable(
                f"{n} players have {count_parts(n, self.order):,} parts of up to {self.order}",
                fix=f"up to {MOST_PARTS:,} parts; a smaller order, or players that are groups",
            )
        parts = session.design(_parts, n, self.order)
        if n > MOST_PLAYERS:
            raise NotApplicable(f"{n} players", fix=f"up to {MOST_PLAYERS}")
        session.allowance(2**n, least=2**n)
        values = self._exact(session, parts)
        return self._found(values, np.zeros_like(values), parts, {"exact": True})

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

    def cost(self, players: int) -> float:
        return 2.0**players


def _parts(_: np.random.Generator, n: int, largest: int) -> np.ndarray:
    return parts_of(n, largest)


def _everything(_: np.random.Generator, n: int) -> np.ndarray:
    """All coalitions, ``Bool[2ⁿ, n]``: player i is bit i of the place."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1

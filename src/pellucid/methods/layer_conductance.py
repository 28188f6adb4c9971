"""Layer conductance: the change of the target along the path from what is absent, shared out among a layer's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

from ..engine.engine import GAP_TOLERANCE, gap_cautions
from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Place
from ..records.messages import Caution
from ..records.settings import Range
from .layer_values import LayerMethod, carried, layer_gaps, side_by_side, sizes, straight, traced

FIRST_STEPS, MOST_STEPS, ENDS = 17, 1025, 2
BESIDE, STAYS = 10 * GAP_TOLERANCE, 0.1
"""A gap above the one that changes by no more than the other's share when points are doubled is no lack of points."""


@dataclass(frozen=True)
class LayerConductance(LayerMethod):
    """∫₀¹ ∂y/∂h · ∂h/∂α dα for each unit h (Dhamdhere, Sundararajan & Yan 2018, arXiv 1805.12233, eq. 2 and 3).

    It is the integral of ∂y/∂h dh along the way that the units take while the input goes straight from x′ to x, by the
    trapezoid rule in h. The units of every layer that all information passes add up to y(x) − y(x′): the gap is told
    layer by layer. Without ``steps`` the points are doubled, row by row, until it is at most 1e-3, or stays where it
    is: then information passes beside the layer, over a skip connection, say.
    """

    steps: Annotated[int | None, Range(2, 100_000), "points on the path; none: raised until the gap is 1e-3"] = None

    name: ClassVar[str] = "layer_conductance"
    title: ClassVar[str] = "Layer conductance"
    source: ClassVar[str] = "Dhamdhere, Sundararajan & Yan 2018, arXiv 1805.12233, equations 2 and 3"
    promises: ClassVar[tuple[str, ...]] = ("completeness",)

    def estimate(self, session: Session) -> Estimate:
        places, base = self.chosen(session.places), session.start_values
        counts, Q = sizes(places, self.units), session.questions
        allowed = session.allowance(2 * MOST_STEPS + ENDS, least=(self.steps or 2) + ENDS) - ENDS
        points, left = self.steps or min(FIRST_STEPS, allowed), np.arange(Q)
        values, used = np.zeros((Q, sum(counts))), np.zeros(Q, dtype=int)
        gaps, settled = np.full((Q, len(places)), np.inf), np.zeros((Q, len(places)), dtype=bool)
        while len(left):
            before = gaps[left]
            values[left] = self._on(session, points, left)
            used[left], allowed = points, allowed - points
            gaps[left] = layer_gaps(values[left], counts, base[left], session.full[left])
            settled[left] = (gaps[left] > BESIDE) & (np.abs(gaps[left] - before) <= STAYS * gaps[left])
            left = left[((gaps[left] > GAP_TOLERANCE) & ~settled[left]).any(1)]
            points = 2 * points - 1
            if self.steps is not None or points > min(MOST_STEPS, allowed):
                break
        return traced(
            self, places, values, base=base, arrays={"gaps": gaps}, notes={"steps": used},
            cautions=self._cautions(places, gaps, settled, len(session)),
        )  # fmt: skip

    def _cautions(
        self, places: tuple[Place, ...], gaps: np.ndarray, settled: np.ndarray, rows: int
    ) -> tuple[Caution, ...]:
        """Points too few for some rows; layers whose units add up to something else, however many points there are."""
        beside = np.any((gaps > GAP_TOLERANCE) & settled, axis=0, keepdims=True)
        named = ", ".join(places[layer].name for layer in np.flatnonzero(beside))
        worst = float(np.where(beside, gaps, 0).max())
        passed = [Caution.of("layer_bypassed", "yellow", method=self.name, layers=named, worst=worst)] if named else []
        return (*gap_cautions(self.name, np.where(settled, 0, gaps).reshape(rows, -1)), *passed)

    def _on(self, session: Session, points: int, questions: np.ndarray) -> np.ndarray:
        """The conductance ``[Q', M]`` by so many points."""
        places = self.chosen(session.places)

        def fold(activations: Seen, gradients: Seen, run: slice) -> Tensor:
            flows = {name: carried(held, gradients[name], run, points - 1) for name, held in activations.items()}
            return side_by_side(places, flows, self.units)

        names = [place.name for place in places]
        path = straight(session, np.linspace(0, 1, points))
        return session.along(names, fold, path, points - 1, questions)

    def cost(self, players: int) -> float:
        return float(self.steps or 65) + ENDS

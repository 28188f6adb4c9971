"""Internal influence: how much the target gains from a layer's units on average over the path from what is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Look, Seen
from ..engine.session import Session
from ..records.settings import Range
from .layer_values import LayerMethod, side_by_side, straight, traced

STEPS, ENDS = 50, 2


@dataclass(frozen=True)
class InternalInfluence(LayerMethod):
    """∫₀¹ ∂y/∂h (x′ + α(x − x′)) dα (Leino et al. 2018, arXiv 1802.03788, eq. 1, for rows along a straight path).

    By Gauss–Legendre points. It says what a unit is worth, not how active it was: it does not add up to the target.
    """

    steps: Annotated[int | None, Range(1, 100_000), "points on the path; none: 50, or what the budget allows"] = None

    name: ClassVar[str] = "internal_influence"
    title: ClassVar[str] = "Internal influence"
    source: ClassVar[str] = "Leino, Sen, Datta, Fredrikson & Li 2018, arXiv 1802.03788, equation 1"

    def estimate(self, session: Session) -> Estimate:
        places = self.chosen(session.places)
        allowed = session.allowance((self.steps or STEPS) + ENDS, least=(self.steps or 1) + ENDS) - ENDS
        steps = self.steps or min(STEPS, allowed)
        nodes, weights = np.polynomial.legendre.leggauss(steps)

        def fold(_: Seen, gradients: Seen) -> Tensor:
            return side_by_side(places, gradients, self.units)

        look = Look(tuple(place.name for place in places), fold)
        found = session.inner_gradients(look, straight(session, (nodes + 1) / 2), steps, weights / 2)
        return traced(self, places, found, notes={"steps": steps})

    def cost(self, players: int) -> float:
        return float(self.steps or STEPS) + ENDS

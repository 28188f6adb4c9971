"""Integrated gradients: the change of the output shared out along the straight path from what is absent to the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.slopemaking import Recipe
from ..problem.model import Differentiable
from ..records.settings import Range
from .method import Method

FIRST_STEPS = 17
MOST_STEPS = 1025
GAP = 1e-3
ENDS = 2
"""Evaluations beside the steps: the row and the start of its path."""


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """φ = (x − x′) ∘ ∫₀¹ ∇f(x′ + α(x − x′)) dα (Sundararajan, Taly & Yan 2017, arXiv 1703.01365, eq. 1).

    With ``steps`` given, that many Gauss–Legendre points, exact for polynomials of degree 2·steps − 1. Without, the
    trapezoid rule on 17, 33, 65, … nested points, row by row, until the completeness gap is at most
    1e-3 or 1,025 points are reached (the record says where each row stopped). x′ is the mean of
    the removal's reference rows, so the base is f(x′).
    """

    steps: Annotated[int | None, Range(1, 100_000), "points on the path; none: raised until the gap is 1e-3"] = None

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    source: ClassVar[str] = "Sundararajan, Taly & Yan 2017, arXiv 1703.01365, equation 1"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = (
        "completeness",
        "null_player",
        "symmetry",
        "linearity",
        "implementation_invariance",
    )

    def estimate(self, session: Session) -> Estimate:
        start = session.start
        delta = (session.x - start).double().cpu().numpy().repeat(session.questions // len(session), 0)
        base = session.start_values
        least = (self.steps or 1) + ENDS  # a number of steps that was given is exact
        most = session.allowance(MOST_STEPS + ENDS, least=least) - ENDS
        if self.steps is not None or most < FIRST_STEPS:
            steps = self.steps or most
            nodes, weights = np.polynomial.legendre.leggauss(steps)
            mean = session.gradients(_path(session, start, (nodes + 1) / 2), steps, weights / 2)
            used = np.full(session.questions, steps)
        else:
            mean, used = self._nested(session, start, delta, session.full - base, min(most, MOST_STEPS))
        return Estimate(session.pool(delta * mean), base=base, notes={"steps": used})

    def _nested(
        self, session: Session, start: Tensor, delta: np.ndarray, change: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Double the intervals of the rows that still miss the change, to ``most`` points; none is computed twice."""
        points = FIRST_STEPS
        grid = np.linspace(0, 1, points)
        ends = np.full(points, 1.0)
        ends[[0, -1]] = 0.5
        total = session.gradients(_path(session, start, grid), points, ends)
        used = np.full(session.questions, points)
        open_rows = np.arange(session.questions)
        while True:
            phi = delta[open_rows] * total[open_rows] / (points - 1)
            scale = np.maximum(np.abs(phi).sum(1), np.abs(change[open_rows]))
            open_rows = open_rows[np.abs(phi.sum(1) - change[open_rows]) > GAP * scale]
            if not len(open_rows) or 2 * points - 1 > most:
                return total / (used - 1)[:, None], used
            between = (grid[:-1] + grid[1:]) / 2
            total[open_rows] += session.gradients(
                _path(session, start, between), len(between), np.ones(len(between)), open_rows
            )
            points = 2 * points - 1
            grid = np.linspace(0, 1, points)
            used[open_rows] = points

    def cost(self, players: int) -> float:
        return float(self.steps or 65)


def _path(session: Session, start: Tensor, alphas: np.ndarray) -> Recipe:
    """The recipe of points x′ + α_j (x − x′)."""
    nodes = torch.as_tensor(alphas, dtype=session.x.dtype, device=session.x.device)
    delta = session.x - start

    def points(questions: Tensor, indices: Tensor) -> Tensor:
        items = session.item(questions)
        origin = start if len(start) == 1 else start[items]
        return torch.addcmul(origin, nodes[indices][:, None], delta[items])

    return points

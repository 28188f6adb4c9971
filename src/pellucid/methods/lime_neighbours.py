"""LIME among neighbours: gradients at nearby rows, weighed by how far the output moves on the way to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.slopemaking import Recipe
from ..measures.line import local_line
from ..problem.model import Differentiable
from ..records.settings import Range
from .method import Method

PARTS = 5
"""The neighbours are summed in so many parts, whose scatter gives the standard error."""


@dataclass(frozen=True)
class LimeNeighbours(Method):
    """I_i = Σ_j (f(x_j) − f(x)) · ∂f(x_j)/∂x_{j,i} over k neighbours x_j of the row.

    A local surrogate in the sense of Ribeiro, Singh & Guestrin 2016 (arXiv 1602.04938, equation 1) whose sample is the
    neighbourhood itself. Neighbours are the k nearest background rows (distances in units of each element's spread);
    where there are not that many, Gaussian steps of ``radius`` spreads around the row. A straight
    line is fitted through them, and its R² and error are in the notes. The trap: the sign says
    whether the output rises together with the player among the neighbours, not for or against the row's own value.
    """

    neighbours: Annotated[int, Range(2, 100_000), "neighbours of each row, k"] = 50
    radius: Annotated[float, Range(1e-6, 10.0), "spread of Gaussian neighbours, in each element's own spread"] = 0.3

    name: ClassVar[str] = "lime_neighbours"
    title: ClassVar[str] = "LIME among neighbours"
    source: ClassVar[str] = "after Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938, equation 1"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = ("null_player", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        demanded = 2 * self.neighbours + 2  # outputs and gradients at the neighbours, and both ends
        session.allowance(demanded, least=demanded)
        spread, change, lines = _spread(session), [], []
        for item, full in enumerate(session.full.reshape(len(session), -1)):
            near = self._near(session, spread, item)
            steps = ((near - session.x[item]) / spread).double().cpu().numpy()
            for moved in (session.outputs_all(near, np.full(self.neighbours, item)) - full).T:
                lines.append(local_line(steps, moved))
                change.append(moved)
        parts = np.array_split(np.arange(self.neighbours), min(PARTS, self.neighbours))
        terms = np.array(
            [
                session.pool(
                    session.gradients(self._points(session, spread, part), len(part), np.array(change)[:, part])
                )
                for part in parts
            ]
        )
        # The parts are alike: the scatter of their sums tells the error of the whole.
        error = np.sqrt(len(parts)) * terms.std(0, ddof=1)
        r2, rmse = np.array(lines).T
        notes = {"local_r2": r2, "local_error": rmse, "neighbours": self.neighbours}
        return Estimate(terms.sum(0), stderr=error, notes=notes)

    def _near(self, session: Session, spread: Tensor, item: int) -> Tensor:
        """The k neighbours ``[k, D]`` of a row."""
        row, references = session.x[item], session.background[0 if len(session.background) == 1 else item]
        if len(references) >= self.neighbours:
            distance = ((references - row) / spread).double().norm(dim=1)
            return references[distance.argsort(stable=True)[: self.neighbours]]
        steps = session.noise(item * session.targets).standard_normal((self.neighbours, len(row)))
        return row + self.radius * spread * torch.from_numpy(steps).to(row)

    def _points(self, session: Session, spread: Tensor, part: np.ndarray) -> Recipe:
        """Some of the neighbours as the engine asks for them: found again rather than kept."""

        def points(questions: Tensor, indices: Tensor) -> Tensor:
            items = session.item(questions).tolist()
            near = {item: self._near(session, spread, item) for item in set(items)}
            return torch.stack([near[i][part[j]] for i, j in zip(items, indices.tolist(), strict=True)])

        return points

    def cost(self, players: int) -> float:
        return 2.0 * self.neighbours


def _spread(session: Session) -> Tensor:
    """Each element's spread over the background, ``[D]``; 1 where it does not vary or there is one row only."""
    references = session.background[0].double()
    if len(references) < 2:
        return torch.ones_like(session.x[0])
    spread = references.std(0, unbiased=False)
    return torch.where(spread > 0, spread, 1.0).to(session.x)

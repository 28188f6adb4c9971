"""Max-sensitivity: how much the explanation moves when the row hardly does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session
from ..problem.inputs import same, spread
from ..records.errors import NotApplicable
from ..records.score import Better
from ..records.settings import Range
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """max ‖φ(x + δ) − φ(x)‖ / ‖φ(x)‖ over small δ (Yeh et al. 2019, arXiv 1901.09392, definition 2.3).

    δ is in units of the features: ``radius`` times each element's spread over the background (the row's own
    spread where there is none), uniform and for numbers only; a category is not half moved. The method's
    own draws stay the same, so only the row's change is seen. NaN for a row of which nothing could be moved.
    It cannot tell a wrong explanation from a right one: read it beside a metric of faithfulness.
    """

    radius: Annotated[float, Range(1e-9, 10.0), "largest move of an element, in its own spread"] = 0.05
    moves: Annotated[int, Range(1, 1000), "moved copies of each row"] = 4

    name: ClassVar[str] = "max_sensitivity"
    title: ClassVar[str] = "Max-sensitivity"
    source: ClassVar[str] = "Yeh et al. 2019, arXiv 1901.09392, definition 2.3"
    explains_again: ClassVar[bool] = True
    better: ClassVar[Better] = "lower"
    low: ClassVar[float] = 0.0

    def score(self, case: Case) -> Judged:
        session = case.session
        if session.opaque or not session.x.is_floating_point():
            raise NotApplicable("these rows cannot be moved a little")
        scale = _scale(session)
        worst, still = np.zeros(session.questions), np.ones(len(session), dtype=bool)
        for move in range(self.moves):
            steps = np.stack([session.noise(q, move).uniform(-1, 1, session.x.shape[1]) for q in _first(session)])
            moved = session.x + self.radius * scale * torch.from_numpy(steps).to(session.x)
            still &= same(moved, session.x).all(1).cpu().numpy()
            worst = np.maximum(worst, np.linalg.norm(case.again(inputs=moved) - case.values, axis=1))
        size = np.linalg.norm(case.values, axis=1)
        known = (size > 0) & ~np.repeat(still, session.questions // len(session))
        return Judged(np.divide(worst, size, out=np.full_like(worst, np.nan), where=known))


def _first(session: Session) -> range:
    """The first question of each row."""
    return range(0, session.questions, session.questions // len(session))


def _scale(session: Session) -> Tensor:
    """Each element's spread, ``[1 | N, D]``; zero for elements of categories."""
    references = session.background
    if references.shape[1] > 1:
        found = spread(references, 1)
    else:
        found = spread(session.x, 1)[:, None].expand_as(session.x).clone()
    found = found.nan_to_num()  # of what is missing everywhere there is none
    fixed = [player for player, kind in enumerate(session.types) if kind in ("categorical", "boolean")]
    if fixed:
        found = found.clone()
        found[:, torch.from_numpy(np.isin(session.players.labels[0], fixed))] = 0.0
    return found

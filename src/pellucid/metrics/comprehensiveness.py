"""Comprehensiveness: how much of the output goes with the players that were named first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..records.score import Better
from .erasure import SHARES, named_first
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Comprehensiveness(Metric):
    """f(x) − f(x without the first k), the mean over k = 1, 5, 10, 20 and 50 % of the players (at least one).

    DeYoung et al. 2020 (ERASER), arXiv 1911.03429, equation 1 and section 4.2. In units of the output; "without" is the
    explanation's own removal.
    """

    name: ClassVar[str] = "comprehensiveness"
    title: ClassVar[str] = "Comprehensiveness"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv 1911.03429, equation 1, and 4.2 for soft scores"
    better: ClassVar[Better] = "higher"
    default: ClassVar[bool] = False

    def score(self, case: Case) -> Judged:
        left = case.session.values(~named_first(case))
        return Judged(case.session.full - left.mean(1))

    def cost(self, players: int) -> float:
        return float(len(SHARES) + 1)

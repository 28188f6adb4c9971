"""Sufficiency: how much of the output is missing when only the players that were named first are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..records.score import Better
from .erasure import SHARES, named_first
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Sufficiency(Metric):
    """f(x) − f(the first k alone), the mean over k = 1, 5, 10, 20 and 50 % of the players (at least one).

    DeYoung et al. 2020 (ERASER), arXiv 1911.03429, equation 2 and section 4.2. In units of the output, and less is
    better: nothing is missing where it is 0. "Alone" is the explanation's own removal of all others.
    """

    name: ClassVar[str] = "sufficiency"
    title: ClassVar[str] = "Sufficiency"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv 1911.03429, equation 2, and 4.2 for soft scores"
    better: ClassVar[Better] = "lower"
    default: ClassVar[bool] = False

    def score(self, case: Case) -> Judged:
        alone = case.session.values(named_first(case))
        return Judged(case.session.full - alone.mean(1))

    def cost(self, players: int) -> float:
        return float(len(SHARES) + 1)

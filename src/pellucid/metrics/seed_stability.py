"""Seed stability: whether another seed tells the same story."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..measures.agreement import rank_correlation
from ..records.errors import NotApplicable
from ..records.score import Better
from ..records.settings import Range
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class SeedStability(Metric):
    """Mean rank correlation between an explanation and the same one with other seeds.

    Only for methods that draw, and left something to chance: for the others it is 1 by construction and says nothing.
    """

    reruns: Annotated[int, Range(1, 100), "explanations with other seeds"] = 3

    name: ClassVar[str] = "seed_stability"
    title: ClassVar[str] = "Seed stability"
    source: ClassVar[str] = "Visani et al. 2020, arXiv 2001.11757 (as a rank correlation)"
    explains_again: ClassVar[bool] = True
    better: ClassVar[Better] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        if not case.sampled:
            raise NotApplicable("the method does not draw, so every seed gives the same answer")
        if case.exact:
            raise NotApplicable("the answer is exact, so every seed gives the same one")
        if case.session.n < 2:
            raise NotApplicable("a single player has no order")
        others = [case.again(seed=case.seed + 1 + rerun) for rerun in range(self.reruns)]
        return Judged(np.mean([rank_correlation(case.values, other) for other in others], axis=0))

"""Relevance mass: what share of the contributions lies where the evidence is known to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .known_regions import RegionMetric, counted, known
from .metric import Case, Judged


@dataclass(frozen=True)
class RelevanceMass(RegionMetric):
    """Σ inside ÷ Σ of all contributions (Arras, Osman & Samek 2022, arXiv 2003.07258, equation 9).

    A player that lies partly inside counts to that part. Uniform contributions score the region's share of the picture:
    the figure means nothing without it, which is why the controls stand beside it. Undefined where nothing counts, or
    the region is empty.
    """

    name: ClassVar[str] = "relevance_mass"
    title: ClassVar[str] = "Relevance mass accuracy"
    source: ClassVar[str] = "Arras, Osman & Samek 2022, arXiv 2003.07258, relevance mass accuracy"

    def score(self, case: Case) -> Judged:
        inside, mass = known(case), counted(case.values, self.counts)
        total = mass.sum(1)
        told = (total > 0) & inside.any(1)
        return Judged(np.divide((mass * inside).sum(1), total, out=np.full(len(total), np.nan), where=told))

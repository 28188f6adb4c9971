"""Sparseness: whether a few players carry the explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..measures.concentration import gini
from ..records.score import Better
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Sparseness(Metric):
    """Gini index of |φ| (Chalasani et al. 2020, arXiv 1810.06583, section 6).

    0 where all players count the same, towards 1 where one carries all. A wrong explanation can be
    sparse: never read it alone.
    """

    name: ClassVar[str] = "sparseness"
    title: ClassVar[str] = "Sparseness (Gini)"
    source: ClassVar[str] = "Chalasani et al. 2020, arXiv 1810.06583, section 6"
    better: ClassVar[Better] = "neither"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        return Judged(gini(case.values))

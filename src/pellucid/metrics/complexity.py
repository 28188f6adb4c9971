"""Complexity: over how many players the explanation spreads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..measures.concentration import entropy
from ..records.score import Better
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Complexity(Metric):
    """Entropy of |φ| / Σ|φ| in nats (Bhatt, Weller & Moura 2020, arXiv 2005.00631, definition 4).

    exp of it is the effective number of players. A constant or a one-hot attribution is simple and
    says nothing: never read it alone.
    """

    name: ClassVar[str] = "complexity"
    title: ClassVar[str] = "Complexity (entropy)"
    source: ClassVar[str] = "Bhatt, Weller & Moura 2020, arXiv 2005.00631, definition 4"
    better: ClassVar[Better] = "neither"
    low: ClassVar[float] = 0.0

    def score(self, case: Case) -> Judged:
        return Judged(entropy(case.values))

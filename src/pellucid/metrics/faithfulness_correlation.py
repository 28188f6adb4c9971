"""Faithfulness correlation: whether what is said to matter more is missed more when it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..measures.agreement import pearson
from ..records.errors import NotApplicable
from ..records.score import Better
from ..records.settings import Range
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class FaithfulnessCorrelation(Metric):
    """Pearson correlation of Σ_{i∈S} φ_i and v(N) − v(N \\ S) over random S (Bhatt, Weller & Moura 2020, 2005.00631).

    The size of S is drawn evenly from 1 to n/2, because the metric depends on a fixed size.
    """

    subsets: Annotated[int, Range(3, 10_000), "random sets of players removed"] = 100

    name: ClassVar[str] = "faithfulness_correlation"
    title: ClassVar[str] = "Faithfulness correlation"
    source: ClassVar[str] = "Bhatt, Weller & Moura 2020, arXiv 2005.00631, definition 1"
    better: ClassVar[Better] = "higher"
    alarms: ClassVar[bool] = True
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        n = case.session.n
        if n < 3:
            raise NotApplicable("it needs at least three players")
        present, values = case.session.table(_subsets, n, self.subsets)
        removed = ~present.T
        return Judged(pearson(case.values @ removed.astype(np.float64), case.session.full[:, None] - values))

    def cost(self, players: int) -> float:
        return float(self.subsets)


def _subsets(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    """Who stays: everyone but a random set of 1 to n/2 players, ``Bool[count, n]``."""
    sizes = rng.integers(1, max(n // 2, 1) + 1, size=count)
    return rng.random((count, n)).argsort(1).argsort(1) >= sizes[:, None]

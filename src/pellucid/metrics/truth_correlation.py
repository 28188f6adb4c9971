"""Truth correlation: how close the explanation comes to contributions that are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..measures.agreement import rank_correlation
from ..records.errors import NotApplicable
from ..records.score import Better
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class TruthCorrelation(Metric):
    """Spearman correlation of φ with the known contributions of a generated data set's rule.

    It measures network and explanation together: a network that learnt another rule is explained
    rightly by contributions that differ from the truth.
    """

    name: ClassVar[str] = "truth_correlation"
    title: ClassVar[str] = "Agreement with the known rule"
    source: ClassVar[str] = "Agarwal et al. 2022 (OpenXAI), arXiv 2206.11104, rank correlation"
    better: ClassVar[Better] = "higher"
    default: ClassVar[bool] = False
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        if case.truth is None:
            raise NotApplicable("the true contributions are not known")
        return Judged(rank_correlation(case.values, case.truth))

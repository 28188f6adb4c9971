"""Completeness gap: by how much the contributions miss the change in the output that they claim to share out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..engine.engine import completeness_gap
from ..records.errors import NotApplicable
from ..records.score import Better
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class CompletenessGap(Metric):
    """|Σφ − (f(x) − base)| / max(Σ|φ|, |f(x) − base|) (Sundararajan, Taly & Yan 2017, arXiv 1703.01365, proposition 1).

    Only for methods that claim completeness, and for attributions made elsewhere, of which that is not known.
    """

    name: ClassVar[str] = "completeness_gap"
    title: ClassVar[str] = "Completeness gap"
    source: ClassVar[str] = "Sundararajan, Taly & Yan 2017, arXiv 1703.01365, proposition 1"
    better: ClassVar[Better] = "lower"
    low: ClassVar[float] = 0.0

    def score(self, case: Case) -> Judged:
        if case.promises is not None and "completeness" not in case.promises:
            raise NotApplicable("the method does not claim that its contributions add up")
        gaps = completeness_gap(case.values[:, :, None], case.base[:, None], case.full[:, None])
        return Judged(gaps[:, 0])

"""Agreement: whether other methods tell the same story about the same row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..measures.agreement import rank_correlation
from ..records.errors import NotApplicable
from ..records.score import Better
from .metric import Case, Judged, Metric


@dataclass(frozen=True)
class Agreement(Metric):
    """Mean rank correlation of |φ| with every other method compared (Krishna et al. 2022, arXiv 2202.01602, section 4).

    Magnitudes, because some methods have no signs. Agreement is no proof: methods can share a fault.
    """

    name: ClassVar[str] = "agreement"
    title: ClassVar[str] = "Agreement with the other methods"
    source: ClassVar[str] = "Krishna et al. 2022, arXiv 2202.01602, section 4"
    better: ClassVar[Better] = "higher"
    default: ClassVar[bool] = False
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0

    def score(self, case: Case) -> Judged:
        if not case.others:
            raise NotApplicable("there is no other method to agree with")
        each = [rank_correlation(np.abs(case.values), np.abs(other)) for other in case.others.values()]
        stacked = np.array(each)
        known = np.isfinite(stacked).sum(0)
        total = np.nansum(stacked, axis=0)
        return Judged(np.divide(total, known, out=np.full(len(total), np.nan), where=known > 0))

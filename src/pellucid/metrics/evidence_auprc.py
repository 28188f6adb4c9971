"""Evidence AUPRC: going down the values from the largest, how much of what is met lies in the known region?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from .evidence_auroc import ranked_rows
from .known_regions import Counts, RegionMetric
from .metric import Case, Judged


@dataclass(frozen=True)
class EvidenceAuprc(RegionMetric):
    """The area under the precision–recall curve of a row's elements (DeYoung et al. 2020, section 4.1), step by step.

    Elements, ties and counts are those of :class:`~pellucid.metrics.EvidenceAuroc`. Numbers that know nothing score the
    region's share of the row, so that rows with much evidence score more: read it beside its controls.
    """

    counts: Annotated[Counts, "what counts: contributions with their signs, or the size of all"] = "raising"

    name: ClassVar[str] = "evidence_auprc"
    title: ClassVar[str] = "Evidence AUPRC"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv 1911.03429, section 4.1, AUPRC of soft scores"

    def score(self, case: Case) -> Judged:
        return Judged(np.array([float(row.average_precision) for row in ranked_rows(case, self.counts)]))

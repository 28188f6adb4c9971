"""Evidence AUROC: does what lies in the known region get larger values than what lies outside?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..measures.classification import Ranking, ranking
from .known_regions import Counts, RegionMetric, elements_of, known
from .metric import Case, Judged


@dataclass(frozen=True)
class EvidenceAuroc(RegionMetric):
    """The chance that an element inside gets a larger value than one outside, ties counted half.

    Of texts the elements are the players (words, tokens), else a player's value is spread evenly over its elements. A
    player that lies partly inside is inside to that part. Undefined where the region is empty or is everything.
    """

    counts: Annotated[Counts, "what counts: contributions with their signs, or the size of all"] = "raising"

    name: ClassVar[str] = "evidence_auroc"
    title: ClassVar[str] = "Evidence AUROC"
    source: ClassVar[str] = "Fawcett 2006, Pattern Recognit Lett 27, section 7, over the elements of a row"

    def score(self, case: Case) -> Judged:
        return Judged(np.array([float(row.auc) for row in ranked_rows(case, self.counts)]))


def ranked_rows(case: Case, counts: Counts) -> list[Ranking]:
    """For each question its elements, ranked by their values, those inside the region as the positive ones."""
    inside, sizes = known(case), elements_of(case)
    heights = (case.values if counts == "raising" else np.abs(case.values)) / sizes
    halves = np.array([True, False]).repeat(case.values.shape[1])
    weights = np.concatenate([inside * sizes, (1 - inside) * sizes], axis=1)
    return [ranking(halves, np.tile(own, 2), weight) for own, weight in zip(heights, weights, strict=True)]

"""The pointing game: does the player that is said to matter most lie where the evidence is known to be?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .known_regions import RegionMetric, counted, elements_of, known
from .metric import Case, Judged


@dataclass(frozen=True)
class PointingGame(RegionMetric):
    """Hits ÷ rows: whether the largest contribution lies inside (Zhang et al. 2018, arXiv 1608.00507, section 4).

    Values are taken per element, so that a large region does not win by its size. A player that lies partly inside is a
    hit to that part, and of players that are equally large each counts alike: what a point put there at random would
    score. There is no margin around the region. Undefined where nothing counts, or the region is empty.
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    source: ClassVar[str] = "Zhang et al. 2018, Int J Comput Vis 126, arXiv 1608.00507, section 4.1"

    def score(self, case: Case) -> Judged:
        inside, sizes = known(case), elements_of(case)
        heights = counted(case.values, self.counts) / sizes
        most = heights.max(1, keepdims=True)
        first = np.where(heights >= most * (1 - 1e-9), sizes, 0)
        hits = (first * inside).sum(1) / first.sum(1)
        return Judged(np.where((most[:, 0] > 0) & inside.any(1), hits, np.nan))

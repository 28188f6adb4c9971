"""Minimal sufficient sets: the fewest players that keep the answer while everyone else is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from .smallest_sets import SmallestSets


@dataclass(frozen=True)
class MinimalSufficient(SmallestSets):
    """The smallest S with v(S) on the row's side of the cut (Carter et al. 2019, arXiv 1810.03805, sufficient subsets).

    v(S) is the mean over the reference rows, so the answer is kept on average, not in each case: for that see
    ``anchors``.
    """

    name: ClassVar[str] = "minimal_sufficient"
    title: ClassVar[str] = "Minimal sufficient sets"
    source: ClassVar[str] = (
        "Carter, Mueller, Jain & Gifford 2019, arXiv 1810.03805, algorithms 1 to 3; "
        "Watson, Gultchin, Taly & Floridi 2021, arXiv 2103.14651, definition 1"
    )

    def estimate(self, session: Session) -> Estimate:
        return self.searched(session)

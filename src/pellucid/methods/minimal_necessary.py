"""Minimal necessary sets: the fewest players whose absence loses the answer while everyone else is present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.settings import Range
from .smallest_sets import SmallestSets


@dataclass(frozen=True)
class MinimalNecessary(SmallestSets):
    """The smallest S with v(everyone but S) beyond the cut (Watson et al. 2021, arXiv 2103.14651, definition 2).

    Where players can stand in for each other, no one of them is necessary, and all of them together are.
    """

    share: Annotated[float, Range(1e-6, 1.0), "share of the change from nobody to everyone that must be kept"] = 0.5

    name: ClassVar[str] = "minimal_necessary"
    title: ClassVar[str] = "Minimal necessary sets"
    source: ClassVar[str] = (
        "Watson, Gultchin, Taly & Floridi 2021, arXiv 2103.14651, definition 2; "
        "Carter, Mueller, Jain & Gifford 2019, arXiv 1810.03805"
    )
    absent: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        return self.searched(session)

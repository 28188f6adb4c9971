"""Leave-one-in: what each player does when nobody else is present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from .method import Method

RUN = 2**20
"""Cells of (coalition, player) made at once, but at least SHORTEST coalitions."""
SHORTEST = 512


@dataclass(frozen=True)
class LeaveOneIn(Method):
    """φ_i = v({i}) − v(∅): each player present alone (Covert, Lundberg & Lee 2021, arXiv 2011.14878).

    The counterpart of leaving one out, which is :class:`~pellucid.methods.occlusion.Occlusion`: together they are the
    first and the last of the marginal contributions that a Shapley value averages. The trap: an input that matters
    only beside another looks useless.
    """

    name: ClassVar[str] = "leave_one_in"
    title: ClassVar[str] = "Leave-one-in"
    source: ClassVar[str] = "Covert, Lundberg & Lee 2021, arXiv 2011.14878, summaries that include one feature"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "symmetry", "linearity", "implementation_invariance")
    known_as: ClassVar[tuple[str, ...]] = ("include_one_in", "alone")
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        session.allowance(n + 2, least=n + 2)
        values, run = np.zeros((session.questions, n)), max(RUN // n, SHORTEST)
        for start in range(0, n, run):  # who is present is made run by run: all at once it is n² cells
            part = np.arange(start, min(start + run, n))
            values[:, part] = session.values(part[:, None] == np.arange(n)) - session.empty[:, None]
        return Estimate(values)

    def cost(self, players: int) -> float:
        return players + 2.0

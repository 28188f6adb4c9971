"""Guided backpropagation: gradients, of which only positive ones pass a rectifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.manner import GUIDED, Manner
from ..problem.model import Differentiable, Traceable
from .from_gradient import nothing_back
from .method import Method


@dataclass(frozen=True)
class GuidedBackprop(Method):
    """The gradient, where a rectifier passes only what is positive on both ways (Springenberg et al. 2015).

    Rectifiers are found by what they compute, not by their names; all uses of a result are summed before it is
    clamped. A network without one is refused. The trap: it shows edges whatever the weights say (Adebayo et al. 2018,
    arXiv 1810.03292), so it is a picture of the input more than of the decision.
    """

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    source: ClassVar[str] = "Springenberg et al. 2015, arXiv 1412.6806, section 3.4"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    removes: ClassVar[bool] = False
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("guided_backpropagation",)
    walk: ClassVar[Manner] = GUIDED

    def manner(self, network: Callable[[], Network]) -> Manner:
        return self.walk

    def estimate(self, session: Session) -> Estimate:
        found = session.walked(self.walk)
        return Estimate(session.pool(found), cautions=nothing_back(self.name, found, session))

    def cost(self, players: int) -> float:
        return 1.0

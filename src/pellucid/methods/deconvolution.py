"""Deconvolution: gradients that a rectifier clamps on their way back, whatever it did on the way there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.manner import DECONVOLVED, Manner
from ..problem.model import Differentiable, Traceable
from .from_gradient import nothing_back
from .method import Method


@dataclass(frozen=True)
class Deconvolution(Method):
    """The gradient, where a rectifier passes what is positive on its way back, whatever it was (Zeiler & Fergus 2014).

    Rectifiers are found by what they compute, not by their names; all uses of a result are summed before it is
    clamped. A network without one is refused. The trap: it shows edges whatever the weights say (Adebayo et al. 2018,
    arXiv 1810.03292), so it is a picture of the input more than of the decision.
    """

    name: ClassVar[str] = "deconvolution"
    title: ClassVar[str] = "Deconvolution"
    source: ClassVar[str] = "Zeiler & Fergus 2014, arXiv 1311.2901, section 2.1"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    removes: ClassVar[bool] = False
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("deconvnet",)

    def manner(self, network: Callable[[], Network]) -> Manner:
        return DECONVOLVED

    def estimate(self, session: Session) -> Estimate:
        found = session.walked(DECONVOLVED)
        return Estimate(session.pool(found), cautions=nothing_back(self.name, found, session))

    def cost(self, players: int) -> float:
        return 1.0

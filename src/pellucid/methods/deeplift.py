"""DeepLIFT: the difference of the output to that of a reference, passed back difference by difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.manner import RESCALED, REVEALED, Manner
from ..problem.model import Differentiable, Traceable
from .method import Method

RuleName = Literal["rescale", "reveal_cancel"]
MANNERS: dict[RuleName, Manner] = {"rescale": RESCALED, "reveal_cancel": REVEALED}


@dataclass(frozen=True)
class DeepLift(Method):
    """φ = m ∘ (x − x′), m the product of multipliers Δy/Δu along all paths (Shrikumar et al. 2017, arXiv 1704.02685).

    Exact for any mixture of the operations in :mod:`pellucid.operations.rules`: every operation has a multiplier with
    Δy = Σ m Δu, so contributions add up to f(x) − f(x′) to rounding. x′ is the mean of the removal's reference rows.
    ``rule="reveal_cancel"`` carries what pushes up and what pushes down apart (section 3.5.3).
    """

    rule: Annotated[RuleName, "for one-variable functions: the slope, or what pushes up and down apart"] = "rescale"

    name: ClassVar[str] = "deeplift"
    title: ClassVar[str] = "DeepLIFT"
    source: ClassVar[str] = "Shrikumar, Greenside & Kundaje 2017, arXiv 1704.02685, sections 3.3 and 3.5.1"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    promises: ClassVar[tuple[str, ...]] = ("completeness", "null_player", "symmetry")

    def manner(self, network: Callable[[], Network]) -> Manner:
        return MANNERS[self.rule]

    def estimate(self, session: Session) -> Estimate:
        found = session.walked(MANNERS[self.rule], session.start[:, None])
        return Estimate(session.pool(found), base=session.start_values)

    def cost(self, players: int) -> float:
        return 3.0

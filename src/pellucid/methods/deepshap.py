"""DeepSHAP: DeepLIFT from every reference row, averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.manner import Manner
from ..problem.model import Differentiable, Traceable
from .deeplift import MANNERS, RuleName
from .method import Method


@dataclass(frozen=True)
class DeepShap(Method):
    """φ = mean over references x′ of DeepLIFT's m ∘ (x − x′) (Lundberg & Lee 2017, arXiv 1705.07874, section 4.2).

    The forward pass runs on rows and references, never on pairs; only slopes are made for each pair. An approximation
    of Shapley values: exact for additive networks, and complete for all.
    """

    rule: Annotated[RuleName, "for one-variable functions: the slope, or what pushes up and down apart"] = "rescale"

    name: ClassVar[str] = "deepshap"
    title: ClassVar[str] = "DeepSHAP"
    source: ClassVar[str] = "Lundberg & Lee 2017, arXiv 1705.07874, section 4.2"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    promises: ClassVar[tuple[str, ...]] = ("completeness", "null_player", "symmetry")
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("deep_explainer", "deep_shap")

    def manner(self, network: Callable[[], Network]) -> Manner:
        return MANNERS[self.rule]

    def estimate(self, session: Session) -> Estimate:
        references = session.background
        base = session.empty if references is session.references else None
        return Estimate(session.pool(session.walked(MANNERS[self.rule], references)), base=base)

    def cost(self, players: int) -> float:
        return 100.0

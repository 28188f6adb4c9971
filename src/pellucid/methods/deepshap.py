"""DeepSHAP: DeepLIFT from every reference row, averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

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
        values = session.walked(MANNERS[self.rule], references)
        return Estimate(session.pool(values), base=_base(session, references))

    def cost(self, players: int) -> float:
        return 100.0


def _base(session: Session, references: Tensor) -> np.ndarray:
    """The mean target over the references, ``Float64[Q]``: v(nobody), unless what is absent is drawn given the rest."""
    if references is session.references:
        return session.empty
    S, items = references.shape[1], np.arange(len(session)).repeat(references.shape[1])
    points = references.expand(len(session), -1, -1).reshape(len(items), -1)
    return session.outputs_all(points, items).reshape(len(session), S, -1).mean(1).reshape(-1)

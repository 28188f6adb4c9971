"""Saliency: how fast the output changes with each input, at the row itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.model import Differentiable
from ..records.messages import Caution
from .method import Method


@dataclass(frozen=True)
class Saliency(Method):
    """The gradient of the target with respect to the inputs (Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034, §3).

    Magnitudes by default, as in the paper; a group of inputs gets the Euclidean norm of its gradient.
    The trap: a gradient of zero means "flat here" (a saturated output), not "without influence".
    """

    signed_values: Annotated[bool, "keep the sign; a group then gets the sum of its gradients"] = False

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    source: ClassVar[str] = "Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034, section 3"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = ("null_player", "implementation_invariance")
    pooling: ClassVar[str] = "norm"
    at_rows: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        gradient, pooling = session.slopes, "sum" if self.signed_values else "norm"
        values = session.pool(gradient, pooling)
        return Estimate(values, cautions=zero_gradient_caution(gradient, len(session)), pooling=pooling)

    def cost(self, players: int) -> float:
        return 1.0


def zero_gradient_caution(gradient: np.ndarray, rows: int) -> tuple[Caution, ...]:
    """A caution for the rows where the gradient ``[Q, D]`` of some target is zero everywhere."""
    flat = int((~gradient.any(axis=1)).reshape(rows, -1).any(axis=1).sum())
    return (Caution.of("zero_gradient", "yellow", rows=flat, total=rows),) if flat else ()

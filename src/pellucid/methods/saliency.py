"""Saliency: how fast the output changes with each input, at the row itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from .from_gradient import FromGradient


@dataclass(frozen=True)
class Saliency(FromGradient):
    """The gradient of the target with respect to the inputs (Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034, §3).

    Magnitudes by default, as in the paper; a group of inputs gets the Euclidean norm of its gradient.
    The trap: a gradient of zero means "flat here" (a saturated output), not "without influence".
    """

    signed_values: Annotated[bool, "keep the sign; a group then gets the sum of its gradients"] = False

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    source: ClassVar[str] = "Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034, section 3"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "implementation_invariance")
    pooling: ClassVar[str] = "norm"
    signed: ClassVar[bool] = False

    def of_elements(self, rows: Tensor, slopes: Tensor) -> Tensor:
        return slopes

    @property
    def pooled_by(self) -> str:
        return "sum" if self.signed_values else "norm"

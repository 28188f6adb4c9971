"""SmoothGrad-squared: the mean square of the gradient over noisy copies of the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .saliency import Saliency
from .smoothed import Smoothed, SmoothedGradient


@dataclass(frozen=True)
class SquareGrad(SmoothedGradient):
    """φ = E[∇f(x + ε)²], ε ~ N(0, (noise · range)²) (Hooker et al. 2019, arXiv 1806.10758, §4: SG-SQ).

    The square of the mean slope plus its variance: SmoothGrad² + VarGrad. A group gets the sum of the squares of its
    elements. It is ``Saliency().smoothed(how="square")``. The trap: its unit is a square, so it exaggerates
    what stands out.
    """

    name: ClassVar[str] = "squaregrad"
    title: ClassVar[str] = "SmoothGrad-squared"
    source: ClassVar[str] = "Hooker, Erhan, Kindermans & Kim 2019, arXiv 1806.10758, section 4"
    signed: ClassVar[bool] = False
    pooling: ClassVar[str] = "norm"
    known_as: ClassVar[tuple[str, ...]] = ("smoothgrad_squared", "smoothgrad_sq", "square_grad")

    @property
    def same(self) -> Smoothed:
        return Smoothed(Saliency(), self.samples, self.noise, "square")

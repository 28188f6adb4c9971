"""VarGrad: how much the gradient varies over noisy copies of the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .saliency import Saliency
from .smoothed import Smoothed, SmoothedGradient


@dataclass(frozen=True)
class VarGrad(SmoothedGradient):
    """φ = Var[∇f(x + ε)], ε ~ N(0, (noise · range)²) (Adebayo et al. 2018, arXiv 1810.03307, §3).

    Large where the slope changes near the row, zero where f is linear: it tells of curvature and kinks, not of
    slope. The variance is the unbiased one, by samples − 1. It is
    ``Saliency(signed_values=True).smoothed(how="variance")``. The trap: an input of constant slope gets nothing,
    however steep it is.
    """

    name: ClassVar[str] = "vargrad"
    title: ClassVar[str] = "VarGrad"
    source: ClassVar[str] = "Adebayo, Gilmer, Goodfellow & Kim 2018, arXiv 1810.03307, section 3"
    signed: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("var_grad",)

    @property
    def same(self) -> Smoothed:
        return Smoothed(Saliency(signed_values=True), self.samples, self.noise, "variance")

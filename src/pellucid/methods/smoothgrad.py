"""SmoothGrad: the gradient averaged over noisy copies of the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .saliency import Saliency
from .smoothed import Smoothed, SmoothedGradient


@dataclass(frozen=True)
class SmoothGrad(SmoothedGradient):
    """φ = E[∇f(x + ε)], ε ~ N(0, (noise · range)²) (Smilkov et al. 2017, arXiv 1706.03825, §3).

    The gradient of f blurred by the noise: what is left are slopes that hold in the neighbourhood. Signed, as in the
    paper; where it is drawn, magnitudes are taken. It is ``Saliency(signed_values=True).smoothed()``. The trap: with
    much noise it explains a neighbourhood that has little to do with the row.
    """

    name: ClassVar[str] = "smoothgrad"
    title: ClassVar[str] = "SmoothGrad"
    source: ClassVar[str] = "Smilkov, Thorat, Kim, Viégas & Wattenberg 2017, arXiv 1706.03825, section 3"
    promises: ClassVar[tuple[str, ...]] = ("null_player", "linearity", "implementation_invariance")
    known_as: ClassVar[tuple[str, ...]] = ("smooth_grad",)

    @property
    def same(self) -> Smoothed:
        return Smoothed(Saliency(signed_values=True), self.samples, self.noise)

"""Grad-CAM: a late layer's feature maps, each weighed by how much the target gains from it on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from .class_activation import GradientMap, weighed


@dataclass(frozen=True)
class GradCam(GradientMap):
    """ReLU(Σ_k α_k A_k), α_k the mean of ∂y/∂A_k over the map (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1–2).

    The trap: averaging the gradients forgets where in the map a feature was wanted; :class:`HiresCam` does not.
    """

    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "grad_cam"
    title: ClassVar[str] = "Grad-CAM"
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2"
    default: ClassVar[bool] = True
    known_as: ClassVar[tuple[str, ...]] = ("gradcam",)

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return weighed(activations, gradients.mean((2, 3)), self.relu)

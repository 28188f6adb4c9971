"""Grad-CAM++: Grad-CAM whose weights favour the cells that raise the target, so that several objects count alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from .class_activation import GradientMap, weighed


@dataclass(frozen=True)
class GradCamPlusPlus(GradientMap):
    """ReLU(Σ_k w_k A_k), w_k = Σ_ij α_kij ReLU(g_kij) (Chattopadhay et al. 2018, arXiv 1710.11063, eq. 10 and 19).

    With y = exp(score), as the paper takes it, α = g² / (2 g² + g³ Σ_ab A_kab) = 1 / (2 + g Σ_ab A_kab), and the factor
    exp(score), the same in all cells, is left out. The derivation is for rectified maps: of others, Σ A is taken of the
    positive cells.
    """

    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "grad_cam_plus_plus"
    title: ClassVar[str] = "Grad-CAM++"
    source: ClassVar[str] = "Chattopadhay et al. 2018, arXiv 1710.11063, equations 10 and 19"
    known_as: ClassVar[tuple[str, ...]] = ("gradcam++", "grad_cam++", "gradcampp")

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        raising = gradients.relu()
        total = activations.relu().sum((2, 3), keepdim=True)
        return weighed(activations, (raising / (2 + raising * total)).sum((2, 3)), self.relu)

"""XGrad-CAM: Grad-CAM whose weights come from axioms: gradients averaged with the activations as their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from .class_activation import GradientMap, weighed


@dataclass(frozen=True)
class XgradCam(GradientMap):
    """ReLU(Σ_k w_k A_k), w_k = Σ_ij (A_kij / Σ_ab A_kab) ∂y/∂A_kij (Fu et al. 2020, arXiv 2008.02312, section 3).

    A map whose cells add up to zero has no such weights, and adds nothing.
    """

    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "xgrad_cam"
    title: ClassVar[str] = "XGrad-CAM"
    source: ClassVar[str] = "Fu et al. 2020, arXiv 2008.02312, section 3"
    known_as: ClassVar[tuple[str, ...]] = ("xgradcam",)

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        gained, total = (activations * gradients).sum((2, 3)), activations.sum((2, 3))
        weights = torch.where(total == 0, 0.0, gained / total)
        return weighed(activations, weights, self.relu)

"""LayerCAM: activations weighed cell by cell by the gradients that raise the target; sharp in early layers too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from .class_activation import GradientMap


@dataclass(frozen=True)
class LayerCam(GradientMap):
    """ReLU(Σ_k ReLU(∂y/∂A_k) ∘ A_k) (Jiang et al. 2021, LayerCAM, IEEE TIP 30, section III)."""

    relu: Annotated[bool, "drop what speaks against the target, as the paper does"] = True

    name: ClassVar[str] = "layer_cam"
    title: ClassVar[str] = "LayerCAM"
    source: ClassVar[str] = "Jiang, Zhang, Hou, Cheng & Wei 2021, LayerCAM, IEEE TIP 30, section III"
    known_as: ClassVar[tuple[str, ...]] = ("layercam",)

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        summed = (activations * gradients.relu()).sum(1)
        return summed.relu() if self.relu else summed

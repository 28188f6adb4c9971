"""HiResCAM: activations times gradients, cell by cell; nothing is averaged away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from .class_activation import GradientMap


@dataclass(frozen=True)
class HiresCam(GradientMap):
    """Σ_k ∂y/∂A_k ∘ A_k (Draelos & Carin 2020, arXiv 2011.08891, section 3).

    Where only a linear layer follows the map, its cells add up to the target less the bias.
    """

    relu: Annotated[bool, "drop what speaks against the target, which the paper does not"] = False

    name: ClassVar[str] = "hires_cam"
    title: ClassVar[str] = "HiResCAM"
    source: ClassVar[str] = "Draelos & Carin 2020, arXiv 2011.08891, section 3"
    known_as: ClassVar[tuple[str, ...]] = ("hirescam",)

    def combined(self, activations: Tensor, gradients: Tensor) -> Tensor:
        summed = (activations * gradients).sum(1)
        return summed.relu() if self.relu else summed

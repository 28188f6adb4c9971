"""Layer gradient × activation: what a layer's units add to the target, to first order, at the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Look, Places, Seen
from ..engine.session import Session
from ..problem.model import Place
from .layer_values import LayerMethod, Units, side_by_side, traced


@dataclass(frozen=True)
class LayerGradientXActivation(LayerMethod):
    """∂y/∂h ∘ h (Shrikumar et al. 2016, arXiv 1605.01713, section 2, at a layer in place of the input).

    Where only a linear layer follows, the units add up to the target less the bias.
    """

    name: ClassVar[str] = "layer_gradient_x_activation"
    title: ClassVar[str] = "Layer gradient × activation"
    source: ClassVar[str] = "Shrikumar, Greenside, Shcherbina & Kundaje 2016, arXiv 1605.01713, section 2"
    removes: ClassVar[bool] = False

    def look(self, places: Places) -> Look:
        chosen = self.chosen(places)
        return Look(tuple(place.name for place in chosen), _Product(chosen, self.units))

    def estimate(self, session: Session) -> Estimate:
        return traced(self, self.chosen(session.places), session.looked(self.look(session.places)))


@dataclass(frozen=True)
class _Product:
    """Gradients times activations, all units side by side."""

    places: tuple[Place, ...]
    units: Units

    def __call__(self, activations: Seen, gradients: Seen) -> Tensor:
        made = {name: activations[name] * gradients[name] for name in activations}
        return side_by_side(self.places, made, self.units)

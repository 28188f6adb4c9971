"""Layer activation: what a layer's units are at the row; no attribution, but what all others are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Inspectable
from .layer_values import LayerMethod, side_by_side, traced


@dataclass(frozen=True)
class LayerActivation(LayerMethod):
    """h(x), the same for every target. Channels are told by their sum over places."""

    name: ClassVar[str] = "layer_activation"
    title: ClassVar[str] = "Layer activation"
    source: ClassVar[str] = "the layer's own output"
    removes: ClassVar[bool] = False
    needs: ClassVar[tuple[type, ...]] = (Inspectable,)

    def estimate(self, session: Session) -> Estimate:
        places = self.chosen(session.places)

        def fold(activations: Seen, _: Tensor) -> Tensor:
            return side_by_side(places, activations, self.units)

        found = session.activations([place.name for place in places], fold)
        return traced(self, places, found.repeat(session.targets, 0))

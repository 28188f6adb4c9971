"""Unit ablation: what the target loses when a unit of a layer is switched off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.changing import Change
from ..engine.estimate import Estimate
from ..engine.inside import Seen
from ..engine.session import Session
from ..problem.model import Inspectable, Place
from .layer_values import LayerMethod, Units, sizes, traced


@dataclass(frozen=True)
class UnitAblation(LayerMethod):
    """y − y with unit h switched off: set to zero, or to what it is where nothing is present (Morcos et al. 2018).

    The rest of the network answers again, so saturation hides nothing. The trap: units that can stand in for each other
    all look useless when each is switched off alone.
    """

    units: Annotated[Units, "what a unit is: each channel of a layer, or each element"] = "channel"
    instead: Annotated[Literal["zero", "reference"], "what a unit is when it is off: 0, or its value at x′"] = "zero"

    name: ClassVar[str] = "unit_ablation"
    title: ClassVar[str] = "Unit ablation"
    source: ClassVar[str] = "Morcos, Barrett, Rabinowitz & Botvinick 2018, arXiv 1803.06959, section 3.1"
    needs: ClassVar[tuple[type, ...]] = (Inspectable,)

    def estimate(self, session: Session) -> Estimate:
        places = self.chosen(session.places)
        counts = sizes(places, self.units)
        asked = sum(counts) + 2
        session.allowance(asked, least=asked)
        lost = [
            session.full[:, None] - session.changed(place.name, self._without(session, place), count)
            for place, count in zip(places, counts, strict=True)
        ]
        return traced(self, places, np.concatenate(lost, axis=1))

    def _without(self, session: Session, place: Place) -> Change:
        off = None if self.instead == "zero" else torch.from_numpy(_at_start(session, place))

        def change(rows: Tensor, items: Tensor, which: Tensor) -> Tensor:
            left = rows.clone(memory_format=torch.contiguous_format)
            units, each = _units(place, left, self.units), torch.arange(len(left))
            if off is None:
                units[each, which] = 0
            else:
                held = off[items] if len(off) > 1 else off.expand(len(items), *off.shape[1:])
                units[each, which] = _units(place, held.to(left), self.units)[each, which]
            return left

        return change

    def cost(self, players: int) -> float:
        return 512.0


def _units(place: Place, rows: Tensor, units: Units) -> Tensor:
    """Rows ``[b, *shape]`` seen unit by unit, ``[b, units, …]``, without a copy."""
    if units == "element" or len(place.shape) == 1:
        return rows.view(len(rows), -1) if rows.is_contiguous() else rows.reshape(len(rows), -1)
    return rows if place.channels == 0 else rows.movedim(-1, 1)


def _at_start(session: Session, place: Place) -> np.ndarray:
    """A place's activations ``[R, *shape]`` where the paths begin."""
    start = session.start
    some = session.take([0]) if len(start) == 1 else session
    session.spent.add(len(start) / len(session))

    def fold(activations: Seen, _: Tensor) -> Tensor:
        return activations[place.name]

    return some.at(start).activations([place.name], fold)

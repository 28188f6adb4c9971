"""What the methods that speak of layers share: which layers, what a unit of them is, and the record's arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.engine import completeness_gap
from ..engine.estimate import Estimate
from ..engine.inside import Places, Seen
from ..engine.session import Session
from ..engine.slopemaking import Recipe
from ..problem.model import Differentiable, Inspectable, Place
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.trace import Trace, described
from .method import Method

Units = Literal["element", "channel"]


@dataclass(frozen=True)
class LayerMethod(Method):
    """A number for each unit of some layers."""

    layer: Annotated[str | tuple[str, ...] | None, "the place to look at, or several; none: the last hidden layer"] = (
        None
    )
    units: Annotated[Units, "what a unit is: each element of a layer, or each channel, added up over its places"] = (
        "element"
    )

    needs: ClassVar[tuple[type, ...]] = (Differentiable, Inspectable)
    answers: ClassVar[type[Answer]] = Trace
    default: ClassVar[bool] = False

    def chosen(self, places: Places) -> tuple[Place, ...]:
        """The places that are asked for. Raises :class:`UnknownName` for one that is not there."""
        if self.layer is None:
            return (last_hidden(places),)
        return tuple(places.named(name) for name in ([self.layer] if isinstance(self.layer, str) else self.layer))

    def cost(self, players: int) -> float:
        return 1.0


def last_hidden(places: Places) -> Place:
    """The place in front of the last module with weights of its own: what the network decides by.

    Of several tensors that a module returns, the one that is used. Raises :class:`NotApplicable` where there is none.
    """
    return places.once("last hidden", lambda: _found(places))


def _found(places: Places) -> Place:
    known = places.all
    last = max((place for place, each in enumerate(known) if each.weighs), default=0)
    if not last:
        raise NotApplicable(
            "this network has no hidden layer",
            why=f"the only layer with weights is {known[0].name}",
            fix="name the place: layer=…",
        )
    found = known[last - 1]
    several = [place for place in known[:last] if _call(place) == _call(found)]
    if len(several) == 1:
        return found
    felt = places.tried(several)
    return next((place for place in several if bool(felt[place.name].any())), several[0])


def _call(place: Place) -> str:
    """The name of a place without the number of its tensor."""
    return re.sub(r"\[\d+\]", "", place.name)


def by_unit(place: Place, rows: Tensor, units: Units) -> Tensor:
    """Values ``[b, *shape]`` as ``[b, m]``: each element's, or each channel's sum."""
    if units == "element" or len(place.shape) == 1:
        return rows.flatten(1)
    return (rows if place.channels == 0 else rows.movedim(-1, 1)).flatten(2).sum(2)


def side_by_side(places: tuple[Place, ...], seen: Seen, units: Units) -> Tensor:
    """The units of all places, ``[b, M]``."""
    return torch.cat([by_unit(place, seen[place.name], units) for place in places], dim=1)


def shape_of(place: Place, units: Units) -> tuple[int, ...]:
    """The shape of a place's units."""
    return place.shape if units == "element" else (place.shape[place.channels if len(place.shape) > 1 else 0],)


def sizes(places: tuple[Place, ...], units: Units) -> list[int]:
    """How many units each place has."""
    return [prod(shape_of(place, units)) for place in places]


def traced(method: LayerMethod, places: tuple[Place, ...], values: np.ndarray, **fields: Any) -> Estimate:
    """The estimate of values ``Float64[Q, M]`` of the units of all places."""
    listed = [described(place.name, place.kind, shape_of(place, method.units)) for place in places]
    notes = {"places": listed, **fields.pop("notes", {})}
    return Estimate(values, notes=notes, **fields)


def layer_gaps(values: np.ndarray, counts: list[int], base: np.ndarray, full: np.ndarray) -> np.ndarray:
    """The completeness gap of each layer, ``Float64[Q, L]``, of values ``[Q, M]`` whose layers have so many units."""
    parts = np.split(values, np.cumsum(counts)[:-1], axis=1)
    gaps = [completeness_gap(part[..., None], base[:, None], full[:, None]) for part in parts]
    return np.concatenate(gaps, axis=1)


def carried(held: Tensor, slopes: Tensor, run: slice, intervals: int) -> Tensor:
    """Σ_j g_j (h_{j+1} − h_j) over a run of a path's intervals, ``[g, *shape]``, of ``[g, k + 1, *shape]`` at points.

    g_j is the mean of the gradients at both ends of an interval. The first and the last take that of their inner end: a
    path often begins where many units have their kink (at zeros, where maxima tie), and a gradient there is anybody's.
    """
    mean = (slopes[:, 1:] + slopes[:, :-1]) / 2
    if run.start == 0 and intervals > 1:
        mean[:, 0] = slopes[:, 1]
    if run.stop == intervals > 1:
        mean[:, -1] = slopes[:, -2]
    return (mean * torch.diff(held, dim=1)).sum(1)


def straight(session: Session, alphas: np.ndarray) -> Recipe:
    """The recipe of points x′ + α_j (x − x′) from the start of the path to the row."""
    start = session.start
    nodes = torch.as_tensor(alphas, dtype=session.x.dtype, device=session.x.device)
    delta = session.x - start

    def points(questions: Tensor, indices: Tensor) -> Tensor:
        items = session.item(questions)
        return torch.addcmul(start if len(start) == 1 else start[items], nodes[indices][:, None], delta[items])

    return points

"""Neuron attribution: what the inputs did to one unit inside the network, and through it to the target."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.inside import Look, Places, Seen
from ..engine.session import Session
from ..problem.model import Differentiable, Inspectable, Place
from ..records.errors import NotApplicable
from ..records.settings import Range
from .layer_values import Units, by_unit, carried, last_hidden, shape_of, straight
from .method import Method

STEPS, ENDS = 50, 2


@dataclass(frozen=True)
class NeuronAttribution(Method):
    """(x − x′) ∘ ∫₀¹ ∂y/∂h · ∂h/∂x dα for one unit h (Dhamdhere, Sundararajan & Yan 2018, arXiv 1805.12233, eq. 2).

    The contributions add up to the unit's conductance, which is worked out apart and stands as the record's ``full``.
    With ``of="gradient"`` it is ∂h/∂x at the row, whatever the target is; base and full are then h at x′ and at x.
    Without ``unit`` each row is asked about the channel whose gradient × activation is largest there.
    """

    layer: Annotated[str | None, "the place of the unit; none: the last hidden layer"] = None
    unit: Annotated[
        int | tuple[int, ...] | None,
        Range(0, 2**31),
        "a channel, or the place of an element in the layer; none: the channel that counts most",
    ] = None
    of: Annotated[Literal["conductance", "gradient"], "what went through the unit to the target, or what moves it"] = (
        "conductance"
    )
    steps: Annotated[int | None, Range(2, 100_000), "points on the path; none: 50, or what the budget allows"] = None

    name: ClassVar[str] = "neuron_attribution"
    title: ClassVar[str] = "Neuron attribution"
    source: ClassVar[str] = "Dhamdhere, Sundararajan & Yan 2018, arXiv 1805.12233, equation 2"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Inspectable)
    promises: ClassVar[tuple[str, ...]] = ("completeness",)
    default: ClassVar[bool] = False

    def look(self, places: Places) -> Look | None:
        place = self._place(places)
        return Look((place.name,), _Strength(place)) if self.unit is None else None

    def estimate(self, session: Session) -> Estimate:
        unit = self._unit(session)
        notes = {"layer": unit.place.name, "unit": unit.told}
        if self.of == "gradient":
            found, base, full = self._gradient(session, unit)
            return Estimate(session.pool(found), base=base, full=full, notes=notes, complete=False)
        allowed = session.allowance(2 * STEPS + ENDS, least=2 * (self.steps or 2) + ENDS) - ENDS
        steps = self.steps or min(STEPS, allowed // 2)
        nodes, weights = np.polynomial.legendre.leggauss(steps)

        def flow(_: Tensor, gradients: Tensor, questions: Tensor) -> Tensor:
            return gradients * unit.mask(questions).to(gradients.device)

        mean = session.through(unit.place.name, flow, straight(session, (nodes + 1) / 2), steps, weights / 2)
        delta = (session.x - session.start).double().cpu().numpy().repeat(session.targets, 0)
        whole, none = _conductance(session, unit, steps), np.zeros(session.questions)
        return Estimate(session.pool(delta * mean), base=none, full=whole, notes={**notes, "steps": steps})

    def _place(self, places: Places) -> Place:
        return last_hidden(places) if self.layer is None else places.named(self.layer)

    def _unit(self, session: Session) -> _Unit:
        """The unit that is asked for. Raises :class:`NotApplicable` for one that the layer lacks."""
        place = self._place(session.places)
        if self.unit is None:
            strength = session.looked(Look((place.name,), _Strength(place)))
            return _Unit(place, "channel", np.abs(strength).argmax(1))
        given = self.unit if isinstance(self.unit, tuple) else (self.unit,)
        units = "element" if len(given) == len(place.shape) > 1 else "channel"
        shape = shape_of(place, units)
        if len(given) != len(shape) or any(number >= size for number, size in zip(given, shape, strict=True)):
            raise NotApplicable(
                f"there is no unit {self.unit} at {place.name}",
                why=f"it has {shape_of(place, 'channel')[0]} channels, and elements of the shape {place.shape}",
                fix="name a channel by its number, or an element by its place; both are counted from 0",
            )
        return _Unit(place, units, np.full(session.questions, np.ravel_multi_index(given, shape)), self.unit)

    def _gradient(self, session: Session, unit: _Unit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """∂h/∂x at the rows, ``[Q, D]``, and h where the path begins and at the rows, ``[Q]``."""
        name = unit.place.name

        def flow(activations: Tensor, _: Tensor, questions: Tensor) -> Tensor:
            return unit.mask(questions).expand(activations.shape)

        def fold(activations: Seen, _: Seen) -> Tensor:
            return by_unit(unit.place, activations[name], unit.units)

        one = np.ones(1)
        slopes = session.through(name, flow, straight(session, one), 1, one)
        start, row = (
            unit.picked(session.inner_gradients(Look((name,), fold), straight(session, alpha * one), 1, one))
            for alpha in (0.0, 1.0)
        )
        return slopes, start, row

    def cost(self, players: int) -> float:
        return 2.0 * (self.steps or STEPS) + ENDS if self.of == "conductance" else 1.0


@dataclass(frozen=True)
class _Strength:
    """Gradient × activation of each channel."""

    place: Place

    def __call__(self, activations: Seen, gradients: Seen) -> Tensor:
        return by_unit(self.place, activations[self.place.name] * gradients[self.place.name], "channel")


@dataclass(frozen=True, eq=False)
class _Unit:
    """A unit of a place for each question: ``index`` (``Int[Q]``) among its channels or elements."""

    place: Place
    units: Units
    index: np.ndarray
    given: int | tuple[int, ...] | None = None

    @property
    def told(self) -> Any:
        """As it stands in the notes: the one that was asked for, or the one that was found, question by question."""
        return self.index if self.given is None else self.given

    def mask(self, questions: Tensor) -> Tensor:
        """``Float64[b, …]``, 1 where the questions' units are; to be multiplied with activations."""
        shape = shape_of(self.place, self.units)
        chosen = torch.nn.functional.one_hot(torch.from_numpy(self.index)[questions], prod(shape)).double()
        if self.units == "element" or len(self.place.shape) == 1:
            return chosen.reshape(-1, *self.place.shape)
        rest = [1] * (len(self.place.shape) - 1)
        return chosen.reshape(-1, *shape, *rest) if self.place.channels == 0 else chosen.reshape(-1, *rest, *shape)

    def picked(self, found: np.ndarray) -> np.ndarray:
        """The questions' own units of all that were found, ``[Q, units] → [Q]``."""
        return found[np.arange(len(found)), self.index]


def _conductance(session: Session, unit: _Unit, steps: int) -> np.ndarray:
    """The unit's conductance along the way of its own value, ``Float64[Q]``."""
    name = unit.place.name

    def fold(activations: Seen, gradients: Seen, run: slice) -> Tensor:
        return by_unit(unit.place, carried(activations[name], gradients[name], run, steps - 1), unit.units)

    path = straight(session, np.linspace(0, 1, steps))
    return unit.picked(session.along([name], fold, path, steps - 1))

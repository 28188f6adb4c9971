"""Units: the choice of what the players are, before any row was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from ..records.players import Players
from .inputs import WHOLE, Inputs


class Units(ABC):
    """A way to divide rows into players."""

    @abstractmethod
    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        """The players of these rows."""


@dataclass(frozen=True)
class Elements(Units):
    """Every input element a player of its own; values then have the input's own shape."""

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        names = _element_names(tuple(inputs.shapes.items()))
        shapes = list(inputs.shapes.values())
        layout = shapes[0] if len(shapes) == 1 else ()
        return Players.elements(names, layout=layout)


@lru_cache(maxsize=8)
def _element_names(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[str, ...]:
    """A name for every element; kept, because an image has thousands and every call needs them."""
    names: list[str] = []
    for tensor, shape in shapes:
        lead = "" if tensor == WHOLE else f"{tensor} "
        if len(shape) == 1:
            names += [f"{lead}x{index}" for index in range(shape[0])]
        else:
            names += [lead + ",".join(map(str, place)) for place in product(*map(range, shape))]
    return tuple(names)

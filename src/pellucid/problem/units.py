"""Units: the choice of what the players are, before any row was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class Words(Units):
    """Every word of an opaque row a player; rows may have different numbers of them."""

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        rows = inputs.opaque or ()
        labels = np.full((len(rows), inputs.width), -1)
        for row, words in enumerate(rows):
            labels[row, : len(words)] = np.arange(len(words))
        names = tuple(tuple(map(str, words)) for words in rows)
        return Players(labels, names, kind="word")


ENDS = (".", "!", "?", "…", "。", "！", "？")
"""What the last word of a sentence ends with."""


@dataclass(frozen=True)
class Sentences(Units):
    """Every word a player, the words of a sentence a group; the last word of one ends in one of ``ends``."""

    ends: tuple[str, ...] = ENDS

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        players = Words().make(inputs, encoding)
        levels = np.full((len(players.names), 1, players.most), -1)
        for row, words in enumerate(players.names):
            last = [word.rstrip("\"'”’)»").endswith(self.ends) for word in words]
            levels[row, 0, : len(words)] = np.cumsum([0, *last[:-1]])
        return players.in_groups(levels)


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

"""Attention maps: the weights of every attention of a network at a row, by layer and head. They are no attribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .trace import Trace


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class AttentionMaps(Trace):
    """A trace whose layers are attentions, of shape heads × asking tokens × answering tokens.

    ``e.of("blocks.0")`` are a layer's maps ``Float64[N, heads, T, S]``; each line of one sums to 1, or to 0 for a token
    that may look at none.
    """

    record: ClassVar[str] = "attention"

    def hardest(self, layer: str, row: int = 0, output: int = 0) -> tuple[int, int, int, float]:
        """The largest weight of a layer: (head, asking token, answering token, weight)."""
        found, part = self._part(layer)
        values = self.units[self.place_of(row), part, output]
        head, asking, answering = np.unravel_index(int(values.argmax()), found.shape)
        return int(head), int(asking), int(answering), float(values.max())

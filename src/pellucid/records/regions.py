"""Regions: where in each row the evidence is known to lie, told player by player."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError


@dataclass(frozen=True, eq=False)
class Regions:
    """The known region of N rows: ``inside`` ``Float64[N, n]`` is the share of each player's elements that lie in it.

    NaN where a row has fewer than n players. Raises :class:`InputError` for anything but shares.
    """

    inside: np.ndarray

    def __post_init__(self) -> None:
        inside = np.array(self.inside, dtype=np.float64)
        if inside.ndim != 2 or (inside < 0).any() or (inside > 1).any():
            raise InputError("a region is told by shares of 0 to 1 for each row and player")
        inside.setflags(write=False)
        object.__setattr__(self, "inside", inside)

    def __len__(self) -> int:
        return len(self.inside)

    def __getitem__(self, rows: np.ndarray) -> Regions:
        """The regions of some rows."""
        return Regions(self.inside[rows])

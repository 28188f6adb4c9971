"""Tables: columns as players, and the most common row as what is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.removal import TensorRemoval, path_start
from ..problem.units import Units
from ..records.errors import RemovalError
from ..records.players import Players


@dataclass(frozen=True)
class Columns(Units):
    """Each raw column a player; all input elements that an encoding makes of it move together."""

    names: tuple[str, ...] = ()

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        width = inputs.width
        if encoding is None or not hasattr(encoding, "groups"):
            names = self.names or tuple(f"x{i}" for i in range(width))
            return Players.shared(np.arange(width), names, kind="column", types=("numeric",) * width)
        labels = np.full(width, -1)
        for player, elements in enumerate(encoding.groups.values()):
            labels[list(elements)] = player
        names = tuple(encoding.groups)
        return Players.shared(labels, names, kind="column", types=tuple(encoding.types[name] for name in names))


@dataclass(frozen=True, eq=False)
class Mode(TensorRemoval):
    """Absent columns take their most common state in the background: the mean of numbers, the mode of categories."""

    rows: Any = None
    kinds: ClassVar[tuple[str, ...]] = ("table",)

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Mode:
        if self.rows is None:
            raise RemovalError("Mode needs background rows to find the most common state in", fix="Mode(rows)")
        return replace(self, rows=flatten(self.rows))

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        rows = self.rows.to(inputs.flat)
        labels = torch.from_numpy(players.labels[0].copy())
        return path_start(rows[None], labels, players.types)[:, None]

"""Tables: columns as players, and the most common row as what is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.removal import TensorRemoval, finite, matching, path_start
from ..problem.units import Units
from ..records.errors import InputError, RemovalError
from ..records.players import Players


@dataclass(frozen=True)
class Columns(Units):
    """Each raw column a player; all input elements that an encoding makes of it move together.

    A column of which the encoding makes nothing is no player.
    """

    names: tuple[str, ...] = ()

    def make(self, inputs: Inputs, encoding: Any = None) -> Players:
        width = inputs.width
        if encoding is None or not hasattr(encoding, "groups"):
            names = self.names or tuple(f"x{i}" for i in range(width))
            if len(names) != width:
                raise InputError(f"{len(names)} column names were given for rows of {width} elements")
            return Players.shared(np.arange(width), names, kind="column", types=("numeric",) * width)
        labels = np.full(width, -1)
        groups = {name: list(elements) for name, elements in encoding.groups.items() if len(elements)}
        for player, elements in enumerate(groups.values()):
            labels[elements] = player
        kinds = getattr(encoding, "types", {})
        types = tuple(kinds.get(name, "numeric" if len(own) == 1 else "categorical") for name, own in groups.items())
        return Players.shared(labels, tuple(groups), kind="column", types=types)


@dataclass(frozen=True, eq=False)
class Mode(TensorRemoval):
    """Absent columns take their most common state in the background: the mean of numbers, the mode of categories."""

    rows: Any = None
    kinds: ClassVar[tuple[str, ...]] = ("table",)

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Mode:
        if self.rows is None:
            raise RemovalError("Mode needs background rows to find the most common state in", fix="Mode(rows)")
        return replace(self, rows=finite(flatten(self.rows)))

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        rows = matching(self.rows, inputs.flat)
        labels = torch.from_numpy(players.labels[0].copy())
        return path_start(rows[None], labels, players.types)[:, None]

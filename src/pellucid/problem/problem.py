"""The problem: a model, rows, a question, the units of the answer and what "absent" means, frozen together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..records.errors import InputError, RemovalError, TargetError
from ..records.messages import Caution
from ..records.players import Players
from .inputs import Inputs
from .model import HANDLED, Model
from .removal import OpaqueRemoval, Removal, TensorRemoval
from .target import Predicted, Target


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything a method needs to know, and nothing about how it answers.

    ``kind`` is the modality (``"table"``, ``"image"``, ``"series"``, ``"tensor"``, ``"words"``); ``cautions`` are what
    the door had to decide for the user.
    """

    model: Model
    inputs: Inputs
    players: Players
    removal: Removal
    target: Target = field(default_factory=Predicted)
    kind: str = "tensor"
    cautions: tuple[Caution, ...] = ()

    def take(self, rows: Sequence[int] | np.ndarray, display: bool = True) -> Problem:
        """The same question about some of the rows; what they are shown as is left behind without ``display``."""
        rows = [int(row) for row in rows]
        inputs = self.inputs.take(rows, display)
        taken = {"inputs": inputs, "players": self.players.take(rows), "target": self.target.take(rows)}
        return replace(self, **taken)

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise InputError("there are no rows to explain")
        if self.target.rows not in (None, len(self.inputs)):
            raise TargetError(
                f"{self.target.rows} {self.target.listed} for {len(self.inputs)} rows",
                fix="give one for each row, in their order",
            )
        labelled, width = self.players.labels.shape[1], self.inputs.width
        if labelled < width or (labelled > width and self.inputs.opaque is None):
            raise InputError(f"the players label {labelled} elements, a row has {width}")
        if not self.players.is_shared and len(self.players.labels) != len(self.inputs):
            raise InputError(f"players for {len(self.players.labels)} rows, but {len(self.inputs)} rows")
        wanted = OpaqueRemoval if self.inputs.opaque is not None else TensorRemoval
        if not isinstance(self.removal, wanted):
            name = type(self.removal).__name__
            raise RemovalError(f"{name} cannot remove parts of these rows", fix=f"choose a {wanted.__name__}")
        if self.removal.kinds and self.kind not in self.removal.kinds:
            name = type(self.removal).__name__
            raise RemovalError(f"{name} is meant for {', '.join(self.removal.kinds)}, these rows are {self.kind}")
        self.inputs.refuse_non_finite(self._player_of, self.model.missing == HANDLED)

    @property
    def blank(self) -> bool:
        """Whether cells are missing, in the rows or in those that stand for the absent, and the model takes them so."""
        if self.model.missing != HANDLED:
            return False
        held = (getattr(self.removal, name, None) for name in ("rows", "value"))
        absent = (part for part in held if isinstance(part, Tensor) and part.is_floating_point())
        return self.inputs.blank or any(bool(torch.isnan(part).any()) for part in absent)

    def _player_of(self, row: int, element: int) -> str:
        """Whose an element of a row is, for messages; "" where it is nobody's or nameless."""
        owner = int(self.players.labels[0 if self.players.is_shared else row, element])
        return "" if owner < 0 or self.players.kind != "column" else self.players.of(row)[owner]

"""Folding: where a network begins with a linear layer and players own many elements, it is summed up by players.

W (b + z ∘ (x − b)) = W b + Σ_g z_g A_g with A_g = Σ_{j in g} W_j (x − b)_j: of D·H products a row n·H are left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.model import Beginning, Foldable, Model

ELEMENTS = 8
"""Elements a player owns on average, from which on folding is worth its own work."""
SHARE = 0.3
"""The least share of a row's operations that the first layer has to have."""


@dataclass(eq=False)
class Fold:
    """A first layer summed up by players: ``labels`` are ``Int[D]``, n stands for nobody's."""

    beginning: Beginning
    labels: Tensor
    n: int
    _key: tuple[Tensor, Tensor] | None = None
    _known: tuple[Tensor, Tensor] | None = None

    def hidden(self, rows: Tensor, drawn: Tensor, present: Tensor) -> Tensor:
        """The layer's values ``[g, S, b, H]`` of rows ``[g, D]`` with reference rows ``[1|g, S, D]`` for the absent.

        ``present`` is ``Float[b, n]``. What depends on the rows alone is kept for the next block of coalitions.
        """
        key = (rows, drawn)
        if self._key is None or self._known is None or not all(map(torch.equal, self._key, key)):
            self._key, self._known = key, self._summed(rows, drawn)
        constant, by_player = self._known
        return torch.matmul(present, by_player) + constant[:, :, None]

    def _summed(self, rows: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """What is always there ``[g, S, H]``, and each player's part ``[g, S, n, H]``."""
        weight = self.beginning.weight
        difference = rows[:, None] - drawn
        parts = difference.new_zeros((*difference.shape[:2], self.n + 1, len(weight)))
        for item in range(parts.shape[0]):
            for draw in range(parts.shape[1]):  # the products of all draws at once would fill the memory
                parts[item, draw].index_add_(0, self.labels, difference[item, draw, :, None] * weight.T)
        constant = drawn @ weight.T + self.beginning.bias + parts[:, :, -1]
        return constant, parts[:, :, :-1]


def fold_of(model: Model, inputs: Inputs, labels: Tensor, n: int, flops: float) -> Fold | None:
    """The fold of a model for players ``labels [D]``, or None where it saves little or the model begins otherwise."""
    if not isinstance(model, Foldable) or len(labels) < ELEMENTS * n or not inputs.flat.is_floating_point():
        return None
    two = inputs.flat[: min(len(inputs), 2)].clone()
    beginning = model.beginning(inputs.fold(two, slice(0, len(two))))
    if beginning is None or 2 * beginning.weight.numel() < SHARE * flops:
        return None
    return Fold(beginning, torch.where(labels < 0, n, labels), n)

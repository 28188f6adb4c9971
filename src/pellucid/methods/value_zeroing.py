"""Value zeroing: how much each token's layer output turns when another token's value vector is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session
from .attended import AttentionMethod, Tokens, read, rolled_out

SMALLEST = 1e-14
"""Cosine distances below it are rounding in double precision."""


@dataclass(frozen=True)
class ValueZeroing(AttentionMethod):
    """C_ij = 1 − cos(x̃_i without v_j, x̃_i), rows made to sum to 1, rolled out (Mohebbi et al. 2023, arXiv 2301.12971).

    x̃_i is what the whole layer makes of token i: attention, the way around it, norm and perceptron. So C needs no ½ I
    added. v_j is zeroed in all heads and the attention stays as it was. A token that no value vector moves has an empty
    row.
    """

    name: ClassVar[str] = "value_zeroing"
    title: ClassVar[str] = "Value zeroing (attention, not attribution)"
    source: ClassVar[str] = "Mohebbi, Zuidema, Chrupała & Alishahi 2023, arXiv 2301.12971, section 3"

    def tokens(self, session: Session) -> Tokens:
        changes = session.without_values(turned)
        sums = changes.sum(-1, keepdims=True)
        shares = np.divide(changes, sums, out=np.zeros_like(changes), where=sums > 0)
        joint = rolled_out(torch.from_numpy(shares)).numpy()
        return Tokens(read(session.attention, joint), joint)

    def cost(self, players: int) -> float:
        return super().cost(players) + players


def turned(after: Tensor, before: Tensor) -> Tensor:
    """The cosine distance of vectors ``[…, width]``, 0 where it is nothing but rounding, 1 from or to zeros."""
    lengths = after.norm(dim=-1) * before.norm(dim=-1)
    cosine = (after * before).sum(-1) / torch.where(lengths > 0, lengths, 1)
    distance = 1 - torch.where(lengths > 0, cosine, (after == before).all(-1).double())
    return torch.where(distance > SMALLEST, distance, 0)

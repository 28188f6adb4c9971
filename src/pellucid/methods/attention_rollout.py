"""Attention rollout: attention multiplied through the layers, half of each token passed on beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..engine.attending import Maps
from ..engine.session import Session
from ..records.settings import Range
from .attended import AttentionMethod, Tokens, read, rolled_out, with_residual


@dataclass(frozen=True)
class AttentionRollout(AttentionMethod):
    """Â_L ⋯ Â₁ with Â = ½ A + ½ I, A the mean over heads (Abnar & Zuidema 2020, arXiv 2005.00928, section 3).

    The row of the token that the answer reads, or the mean over several. It is the same for every class: nothing of it
    knows what the target is.
    """

    residual: Annotated[float, Range(0.0, 1.0), "share of each token that is passed on beside attention"] = 0.5

    name: ClassVar[str] = "attention_rollout"
    title: ClassVar[str] = "Attention rollout (attention, not attribution)"
    source: ClassVar[str] = "Abnar & Zuidema 2020, arXiv 2005.00928, section 3"
    known_as: ClassVar[tuple[str, ...]] = ("rollout",)

    def tokens(self, session: Session) -> Tokens:
        def fold(maps: Maps, _: Maps) -> Tensor:
            return rolled_out(with_residual(torch.stack([each.mean(1) for each in maps], dim=1), self.residual))

        joint = session.attended(fold)
        return Tokens(read(session.attention, joint), joint)

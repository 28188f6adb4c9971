"""Gradient-weighted attention: attention that the target gains from, rolled out through the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..engine.attending import Maps
from ..engine.session import Session
from .attended import AttentionMethod, Tokens, read


@dataclass(frozen=True)
class AttentionGradient(AttentionMethod):
    """R ← R + Ā R from R = I, Ā the mean over heads of (∂y/∂A ∘ A)⁺ (Chefer, Gur & Wolf 2021, arXiv 2103.15679).

    What is told is R − I, what attention added: each token's own start says nothing. Unlike rollout it knows the
    target.
    """

    name: ClassVar[str] = "attention_gradient"
    title: ClassVar[str] = "Gradient-weighted attention (attention, not attribution)"
    source: ClassVar[str] = "Chefer, Gur & Wolf 2021, arXiv 2103.15679, equations 5 and 6"
    known_as: ClassVar[tuple[str, ...]] = ("chefer", "generic_attention")

    def tokens(self, session: Session) -> Tokens:
        attention = session.attention
        own = torch.eye(attention.chain[0].asking, dtype=torch.float64, device=session.x.device)

        def fold(maps: Maps, slopes: Maps) -> Tensor:
            relevance = own
            for each, slope in zip(maps, slopes, strict=True):
                relevance = relevance + (slope * each).relu().mean(1) @ relevance
            return relevance - own

        joint = session.attended(fold, slopes=True)
        return Tokens(read(attention, joint), joint)

"""Attention maps: the weights themselves, of every layer and head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ..engine.attending import Maps, attention_of
from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..problem.model import Differentiable, Traceable
from ..records.answer import Answer
from ..records.attention import AttentionMaps as Record
from ..records.errors import NotApplicable
from ..records.messages import Caution
from ..records.settings import Range
from ..records.trace import described
from .attended import FEWEST_DRAWS, by_player, erasure
from .method import Method


@dataclass(frozen=True)
class AttentionMaps(Method):
    """A_l,h of the row: how much each token asks each other one, layer by layer and head by head; no attribution.

    The erasure test ranks tokens by the attention they receive, on average over layers, heads and asking tokens.
    """

    erased: Annotated[
        int | None, Range(1, 100_000), "tokens erased by the test, or players that hold several; none: a fifth"
    ] = None
    draws: Annotated[int, Range(FEWEST_DRAWS, 10_000), "random sets that the test compares with"] = FEWEST_DRAWS

    name: ClassVar[str] = "attention_maps"
    title: ClassVar[str] = "Attention maps (attention, not attribution)"
    source: ClassVar[str] = "Vaswani et al. 2017, arXiv 1706.03762, equation 1"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    answers: ClassVar[type[Answer]] = Record
    signed: ClassVar[bool] = False
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("attention", "raw_attention")

    def manner(self, network: Callable[[], Network]) -> None:
        """No walk; but what has no attention is refused before a row is asked."""
        _ = attention_of(network()).attentions

    def estimate(self, session: Session) -> Estimate:
        attention = session.attention
        each, tokens = attention.attentions, attention.attentions[0].answering
        units = session.attended(side_by_side)
        received = session.attended(lambda maps, _: _received(maps, tokens))
        shapes = [(one.heads, one.asking, one.answering) for one in each]
        notes = {"places": [described(one.name, "attention", shape) for one, shape in zip(each, shapes, strict=True)]}
        try:
            told, cautions = erasure(session, by_player(session, received), self.name, self.erased, self.draws)
        except NotApplicable:  # tokens that cannot be followed to the row cannot be erased
            told, cautions = {}, (Caution.of("attention_untested", "yellow", method=self.name),)
        return Estimate(units, notes={**notes, **told}, cautions=cautions)

    def cost(self, players: int) -> float:
        return 5.0 + self.draws


def side_by_side(maps: Maps, _: Maps) -> Tensor:
    """The weights of all maps, ``[b, M]``."""
    return torch.cat([each.flatten(1) for each in maps], dim=1)


def _received(maps: Maps, tokens: int) -> Tensor:
    """What each of so many tokens is given on average, ``[b, tokens]``, by the maps that speak of as many."""
    return torch.stack([each.mean((1, 2)) for each in maps if each.shape[3] == tokens]).mean(0)

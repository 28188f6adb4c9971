"""What a masked language model proposes for absent tokens: words that could stand there, given those that do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data.text_encoding import TextEncoding
from ..problem.inputs import Inputs
from ..problem.removal import Removal, TensorRemoval
from ..records.errors import RemovalError
from ..records.players import Players

AT_ONCE = 64
"""Texts that the proposing network is asked at once: it answers with a number for each word of its vocabulary."""


@dataclass(frozen=True, eq=False)
class Proposed(Removal):
    """Absent tokens are drawn, each on its own, from what a masked language model expects at their places.

    v(S) is then the mean over ``draws`` texts that keep the tokens of S and sound alike elsewhere (Kim et al. 2020,
    *Interpretation of NLP models through input marginalization*, eq. 5, by sampling). ``network`` takes the numbers of
    tokens and returns logits ``[b, T, V]``, as a masked language model of transformers does; its vocabulary must be
    the explained network's own. Its passes come on top of those that a record counts.
    """

    network: Any = field(repr=False)
    draws: int = 5
    kinds: ClassVar[tuple[str, ...]] = ("text",)

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            raise RemovalError(
                f"a {type(self.network).__name__} proposes no words", fix="give a masked language model: a torch module"
            )
        if self.network.training:
            raise RemovalError("the proposing network is in training mode", fix="network.eval()")
        if self.draws < 1:
            raise RemovalError(f"{self.draws} draws are none", fix="1 at least")

    def of_tokens(self, encoding: TextEncoding) -> TensorRemoval:
        """The same for rows of tokens. Raises :class:`RemovalError` where the vocabulary has no mask."""
        mask = None if encoding.mask is None else encoding.token(encoding.mask)
        if mask is None:
            raise RemovalError(
                "the network's tokenizer has no mask to ask proposals for", fix="use Hide() or Replace()"
            )
        return OfProposals(self, mask, encoding.pad, encoding.special, self.draws)


@dataclass(frozen=True, eq=False)
class OfProposals(TensorRemoval):
    """The removal in terms of tokens; the same draw has the same dice at a place, whoever else is absent."""

    asked: Proposed
    mask: int
    pad: int
    special: tuple[int, ...]
    draws: int
    seed: int = 0
    conditional: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("text",)

    def settings(self) -> dict[str, Any]:
        return self.asked.settings()

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> OfProposals:
        return OfProposals(self.asked, self.mask, self.pad, self.special, self.draws, seed)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        flat = inputs.flat
        nobody = torch.from_numpy(players.labels < 0).to(flat.device).expand(len(flat), -1)
        return self._proposed(flat, nobody[:, None], slice(0, self.draws))[:, 0]

    def fill(self, rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
        return self._proposed(rows, present.expand(len(rows), -1, -1), draws)

    def _proposed(self, rows: Tensor, present: Tensor, draws: slice) -> Tensor:
        """Rows ``[g, D]`` with only what is ``present`` ``Bool[g, c, D]``, the rest drawn: ``[g, c, s, D]``."""
        own = rows[:, None].expand(present.shape)
        asked = torch.where(present, own, self.mask).flatten(0, 1)
        numbers = range(*draws.indices(self.draws))
        found = torch.empty((len(asked), len(numbers), rows.shape[1]), dtype=rows.dtype, device=rows.device)
        for start in range(0, len(asked), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            logits = self._logits(asked[part])
            for place, number in enumerate(numbers):
                found[part, place] = (logits + self._dice(number, logits)).argmax(-1).to(rows.dtype)
        filled = found.reshape(*present.shape[:2], len(numbers), -1)
        return torch.where(present[:, :, None], own[:, :, None], filled)

    def _logits(self, tokens: Tensor) -> Tensor:
        there = tokens >= 0
        ids = torch.where(there, tokens, self.pad)
        with torch.no_grad():
            found = self.asked.network(ids, attention_mask=there.to(torch.int64))
        logits = (found if isinstance(found, Tensor) else found.logits).float()
        if logits.shape[:2] != tokens.shape:
            raise RemovalError(f"the proposing network answers {tuple(logits.shape)} to {tuple(tokens.shape)} tokens")
        if self.special:
            logits[..., list(self.special)] = -torch.inf
        return logits

    def _dice(self, number: int, like: Tensor) -> Tensor:
        """Gumbel noise ``[T, V]``, with which the largest is a draw from the softmax (Gumbel 1954)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        even = torch.rand(like.shape[1:], generator=generator).clamp(min=1e-20)
        return -torch.log(-torch.log(even)).to(like)

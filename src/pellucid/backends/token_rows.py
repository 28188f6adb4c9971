"""Rows of tokens: closed up where some were deleted, asked in groups of like length, and by the names of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..data.text_encoding import HIDDEN, NOTHING
from ..problem.differing import fills_up

TOKENS, TYPES = "tokens", "types"
IDS = ("input_ids", "ids", "tokens", "x", "input", "inputs", "text", "src")
PRESENT = ("attention_mask", "mask")
"""Not ``input_mask``, which marks the words in some networks and what fills up in others."""
ABSENT = ("src_key_padding_mask", "key_padding_mask", "padding_mask")
LENGTHS = "lengths"
TOLD_TYPES = ("token_type_ids", "segment_ids")
HIDING = (*PRESENT, *ABSENT)
TELLING = (*HIDING, LENGTHS)
"""Names of inputs by which a network is told which tokens are there, and of those which it may look at."""
SHORTER, FEWEST = 0.8, 8
"""Rows are asked apart where at least so many are shorter than this share of the longest."""
FILLED = 3
"""Places by which a row is filled up to see what a network makes of that."""
Ask = Callable[[Mapping[str, Tensor]], Tensor]
"""Rows of tokens, and what goes with them, to outputs ``Float[b, K]``."""


def by_names(names: Sequence[str], tokens: Tensor, types: Tensor | None) -> dict[str, Tensor]:
    """What those inputs are given that tell of the tokens ``Int[b, T]``, beside their numbers."""
    there, made = tokens >= 0, {}
    for name in names:
        if name in PRESENT:
            made[name] = there.to(torch.int64)
        elif name in ABSENT:
            made[name] = ~there
        elif name == LENGTHS:
            made[name] = (tokens != NOTHING).sum(1)
        elif name in TOLD_TYPES and types is not None:
            made[name] = types.clamp(min=0)
    return made


def in_groups(rows: Mapping[str, Tensor], fills: Callable[[Mapping[str, Tensor]], bool], ask: Ask) -> Tensor:
    """The outputs of rows that are closed up, asked in groups so that little is spent on filling them up.

    The groups are of one length where ``fills`` says that a network takes what fills a row up for words of it.
    """
    lengths = (rows[TOKENS] != NOTHING).sum(1).cpu()  # looked at several times: an accelerator is waited for once
    alike = bool((lengths == lengths[:1]).all())
    groups = of_like_length(lengths) if alike or fills(rows) else of_one_length(lengths)
    if len(groups) == 1:
        return ask(shortened(rows, lengths))
    order = torch.cat(groups)
    parts = [ask(shortened({n: t[g] for n, t in rows.items()}, lengths[g])) for g in groups]
    return torch.cat(parts)[torch.argsort(order)]


def tried(rows: Mapping[str, Tensor], ask: Ask, token: int = NOTHING) -> bool:
    """Whether the first of ``rows`` is answered as it is alone with a few places more behind it, at which there is
    nothing, or this ``token``; True where that cannot be told."""
    first = {name: tensor[:1] for name, tensor in rows.items()}
    alone = shortened(first, (first[TOKENS] != NOTHING).sum(1))
    return fills_up(ask, alone, filled(alone, FILLED, token)) is not False


def filled(rows: Mapping[str, Tensor], count: int, token: int = NOTHING) -> dict[str, Tensor]:
    """The same rows with so many places more behind them, at which there is nothing, or this ``token``."""
    made = dict(rows)
    for name, value in ((TOKENS, token), (TYPES, NOTHING)):
        if name in rows:
            behind = torch.full_like(rows[name][:, :1].expand(-1, count), value)
            made[name] = torch.cat([rows[name], behind], 1)
    return made


def closed_up(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rows without the gaps that deleted tokens left; places in ``focus`` move along with their tokens.

    A row without any token keeps one, hidden: a network cannot be given nothing.
    """
    tokens = rows[TOKENS]
    here = tokens != NOTHING
    found = dict(rows)
    gaps, empty = here[:, 1:] & ~here[:, :-1], ~here.any(1)
    has_gaps, has_empty = torch.stack([gaps.any(), empty.any()]).tolist()
    if has_gaps:
        order = torch.argsort((~here).to(torch.int8), dim=1, stable=True)
        for name in (TOKENS, TYPES):
            if name in rows:
                found[name] = rows[name].gather(1, order)
        if "focus" in rows:
            moved = here.cumsum(1).gather(1, rows["focus"].clamp(min=0)) - 1
            found["focus"] = torch.where(rows["focus"] >= 0, moved, rows["focus"])
    if has_empty:
        found[TOKENS] = found[TOKENS].clone()
        found[TOKENS][empty, 0] = HIDDEN
    return found


def of_like_length(lengths: Tensor) -> list[Tensor]:
    """Rows ``Int[b]`` in groups that are worth asking apart: the longest first, the order within one as it was."""
    ordered, order = torch.sort(lengths, descending=True, stable=True)
    told = ordered.tolist()
    groups, start = [], 0
    for place, length in enumerate(told):
        if length < SHORTER * told[start] and place - start >= FEWEST and len(told) - place >= FEWEST:
            groups.append(order[start:place])
            start = place
    return [*groups, order[start:]] if groups else [torch.arange(len(told), device=lengths.device)]


def of_one_length(lengths: Tensor) -> list[Tensor]:
    """Rows ``Int[b]`` in groups of exactly one length."""
    found = [torch.nonzero(lengths == length)[:, 0] for length in lengths.unique()]
    return found or [torch.arange(0, device=lengths.device)]


def shortened(rows: Mapping[str, Tensor], lengths: Tensor) -> dict[str, Tensor]:
    """Rows only as long as the longest of them."""
    longest = max(int(lengths.max()), 1)
    return {name: tensor[:, :longest] if name in (TOKENS, TYPES) else tensor for name, tensor in rows.items()}

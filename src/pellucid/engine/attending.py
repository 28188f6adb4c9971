"""Seeing attention: the maps of a network's attentions, gradients with respect to them, and values taken out of them.

Attention is found in the graph of the network's operations (:mod:`pellucid.operations.attention`), so that it does not
matter how it was written. Tokens are tied to the row by what they feel: an element belongs to the token whose values in
the first attention feel it most, and the answer reads the tokens behind the last attention that it feels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.fx import GraphModule, Node

from ..operations.attention import (
    Attention,
    Section,
    attentions,
    felt,
    leading,
    pattern,
    probes,
    section,
    showing,
)  # fmt: skip
from ..records.errors import NotApplicable
from .inside import Inside
from .walking import Network, Walker

Maps = Sequence[Tensor]
"""The maps of all attentions, or gradients with respect to them, ``[b, heads, T, S]`` each."""
AT_ONCE = 2**22
"""Numbers of one kind held at once while tokens are tried one by one."""
UNFELT = 1e-6
"""The share of the largest gradient below which something is not felt."""


@dataclass(eq=False)
class Attended:
    """What the attention of a network was found to be; what is not asked for is not worked out."""

    network: Network

    @cached_property
    def attentions(self) -> tuple[Attention, ...]:
        """In the order of computation. Raises :class:`NotApplicable` where there are none."""
        return attentions(self.network.graph, self.network.rows)

    @cached_property
    def chain(self) -> tuple[Attention, ...]:
        """The attentions where they follow each other over the same tokens; raises :class:`NotApplicable` else."""
        first = self.attentions[0]
        for each in self.attentions:
            if not first.asking == each.asking == each.answering:
                raise NotApplicable(
                    "the attentions of this network are not all among the same tokens",
                    where=each.name,
                    why=f"{each.asking} tokens ask {each.answering} there, and {first.asking} ask in {first.name}",
                    fix="attention_maps shows each by itself",
                )
        for one, other in pairwise(self.attentions):
            if one.product not in leading(other.weights) | leading(other.values):
                raise NotApplicable(
                    "the attentions of this network do not follow one another",
                    where=f"{one.name} and {other.name}",
                    why="the second does not see what the first made",
                    fix="attention_maps shows each by itself",
                )
        return self.attentions

    @cached_property
    def owner(self) -> np.ndarray:
        """``Int[D]``: the token that each element of a row enters by, −1 for one that no token feels.

        Raises :class:`NotApplicable` for attention within windows, whose tokens stand for another place in each.
        """
        first = self.attentions[0]
        graph = showing(self.network.graph, [first.values])
        share, alone = torch.zeros(0), torch.zeros(0)
        for row in probes(self.network.rows):
            with torch.enable_grad():
                leaves = [part.clone().requires_grad_(part.is_floating_point()) for part in row]
                found = graph(*leaves)[0]
            floats = [leaf for leaf in leaves if leaf.requires_grad]
            each, of_one = _by_token(first, found, floats)
            share = each if not share.numel() else share + each
            alone = of_one if not alone.numel() else alone + of_one
        known = share.max(0).values > UNFELT * share.max()
        if first.heads > 1 and int((alone > UNFELT * alone.max()).sum()) < 0.9 * int(known.sum()):
            raise NotApplicable(
                "the tokens of this network cannot be followed to the row",
                where=first.name,
                why="attention is within windows there: a token stands for another place in each of them",
                fix="attention_maps shows the maps; occlusion and integrated_gradients explain such networks",
            )
        return torch.where(known, share.argmax(0), -1).cpu().numpy()

    @cached_property
    def readers(self) -> np.ndarray:
        """``Bool[T]``: the tokens behind the last attention that the outputs feel: the class token, or all of them."""
        last, output = self.attentions[-1], list(self.network.graph.graph.nodes)[-1].args[0]
        assert isinstance(output, Node)
        graph = showing(self.network.graph, [output], [last.product])
        total = torch.zeros(last.asking)
        for row in probes(self.network.rows, 4):
            with torch.enable_grad():
                added = row[0].new_zeros(last.made, dtype=_float_of(row)).requires_grad_()
                found = graph(*row, added)[0]
            (slope,) = felt(found, [added], pattern(found)[None])
            total += last.asking_last(slope[0]).abs().reshape(-1, last.asking).sum(0).nan_to_num(0).cpu()
        return (total > UNFELT * total.max()).numpy()

    @cached_property
    def showing(self) -> GraphModule:
        """Rows and what is added to each map → outputs, and the nodes of the maps."""
        output, weights = list(self.network.graph.graph.nodes)[-1].args[0], [each.weights for each in self.attentions]
        assert isinstance(output, Node)
        return showing(self.network.graph, [output, *weights], weights)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """What lies behind each attention of the chain, up to the next. Raises :class:`NotApplicable`."""
        row = tuple(tensor[:1] for tensor in self.network.rows)
        pairs = zip(self.chain, [*self.chain[1:], None], strict=True)
        return tuple(section(self.network.graph, one, following, row) for one, following in pairs)


def _float_of(row: Sequence[Tensor]) -> torch.dtype:
    return next(part.dtype for part in row if part.is_floating_point())


def _by_token(first: Attention, found: Tensor, floats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """|gradient| of each token's values with respect to the elements ``[S, D]``; of all tokens in one head ``[D]``."""
    axis = found.ndim - (2 if first.leads else 1)
    marks, S, D = pattern(found), first.answering, sum(leaf.numel() for leaf in floats)
    one_each = torch.eye(S, dtype=marks.dtype, device=marks.device)
    one_each = one_each.reshape(S, *[S if place == axis else 1 for place in range(found.ndim)])
    step = max(1, AT_ONCE // max(D, found.numel()))
    parts = [_flat(felt(found, floats, marks * some)) for some in one_each.split(step)]
    one_head = marks.clone()
    if found.ndim == 3:
        one_head[1:] = 0
    return torch.cat(parts), _flat(felt(found, floats, one_head[None]))[0]


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], 1).abs().double().nan_to_num(0)


_FOUND: WeakKeyDictionary[Network, Attended] = WeakKeyDictionary()


def attention_of(network: Network) -> Attended:
    """A network's attention. What it is asked for raises :class:`NotApplicable` where there is none."""
    if network not in _FOUND:
        _FOUND[network] = Attended(network)
    return _FOUND[network]


class Attending(Inside, Walker):
    """What a session can ask of a network with attention."""

    @property
    def attention(self) -> Attended:
        """The network's attention. What it is asked for raises :class:`NotApplicable` where there is none."""
        return attention_of(self.network)

    def attended(self, fold: Callable[[Maps, Maps], Tensor], *, slopes: bool = False) -> np.ndarray:
        """What ``fold`` makes of the maps, and with ``slopes`` of the target's gradients there, ``Float64[Q, …]``.

        Without them it gets none, and what it makes is the same for all targets. Raises :class:`NotApplicable` for a
        network without attention.
        """
        found, parts = self.attention, {}
        each = found.attentions

        def work(part: slice) -> None:
            items = torch.arange(part.start, part.stop)
            rows = [tensor.unsqueeze(1) for tensor in self.inputs.fold(self.x[part], items).values()]
            added = [rows[0].new_zeros((len(items), *one.shape), dtype=_float_of(rows)) for one in each]
            with torch.set_grad_enabled(slopes):
                outputs, *weights = vmap(found.showing)(*rows, *[one.requires_grad_(slopes) for one in added])
                maps = _maps(each, [value.detach() for value in weights])
                asked = self._select(outputs.squeeze(1), items).sum(0) if slopes else ()
            made = (
                [fold(maps, _maps(each, self._slopes_of(one, added))) for one in asked] if slopes else [fold(maps, ())]
            )
            self._caller.counted(len(items))
            parts[part.start] = torch.stack(made if slopes else made * self.targets, dim=1)

        self.spent.add(*((0, self.targets) if slopes else (1, 0)))
        self._each_block((len(self),), work)
        return self._finite(
            torch.cat([parts[start] for start in sorted(parts)]).flatten(0, 1), torch.arange(self.questions)
        )

    def _slopes_of(self, total: Tensor, added: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of a sum over rows; zeros with respect to a map that it does not feel."""
        self._caller.tally.gradients += len(added[0])
        found = torch.autograd.grad(total, added, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(one) if slope is None else slope for one, slope in zip(added, found, strict=True)]

    def without_values(self, change: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """How each layer's tokens change when the value of one token is zeroed in all heads, ``Float64[Q, L, T, T]``.

        ``change`` compares what the tokens are then with what they were, ``[b, c, T, width]`` and ``[b, 1, T, width]``
        to ``[b, c, T]``, in double precision; entry (l, i, j) is what it finds of token i without the value of token j.
        A layer reaches from its attention to the last node that all of it passes through before the next one. Raises
        :class:`NotApplicable` where attentions do not follow one another over the same tokens.
        """
        sections = self.attention.sections
        needed = list(dict.fromkeys(node for each in sections for node in each.given))
        graph, parts = showing(self.network.graph, needed), {}

        def work(part: slice) -> None:
            items = torch.arange(part.start, part.stop)
            rows = [tensor.unsqueeze(1) for tensor in self.inputs.fold(self.x[part], items).values()]
            with torch.no_grad():
                known = dict(zip(needed, map(_double, vmap(graph)(*rows)), strict=True))
                found = torch.stack([_zeroed(each, known, change) for each in sections], dim=1)
            self._caller.counted(len(items))
            parts[part.start] = found

        self.spent.add(self.attention.chain[0].answering + 1)
        self._each_block((len(self),), work)
        found = torch.cat([parts[start] for start in sorted(parts)]).repeat_interleave(self.targets, dim=0)
        return self._finite(found, torch.arange(self.questions))


def _maps(each: Sequence[Attention], weights: Sequence[Tensor]) -> list[Tensor]:
    return [one.maps(value).double() for one, value in zip(each, weights, strict=True)]


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _zeroed(part: Section, known: Mapping[Node, Tensor], change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``[b, T, S]``: what ``change`` finds of each token when the value of one is zeroed, some tokens at a time."""
    one, given = part.attention, [known[node] for node in part.given]
    place, S = part.given.index(one.values), one.answering
    before = vmap(part.tokens)(vmap(part.run)(*given))
    run = vmap(vmap(part.run, in_dims=tuple(0 if p == place else None for p in range(len(given)))))
    keep = 1 - torch.eye(S, dtype=torch.float64, device=before.device)
    found = []
    for some in keep.split(max(1, AT_ONCE // before.numel())):
        kept = one.tokens_last(given[place]).unsqueeze(1) * some.reshape(
            1, len(some), *[1] * (given[place].ndim - 2), S
        )
        given[place], whole = one.tokens_last(kept), given[place]
        after = vmap(vmap(part.tokens))(run(*given))
        given[place] = whole
        found.append(change(after, before.unsqueeze(1)))
    return torch.cat(found, 1).mT

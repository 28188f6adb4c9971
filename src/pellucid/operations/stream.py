"""A walk followed in parts: how much of what each unit of a layer passes on came through which unit of a layer before.

A walk is linear in what is carried. So it can be cut at a station into the parts of some units, of all others, and of
what passes beside, and each part be carried on by itself: their sum is the whole walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap
from torch.fx import Node

from .plan import Plan, Step, Values
from .rules import Rules
from .stations import Station
from .walk import add

Carried = dict[Node, Tensor]
"""Multipliers on their way, by node, ``[P, …]`` of P parts. The last part is the chain."""


@dataclass(frozen=True, eq=False)
class Passage:
    """What passes at one station, for one row and one output.

    ``through`` its units ``[U]``, and ``besides`` them; ``still`` are the units that do not differ from the
    reference, ``blocked`` those that do and pass nothing on.

    Of a station where the walk was cut: the ``chosen`` units; the ``flows`` ``[from, to]`` from the parts of the
    station behind it to its own (chosen units, the rest, besides); the ``chain``'s place among the chosen ones (None:
    besides), and what is ``carried`` through all of the chain from the output down to here.
    """

    through: Tensor
    besides: float
    still: float
    blocked: float
    chosen: tuple[int, ...] = ()
    flows: Tensor | None = None
    chain: int | None = None
    carried: float = float("nan")

    @property
    def link(self) -> int:
        """The place of the chain among the parts that go on from here."""
        return len(self.chosen) + 1 if self.chain is None else self.chain


@dataclass(eq=False)
class Stream:
    """One row's walk from the output to the inputs, cut at some of its stations."""

    plan: Plan
    rules: Rules
    at: Values
    ref: Values
    stations: Sequence[Station]
    cuts: frozenset[int]
    keep: int
    _link: int = 0

    def run(self, m: Tensor) -> tuple[list[Passage], Tensor]:
        """The passages from the first station to the last, and what passes through the inputs' elements ``[P, D]``.

        ``m`` are the multipliers of the output. The parts ``P`` are those of the first cut, the chain the last of them.
        """
        sign = -1.0 if float((m * self._change(self.plan.output, m)).sum()) < 0 else 1.0
        carried: Carried = {self.plan.output: torch.stack([m, m])}
        self._link = 0
        places = {station.node: place for place, station in enumerate(self.stations)}
        found: dict[int, Passage] = {}
        for step in reversed(self.plan.steps):
            if step.node not in carried:
                continue
            if step.node in places:
                place = places[step.node]
                found[place], carried = self._passed(place, carried, sign)
            self._step(step, carried)
        parts = len(next(iter(carried.values())))
        ends = [self._elements(carried, node, parts) for node in self.plan.inputs if node in self.plan.active]
        return [found[place] for place in sorted(found)], torch.cat(ends, 1)

    def _step(self, step: Step, carried: Carried) -> None:
        own = carried.pop(step.node)
        rule = self.rules[step.kind]
        add(carried, step, self.at, vmap(lambda m: rule(step, self.at, self.ref, m))(own))

    def _change(self, node: Node, like: Tensor) -> Tensor:
        return self.at[node].to(like.dtype) - self.ref[node].to(like.dtype)

    def _elements(self, carried: Mapping[Node, Tensor], node: Node, parts: int) -> Tensor:
        """What passes through the elements of an input, ``Float64[P, D]``."""
        change = self.at[node].double() - self.ref[node].double()
        return (carried[node].double() * change if node in carried else change.new_zeros(parts, *change.shape)).flatten(
            1
        )

    def _passed(self, place: int, carried: Carried, sign: float) -> tuple[Passage, Carried]:
        station, own = self.stations[place], carried[self.stations[place].node]
        change = self._change(station.node, own)
        parts = station.by_unit(own * change)
        beside = torch.stack([
            (other * self._change(node, other)).double().flatten(1).sum(1)
            for node, other in carried.items() if node is not station.node
        ]).sum(0) if len(carried) > 1 else parts.new_zeros(len(parts))  # fmt: skip
        through = parts[:-1].sum(0)
        moved = station.by_unit((change != 0).to(own.dtype)[None])[0] > 0
        passing = station.by_unit(((own[:-1].sum(0) * change) != 0).to(own.dtype)[None])[0] > 0
        told = {
            "through": through, "besides": float(beside[:-1].sum()),
            "still": float((~moved).double().mean()), "blocked": float((moved & ~passing).double().mean()),
        }  # fmt: skip
        if place not in self.cuts:
            return Passage(**told), carried
        chain = strongest(parts[self._link], float(beside[self._link]), sign)
        chosen = select(through, self.keep, chain)
        flows = torch.cat([
            parts[:-1, chosen],
            (parts[:-1].sum(1) - parts[:-1, chosen].sum(1))[:, None],
            beside[:-1, None],
        ], 1)  # fmt: skip
        carries = float(beside[-1]) if chain is None else float(parts[-1, chain])
        link = None if chain is None else chosen.index(chain)
        passage = Passage(**told, chosen=tuple(chosen), flows=flows, chain=link, carried=carries)
        self._link = passage.link
        return passage, self._cut(station, carried, chosen, chain)

    def _cut(self, station: Station, carried: Carried, chosen: list[int], chain: int | None) -> Carried:
        """The parts of the chosen units, of the rest, of what passes besides, and of the chain."""
        count, cut = len(chosen), {}
        for node, parts in carried.items():
            whole, last = parts[:-1].sum(0), parts[-1]
            blank = torch.zeros_like(whole)[None]
            if node is station.node:
                masks = station.masks(chosen, whole)
                units = masks * whole
                kept = blank if chain is None else (station.masks([chain], whole) * last)
                cut[node] = torch.cat([units, (whole - units.sum(0))[None], blank, kept])
            else:
                kept = last[None] if chain is None else blank
                cut[node] = torch.cat([blank.expand(count + 1, *whole.shape), whole[None], kept])
        return cut


def strongest(parts: Tensor, besides: float, sign: float) -> int | None:
    """The unit by which most of something passes in the direction of the change; None where most passes besides."""
    unit = int(torch.argmax(sign * parts))
    return None if sign * besides > max(sign * float(parts[unit]), 0.0) else unit


def select(values: Tensor, count: int, chain: int | None) -> list[int]:
    """The places of the ``count`` largest |values|, the chain's among them, the largest first."""
    order = torch.argsort(-values.abs(), stable=True)[:count].tolist()
    return order if chain is None or chain in order else [*order[:-1], chain]

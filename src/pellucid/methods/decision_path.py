"""The path of a decision: what passes through every layer and unit, and the chain of units that carries most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..engine.engine import gap_cautions
from ..engine.estimate import Estimate
from ..engine.session import Session
from ..operations.manner import RESCALED
from ..operations.plan import Plan, Values
from ..operations.rules import Rules
from ..operations.stations import Station, stations
from ..operations.stream import Passage, Stream, select, strongest
from ..problem.model import Differentiable, Traceable
from ..records.answer import Answer
from ..records.errors import NotApplicable, UnknownName
from ..records.flow import Flow
from ..records.settings import Range
from ..records.trace import described
from .method import Method

SIDE = 24
"""Cells along a side of a kept feature map."""


@dataclass(frozen=True)
class _Followed:
    """One question's walk: what passed where."""

    stations: tuple[Station, ...]
    cuts: tuple[int, ...]
    passages: list[Passage]
    elements: Tensor
    maps: dict[tuple[int, int], Tensor]


@dataclass(frozen=True)
class DecisionPath(Method):
    """What of f(x) − f(x′) passes through each unit of each layer, by DeepLIFT's multipliers, and from unit to unit.

    At every layer Σ over units of m·Δ, and what passes besides, add up to the change. Between some layers the flow is
    followed: the multipliers of one unit alone are carried on to the next layer, which tells how much of what the unit
    passes on came through each unit there. The walk is linear in what it carries, so these parts add up exactly, and
    all of them are one walk with a few multipliers for each number. The chain begins at the output and goes on through
    the unit by which most of what its last unit passes on came.
    """

    layers: Annotated[tuple[str, ...] | None, "the layers to follow the flow between; none: at most `most` of them"] = (
        None
    )
    keep: Annotated[int, Range(1, 20), "units of a layer that are followed one by one, the strongest"] = 4
    most: Annotated[int, Range(1, 100), "layers between which the flow is followed where none are named"] = 6
    tokens: Annotated[bool, "of a sequence each token is a unit; without, each feature"] = True

    name: ClassVar[str] = "decision_path"
    title: ClassVar[str] = "Decision path"
    source: ClassVar[str] = "multipliers of Shrikumar, Greenside & Kundaje 2017, arXiv 1704.02685, section 3.2"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    promises: ClassVar[tuple[str, ...]] = ("completeness", "null_player", "symmetry")
    answers: ClassVar[type[Answer]] = Flow
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        found = session.followed(RESCALED, session.start, self._follow)
        base, full = session.start_values, session.full
        pooled = [
            session.pool(one.elements.cpu().numpy(), questions=[question] * len(one.elements))
            for question, one in enumerate(found)
        ]
        sign = np.where(full < base, -1.0, 1.0)
        told = [self._arrays(one, parts, side) for one, parts, side in zip(found, pooled, sign, strict=True)]
        arrays = {name: np.array([each[name] for each in told]) for name in told[0]}
        if np.isnan(arrays["maps"]).all():
            del arrays["maps"]
        arrays["gaps"] = _gaps(found, full - base)
        one = found[0]
        notes = {"places": [self._place(session, each) for each in one.stations], "cuts": list(one.cuts)}
        values = np.array([parts[:-1].sum(0) for parts in pooled])
        cautions = tuple(gap_cautions(self.name, arrays["gaps"].reshape(len(session), -1)))
        return Estimate(values, base=base, arrays=arrays, notes=notes, cautions=cautions)

    def _place(self, session: Session, station: Station) -> dict[str, Any]:
        kind = described(station.layer, session.layer_kind(station.layer), (station.units,))
        return {**kind, "unit": station.unit}

    def _follow(self, plan: Plan, rules: Rules, at: Values, ref: Values, m: Tensor) -> _Followed:
        known = stations(plan, at, self.tokens)
        cuts = self._cuts(known)
        passages, elements = Stream(plan, rules, at, ref, known, frozenset(cuts), self.keep).run(m)
        maps = {
            (place, unit): _small(known[cut].map_of(at[known[cut].node], unit))
            for place, cut in enumerate(cuts) if known[cut].maps
            for unit in passages[cut].chosen
        }  # fmt: skip
        return _Followed(known, cuts, passages, elements, maps)

    def _cuts(self, known: tuple[Station, ...]) -> tuple[int, ...]:
        """The places of the layers to follow the flow between, evenly spread: those that all passes before others.

        Of a layer and the activation after it only the latter.
        """
        if not known:
            raise NotApplicable(
                "there are no layers to tell apart",
                why="the network calls no inner module, or was exported or scripted without their names",
                fix="deeplift tells the inputs' contributions",
            )
        if self.layers is not None:
            names = [station.layer for station in known]
            for name in self.layers:
                if name not in names:
                    raise UnknownName.among("layer", name, names)
            return tuple(sorted({names.index(name) for name in self.layers}))
        if len(known) <= self.most:
            return tuple(range(len(known)))
        own = [place for place, station in enumerate(known) if not station.echoed]
        chosen = _spread([place for place in own if known[place].whole], self.most)
        return tuple(sorted(chosen + _spread([place for place in own if place not in chosen], self.most - len(chosen))))

    def _arrays(self, one: _Followed, pooled: np.ndarray, sign: float) -> dict[str, np.ndarray]:
        """One question's arrays; ``pooled`` are the players' ``[P, n]`` by the parts of the first cut and the chain."""
        k, S = self.keep, len(one.cuts)
        chosen, flows = np.full((S + 1, k), np.nan), np.full((S + 1, k + 2, k + 2), np.nan)
        chain, carried = np.full(S + 1, np.nan), np.full(S + 1, np.nan)
        maps = np.full((S, k, SIDE, SIDE), np.nan)
        through, whole = torch.from_numpy(pooled[:-1].sum(0)), one.elements.double().cpu().numpy().sum(1)
        on = one.passages[one.cuts[0]].link
        unit = strongest(torch.from_numpy(pooled[on]), float(whole[on] - pooled[on].sum()), sign)
        ends = select(through, k, unit)
        into = np.concatenate([pooled[:-1, ends], (whole - pooled[:, ends].sum(1))[:-1, None]], 1)
        cuts = [(tuple(ends), np.concatenate([into, np.zeros((len(into), 1))], 1), unit)]
        for cut in one.cuts:
            passage = one.passages[cut]
            assert passage.flows is not None
            own = None if passage.chain is None else passage.chosen[passage.chain]
            cuts.append((passage.chosen, passage.flows.cpu().numpy(), own))
        for place, (units, table, on) in enumerate(cuts):
            chosen[place, : len(units)] = units
            flows[place][_parts(len(units), k)[:, None], _parts(len(table) - 2, k) if place < S else [0]] = table.T
            if on is not None:
                chain[place] = units.index(on)
        carried[0] = 0 if unit is None else pooled[-1][unit]
        carried[1:] = [one.passages[cut].carried for cut in one.cuts]
        for (place, channel), picture in one.maps.items():
            maps[place, list(one.passages[one.cuts[place]].chosen).index(channel)] = picture.cpu().numpy()
        passages = one.passages
        return {
            "units": np.concatenate([passage.through.cpu().numpy() for passage in passages]),
            "besides": np.array([passage.besides for passage in passages]),
            "lost": np.array([(passage.still, passage.blocked, _cancelled(passage.through)) for passage in passages]),
            "chosen": chosen, "flows": flows, "chain": chain, "carried": carried, "maps": maps,
        }  # fmt: skip

    def cost(self, players: int) -> float:
        return 3.0 + self.keep


def _spread(places: list[int], count: int) -> list[int]:
    """So many of some places, evenly spread, both ends among them."""
    if len(places) <= count:
        return places
    return sorted({places[int(i)] for i in np.linspace(len(places) - 1, 0, count).round()})


def _parts(units: int, keep: int) -> np.ndarray:
    """The places of so many units, of the rest and of what passes besides, where room was left for ``keep``."""
    return np.array([*range(units), keep, keep + 1])


def _small(picture: Tensor) -> Tensor:
    """A feature map in few cells."""
    return interpolate(picture[None, None].float(), (SIDE, SIDE), mode="area")[0, 0].double()


def _cancelled(through: Tensor) -> float:
    """How much of what passes through a layer's units cancels out: 0 where all of it has one sign."""
    total = float(through.abs().sum())
    return 1 - abs(float(through.sum())) / total if total else float("nan")


def _gaps(found: list[_Followed], change: np.ndarray) -> np.ndarray:
    """The gap at the inputs and at each layer, ``Float64[Q, L + 1]``."""
    gaps = []
    for one, due in zip(found, change, strict=True):
        ends = one.elements[:-1].double().sum(0)
        sums = [(float(ends.sum()), float(ends.abs().sum()))]
        sums += [
            (float(p.through.sum()) + p.besides, float(p.through.abs().sum()) + abs(p.besides)) for p in one.passages
        ]
        gaps.append([abs(total - due) / max(size, abs(due)) if size or due else 0.0 for total, size in sums])
    return np.array(gaps)

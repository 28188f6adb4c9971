"""Stations: where a walk can be looked at on its way back, the result of each layer, and what a unit of it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from .kinds import RESHAPING, name_of
from .plan import Plan, Step, Values
from .trace import layer_of

CHANNELS_FIRST = frozenset((
    "convolution", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle",
))  # fmt: skip
CHANNELS_LAST = frozenset(("addmm", "mm", "embedding"))
"""Operations that tell where the channels of their result lie."""


@dataclass(frozen=True, eq=False)
class Station:
    """The result of one layer.

    Units differ along ``axis`` of the node's tensor; ``sequence`` says whether it holds a vector for each token,
    ``maps`` whether each unit is a picture. ``whole``: everything that further down passes on to the output passes
    here. ``echoed``: the station after it is a function of each of its numbers by itself.
    """

    layer: str
    node: Node
    shape: tuple[int, ...]
    axis: int
    sequence: bool
    maps: bool
    whole: bool
    echoed: bool

    @property
    def units(self) -> int:
        return self.shape[self.axis]

    @property
    def unit(self) -> str:
        """What a unit is: a ``"channel"``, a ``"token"``, or a ``"feature"``."""
        row = _of_row(self.shape)
        if len(row) < 2:
            return "feature"
        return "channel" if not self.sequence else "token" if self.axis == row[0] else "feature"

    def by_unit(self, values: Tensor) -> Tensor:
        """Values like the node's, ``[P, *shape]``, summed up by units: ``Float64[P, units]``."""
        return values.movedim(self.axis + 1, 1).flatten(2).double().sum(2) if values.ndim > 2 else values.double()

    def masks(self, kept: Sequence[int], like: Tensor) -> Tensor:
        """For each of some units 1 where it stands and 0 elsewhere, ``[len(kept), …]``, to be multiplied with."""
        shape = [self.units if axis == self.axis else 1 for axis in range(len(self.shape))]
        return torch.eye(self.units, dtype=like.dtype, device=like.device)[list(kept)].reshape(len(kept), *shape)

    def map_of(self, value: Tensor, unit: int) -> Tensor:
        """A unit's picture, ``[h, w]``, out of the node's value."""
        return value.select(self.axis, unit).squeeze(0)


def stations(plan: Plan, values: Values, tokens: bool) -> tuple[Station, ...]:
    """The layers of a plan from the first to the last, each looked at where it ends; ``values`` are those of a row.

    A unit is a feature of a vector or a channel of maps; of a sequence it is a token, with ``tokens=False`` a feature.
    Layers that only reshape are left out.
    """
    last: dict[str, Step] = {}
    axes: dict[Node, tuple[int, bool]] = {}
    known: dict[tuple[int, ...], int] = {}
    for step in plan.steps:
        layer, told = layer_of(step.node), _told(step)
        if not layer or (layer not in last and name_of(step.node) in RESHAPING):
            continue
        last[layer] = step
        row = _of_row(tuple(values[step.node].shape))
        sizes = tuple(values[step.node].shape[axis] for axis in row)
        if told is not None:
            known[sizes] = told
        axes[step.node] = _axis(row, known.get(sizes, -1 if len(sizes) == 2 else 0), tokens)
    open_at, found = dict(_open(plan)), []
    echoed = {step.sources[0] for step in last.values() if step.kind in ("rectifier", "elementwise")}
    for layer, step in sorted(last.items(), key=lambda each: plan.steps.index(each[1])):
        if step.node in open_at:
            shape, node = tuple(values[step.node].shape), step.node
            maps = len(_of_row(shape)) == 3
            found.append(Station(layer, node, shape, *axes[node], maps, open_at[node], node in echoed))
    return tuple(found)


def _told(step: Step) -> int | None:
    """Where a step says that its channels lie, counted within a row."""
    names = {name_of(node) for node in step.region}
    return 0 if names & CHANNELS_FIRST else -1 if names & CHANNELS_LAST else None


def _of_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a row in a tensor traced for one: those behind, or around, the axis of length 1 that counts rows."""
    rows = next((axis for axis in range(min(2, len(shape))) if shape[axis] == 1), None)
    return tuple(axis for axis in range(len(shape)) if axis != rows)


def _axis(row: tuple[int, ...], channels: int, tokens: bool) -> tuple[int, bool]:
    """The axis of the units, and whether there is a vector for each token."""
    if len(row) < 2:
        return row[0] if row else 0, False
    sequence = len(row) == 2 and channels == -1
    return row[0 if sequence and tokens else channels], sequence


def _open(plan: Plan) -> Iterator[tuple[Node, bool]]:
    """Each node that a walk comes by, and whether nothing else is on its way then."""
    carried = {plan.output}
    for step in reversed(plan.steps):
        if step.node in carried:
            yield step.node, len(carried) == 1
            carried.remove(step.node)
            carried.update(step.sources)

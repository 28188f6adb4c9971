"""The trace: what went on inside a network, a number for each unit of one layer or of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .answer import Answer
from .errors import InputError, UnknownName, shorten

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Layer:
    """A place inside the network, as far as a trace speaks of it: ``shape`` are its units, of one row."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)

    def unit(self, place: int) -> str:
        """The name of a unit: ``"conv2[17]"``, ``"conv2[17, 3, 3]"``."""
        return f"{self.name}[{', '.join(map(str, np.unravel_index(place, self.shape)))}]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace(Answer):
    """A number for each unit of each layer, for N rows and T targets of each.

    The layers stand in ``notes["places"]``, in the order in which they were asked for. A unit is one element of what a
    layer returns, or one channel of it (``settings["units"]``).

    Attributes
    ----------
    units: ``Float64[N, M, T]``, the units of all layers side by side; NaN where a row is shorter than the longest and
        has none.
    gaps: ``Float64[N, L, T]``, for each layer |Σ − (full − base)| over max(Σ|·|, |full − base|); None where the method
        does not promise that a layer's units add up.
    """

    record: ClassVar[str] = "trace"
    by_row: ClassVar[tuple[str, ...]] = ("units", "gaps", *Answer.by_row)
    of_estimate = {"values": "units"}
    each_player: ClassVar[bool] = False

    units: np.ndarray
    gaps: np.ndarray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        due = sum(layer.size for layer in self.layers)
        if self.units.ndim != 3 or self.units.shape[1] != due:
            raise InputError(f"units must be [N, M, T] with M = {due} units in all, not {self.units.shape}")

    @classmethod
    def beside(cls, name: str, array: np.ndarray, own: Mapping[str, Any], first: Mapping[str, Any]) -> np.ndarray:
        shapes, wider = ([tuple(each["shape"]) for each in notes["places"]] for notes in (own, first))
        if name != "units" or shapes == wider:
            return array
        edges, parts = np.cumsum([prod(shape) for shape in shapes])[:-1], []
        for part, shape, wide in zip(np.split(array, edges, axis=1), shapes, wider, strict=True):
            laid = np.full((len(array), *wide, array.shape[2]), np.nan)
            laid[(slice(None), *map(slice, shape))] = part.reshape(len(array), *shape, -1)
            parts.append(laid.reshape(len(array), -1, array.shape[2]))
        return np.concatenate(parts, axis=1)

    # What the user reads -------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers it speaks of."""
        return tuple(Layer(each["name"], each["kind"], tuple(each["shape"])) for each in self.notes["places"])

    @property
    def values(self) -> np.ndarray:
        """The only layer's values in its own shape, ``[N, *shape]``; of several layers all units, ``[N, M]``.

        With several targets there is a last axis for them.
        """
        if len(self.layers) == 1:
            return self.of()
        return self.units if self.several else self.units[..., 0]

    def of(self, layer: str | None = None) -> np.ndarray:
        """One layer's values in its own shape, ``[N, *shape]`` (``[N, *shape, T]`` with several targets).

        Raises :class:`UnknownName` for a layer that is not here.
        """
        found, part = self._part(layer)
        shaped = self.units[:, part].reshape(len(self), *found.shape, -1)
        return shaped if self.several else shaped[..., 0]

    @property
    def sums(self) -> np.ndarray:
        """What each layer's units add up to, ``[N, L]`` (``[N, L, T]``)."""
        summed = np.stack([np.nansum(self.units[:, self._part(layer.name)[1]], 1) for layer in self.layers], axis=1)
        return summed if self.several else summed[..., 0]

    @property
    def gap(self) -> np.ndarray:
        """The completeness gap of each row and layer, ``[N, L]`` (``[N, L, T]``); NaN where none is promised."""
        N, T = self.base.shape
        gaps = np.full((N, len(self.layers), T), np.nan) if self.gaps is None else self.gaps
        return gaps if self.several else gaps[..., 0]

    def top(self, k: int = 5, row: int = 0, output: int = 0, layer: str | None = None) -> list[tuple[str, float]]:
        """The ``k`` units of a row with the largest |value|, of one layer or of all: (name, value)."""
        row = self.place_of(row)
        found: list[tuple[str, float]] = []
        for each in self.layers if layer is None else (self._part(layer)[0],):
            values = self.units[row, self._part(each.name)[1], output]
            order = np.argsort(-np.abs(values), kind="stable")[:k]
            found += [(each.unit(int(place)), float(values[place])) for place in order if not np.isnan(values[place])]
        return sorted(found, key=lambda unit: -abs(unit[1]))[:k]

    def to_frame(self) -> pd.DataFrame:
        """A long table: row, output, layer, unit, value."""
        import pandas as pd

        units = [(layer.name, layer.unit(place)) for layer in self.layers for place in range(layer.size)]
        lines = [
            (row, output, *unit, value)
            for row in range(len(self))
            for t, output in enumerate(self.outputs[row])
            for unit, value in zip(units, self.units[row, :, t].tolist(), strict=True)
            if not np.isnan(value)
        ]
        return pd.DataFrame(lines, columns=["row", "output", "layer", "unit", "value"])

    def _part(self, name: str | None) -> tuple[Layer, slice]:
        """A layer, and where its units stand; the only one where none is named."""
        start, layers = 0, self.layers
        if name is None and len(layers) > 1:
            raise InputError(f"there are {len(layers)} layers", fix=f"name one of {', '.join(x.name for x in layers)}")
        for layer in layers:
            if name in (None, layer.name):
                return layer, slice(start, start + layer.size)
            start += layer.size
        raise UnknownName.among("layer", str(name), [layer.name for layer in layers])

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.name} {layer.shape}" for layer in self.layers[:4])
        head = f"Trace of {len(self)} rows by {self.method}: {layers}{', …' if len(self.layers) > 4 else ''}"
        if len(self):
            first = ", ".join(f"{shorten(name, 40)} {value:+.3g}" for name, value in self.top(3))
            head += f"\n  row 0, {self.outputs[0][0]}: {first}"
        return head + "".join(f"\n  ! {caution}" for caution in self.warnings)


def described(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A layer as it stands in ``notes["places"]``."""
    return {"name": name, "kind": kind, "shape": list(shape)}

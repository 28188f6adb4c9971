"""The flow: what of a change passed through each layer of a network and each unit, and the chain that carried most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .answer import Answer
from .errors import InputError, UnknownName, shorten
from .trace import Layer

if TYPE_CHECKING:
    import pandas as pd

REST, BESIDES = -2, -1
"""The places, counted from the end, of all other units of a layer and of what passes beside it."""
STILL, BLOCKED, CANCELLED = range(3)


@dataclass(frozen=True)
class Link:
    """One member of a chain.

    ``unit`` is its number (None: the chain passes beside this layer), ``value`` what passes through it, ``share`` that
    of the whole change, ``carried`` the share that passes through all of the chain from the output down to here.
    """

    layer: str
    unit: int | None
    name: str
    value: float
    share: float
    carried: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Flow(Answer):
    """What of the change f(x) − f(x′) passes where, for N rows and T targets of each.

    The L layers of the network stand in ``notes["places"]`` from the first to the last; ``notes["cuts"]`` are the
    places of the S among them between which the flow was followed from unit to unit. The players are the input's end.

    Attributes
    ----------
    attributions: ``Float64[N, n, T]``, what passes through each player.
    units: ``Float64[N, M, T]``, what passes through the units of all layers, side by side.
    besides: ``Float64[N, L, T]``, what passes beside each layer, over a skip connection or a branch.
    gaps: ``Float64[N, L + 1, T]``, of the inputs and of each layer |Σ + besides − change| over the larger of both.
    lost: ``Float64[N, L, 3, T]``, shares of a layer's units that are the same as at the reference (``STILL``), that
        differ and pass nothing on (``BLOCKED``), and how much of what passes cancels out (``CANCELLED``).
    chosen: ``Float64[N, S + 1, k, T]``, the strongest units of each cut, the players first; NaN where there are less.
    flows: ``Float64[N, S + 1, k + 2, k + 2, T]``, what passes from a part of one cut (the chosen units, the ``REST``,
        ``BESIDES``) to a part of the next; from the last cut to the output alone, ``[..., 0]``.
    chain: ``Float64[N, S + 1, T]``, at each cut which part the chain passes through; NaN: besides.
    carried: ``Float64[N, S + 1, T]``, what passes through all of the chain from the output down to each cut.
    maps: ``Float64[N, S, k, P, P, T]``, the feature maps of chosen channels, NaN where units are no maps; or None.
    """

    record: ClassVar[str] = "flow"
    by_row: ClassVar[tuple[str, ...]] = (
        "attributions", "units", "besides", "gaps", "lost", "chosen", "flows", "chain", "carried", "maps",
        *Answer.by_row,
    )  # fmt: skip

    attributions: np.ndarray
    units: np.ndarray
    besides: np.ndarray
    gaps: np.ndarray
    lost: np.ndarray
    chosen: np.ndarray
    flows: np.ndarray
    chain: np.ndarray
    carried: np.ndarray
    maps: np.ndarray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        due = sum(layer.size for layer in self.layers)
        if self.units.ndim != 3 or self.units.shape[1] != due:
            raise InputError(f"units must be [N, M, T] with M = {due} units in all, not {self.units.shape}")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The network's layers, from the first to the last."""
        return tuple(Layer(each["name"], each["kind"], tuple(each["shape"])) for each in self.notes["places"])

    @property
    def cuts(self) -> tuple[Layer, ...]:
        """The layers between which the flow was followed."""
        layers = self.layers
        return tuple(layers[place] for place in self.notes["cuts"])

    @property
    def gap(self) -> np.ndarray:
        """The completeness gap of the inputs and of each layer, ``[N, L + 1]`` (``[N, L + 1, T]``)."""
        return self.gaps if self.several else self.gaps[..., 0]

    def of(self, layer: str) -> np.ndarray:
        """What passes through each unit of a layer, ``[N, units]`` (``[N, units, T]``).

        Raises :class:`UnknownName` for a layer that is not here.
        """
        found = self.units[:, self._part(layer)]
        return found if self.several else found[..., 0]

    def sum_of(self, layer: str, row: int = 0, output: int = 0) -> float:
        """What passes through a layer in all."""
        return float(self.units[row, self._part(layer), output].sum())

    def size_of(self, layer: str, row: int = 0, output: int = 0) -> float:
        """The sizes of what passes through a layer's units, added up."""
        return float(np.abs(self.units[row, self._part(layer), output]).sum())

    def _part(self, name: str) -> slice:
        start = 0
        for layer in self.layers:
            if layer.name == name:
                return slice(start, start + layer.size)
            start += layer.size
        raise UnknownName.among("layer", name, [layer.name for layer in self.layers])

    def change(self, row: int = 0, output: int = 0) -> float:
        """f(x) − f(x′)."""
        return float(self.full[row, output] - self.base[row, output])

    def unit_name(self, cut: int, unit: int, row: int = 0) -> str:
        """A unit's name as people read it: a player's, or ``"conv2[17]"``; cut 0 are the players."""
        return self.players.of(row)[unit] if cut == 0 else self.cuts[cut - 1].unit(unit)

    def value_of(self, cut: int, unit: int, row: int = 0, output: int = 0) -> float:
        """What passes through a unit of a cut."""
        if cut == 0:
            return float(self.attributions[row, unit, output])
        return float(self.units[row, self._part(self.cuts[cut - 1].name), output][unit])

    def links(self, row: int = 0, output: int = 0) -> list[Link]:
        """The strongest chain, from the inputs to the last layer.

        It is followed from the output: at each cut it goes on through the unit by which most of what the unit before
        passes on came, in the direction of the change. Shares are NaN where the output does not change.
        """
        row, change = self.place_of(row), self.change(row, output)
        found = []
        for cut in range(len(self.cuts) + 1):
            part = self.chain[row, cut, output]
            unit = None if np.isnan(part) else int(self.chosen[row, cut, int(part), output])
            layer = "inputs" if cut == 0 else self.cuts[cut - 1].name
            if unit is None:
                name, value = layer, self._beside(cut, row, output)
            else:
                name, value = self.unit_name(cut, unit, row), self.value_of(cut, unit, row, output)
            shares = (part / change if change else float("nan") for part in (value, self.carried[row, cut, output]))
            found.append(Link(layer, unit, name, value, *map(float, shares)))
        return found

    def _beside(self, cut: int, row: int, output: int) -> float:
        return 0.0 if cut == 0 else float(self.besides[row, self.notes["cuts"][cut - 1], output])

    def top(self, k: int = 5, row: int = 0, output: int = 0, layer: str | None = None) -> list[tuple[str, float]]:
        """The ``k`` units of a row through which most passes, of one layer or of all: (name, value)."""
        row, found = self.place_of(row), []
        for each in self.layers:
            if layer in (None, each.name):
                values = self.units[row, self._part(each.name), output]
                order = np.argsort(-np.abs(values), kind="stable")[:k]
                found += [(each.unit(int(place)), float(values[place])) for place in order]
        if layer is not None and not found:
            self._part(layer)
        return sorted(found, key=lambda unit: -abs(unit[1]))[:k]

    def to_frame(self) -> pd.DataFrame:
        """A line for each layer of each row: what passes through and besides, what is lost, the strongest unit."""
        import pandas as pd

        lines = []
        for row in range(len(self)):
            for t, output in enumerate(self.outputs[row]):
                for place, layer in enumerate(self.layers):
                    values = self.units[row, self._part(layer.name), t]
                    first = int(np.argmax(np.abs(values)))
                    beside = float(self.besides[row, place, t])
                    told = (values.sum(), beside, *self.lost[row, place, :, t], layer.unit(first), values[first])
                    lines.append((row, output, layer.name, layer.size, *told))
        columns = [
            "row",
            "output",
            "layer",
            "units",
            "through",
            "besides",
            "still",
            "blocked",
            "cancelled",
            "strongest",
        ]
        return pd.DataFrame(lines, columns=[*columns, "value"])

    def __repr__(self) -> str:
        head = f"Flow of {len(self)} rows through {len(self.layers)} layers, followed at {len(self.cuts)}"
        if len(self):
            chain = " → ".join(shorten(link.name, 40) for link in self.links() if link.unit is not None)
            head += f"\n  row 0, {self.outputs[0][0]}: {chain}"
        return head + "".join(f"\n  ! {caution}" for caution in self.warnings)

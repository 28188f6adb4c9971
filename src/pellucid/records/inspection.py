"""The inspection: what a network's layers and units do over many rows, and what its weights look like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import drawing
from .answer import FORMAT, packed, read_record
from .errors import StoreError, UnknownName
from .files import write_bytes
from .messages import marked
from .preflight import Preflight
from .trace import Layer

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_ARRAYS = (
    "activations", "activations_before", "gradients", "silent", "units", "dead", "saturated", "twins", "top",
    "top_values", "weights", "weights_before", "norms", "moved", "embeddings", "variances", "filters", "shown_units",
    "regions", "pictures",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Inspection:
    """Facts about the L layers, M units and P parameters of a network, over N rows.

    Attributes
    ----------
    layers: the layers, in the order in which a pass leaves them; a unit is a channel, a feature, or an element.
    activations: ``Float64[L, 9]``, :data:`QUANTILES` of a layer's numbers at a row, averaged over rows;
        ``activations_before``: the same of the other checkpoint, or None.
    gradients: ``Float64[L]``, the root mean square of ∂target/∂activation; ``silent``: the share of units that no row's
        target feels at all. None for a model without gradients.
    units: ``Float64[M, 4]``, of all layers side by side: mean, standard deviation over rows, least, largest value.
    dead, saturated: ``Bool[M]``: the same at every row and place (told of 8 rows or more); at a bound of its activation
        at 95 % of them.
    twins: ``Int[M]``, the unit of its layer that a unit duplicates, −1 for none.
    top, top_values: ``Int[M, k]`` and ``Float64[M, k]``, the rows at which a unit is largest, and how large.
    parameters: their names; ``weights``: ``Float64[P, 9]`` quantiles, ``norms`` ``[P]``, ``moved`` ``[P]`` the change
        since the other checkpoint over the norm there.
    embeddings: ``Float64[E, N, 2]``, rows in a plane by what ``shown_layers`` make of them; ``variances`` ``[E, 2]``.
    labels: of each row, its class or what was predicted.
    filters: ``Float64[F, C, h, w]``, the first convolution's weights, or None.
    shown_units: ``Int[S]`` units of ``notes["pictured"]``; ``regions`` ``Int[S, k, 4]``, what of each top picture drove
        them: top, left, bottom, right; ``pictures``: those pictures ``[S, k, …]``. None where rows are no pictures.
    alignment: the mean cosine between gradients at a row and 1 % of the way to another: 1 smooth, 0 shattered.
    preflight: what the model was found to be before it was looked into.
    """

    layers: tuple[Layer, ...]
    parameters: tuple[str, ...]
    activations: np.ndarray
    units: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray
    twins: np.ndarray
    top: np.ndarray
    top_values: np.ndarray
    weights: np.ndarray
    norms: np.ndarray
    embeddings: np.ndarray
    variances: np.ndarray
    labels: tuple[str, ...]
    shown_layers: tuple[str, ...]
    gradients: np.ndarray | None = None
    silent: np.ndarray | None = None
    activations_before: np.ndarray | None = None
    weights_before: np.ndarray | None = None
    moved: np.ndarray | None = None
    filters: np.ndarray | None = None
    shown_units: np.ndarray | None = None
    regions: np.ndarray | None = None
    pictures: np.ndarray | None = None
    alignment: float = float("nan")
    model: str = ""
    seed: int = 0
    preflight: Preflight | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, layer: str) -> slice:
        """Where a layer's units stand. Raises :class:`UnknownName`."""
        start = 0
        for each in self.layers:
            if each.name == layer:
                return slice(start, start + each.size)
            start += each.size
        raise UnknownName.among("layer", layer, [each.name for each in self.layers])

    def to_frame(self) -> pd.DataFrame:
        """A line for each layer: how many units are dead, saturated, duplicates; activations; gradients."""
        import pandas as pd

        lines = []
        for place, layer in enumerate(self.layers):
            part = self.part(layer.name)
            lines.append({
                "layer": layer.name, "kind": layer.kind, "units": layer.size,
                "dead": int(self.dead[part].sum()), "saturated": int(self.saturated[part].sum()),
                "duplicates": int((self.twins[part] >= 0).sum()),
                "low": self.activations[place, 2], "median": self.activations[place, 4],
                "high": self.activations[place, 6],
                "gradient": np.nan if self.gradients is None else self.gradients[place],
                "silent": np.nan if self.silent is None else self.silent[place],
            })  # fmt: skip
        return pd.DataFrame(lines)

    def plot(self, kind: str = "units", **options: Any) -> Any:
        """A figure: ``"units"``, ``"activations"``, ``"gradients"``, ``"weights"``, ``"embedding"``, ``"filters"`` or
        ``"examples"``."""
        return drawing.draw("plot", self, kind=kind, **options)

    def text(self, language: str = "en") -> str:
        """The facts in plain sentences."""
        return drawing.draw("text", self, language=language)

    def _repr_html_(self) -> str:
        return drawing.draw("html", self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record to one ``.npz`` file; :meth:`load` reads it back."""
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        data = {
            "format": FORMAT, "record": "inspection", "parameters": list(self.parameters),
            "layers": [[layer.name, layer.kind, list(layer.shape)] for layer in self.layers],
            "labels": list(self.labels), "shown_layers": list(self.shown_layers), "alignment": self.alignment,
            "model": self.model, "seed": self.seed, "notes": dict(self.notes),
            "preflight": None if self.preflight is None else self.preflight.to_dict(),
        }  # fmt: skip
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        write_bytes(path, packed(data, arrays))
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record written by :meth:`save`. Raises :class:`StoreError` for a damaged or foreign file."""
        data, arrays = read_record(path)
        if data["record"] != "inspection":
            raise StoreError(f"this file holds {data['record']}, not an inspection", where=str(path))
        before = data.get("preflight")  # older ones have none
        return cls(
            **arrays,
            preflight=None if before is None else Preflight.from_dict(before),
            layers=tuple(Layer(name, kind, tuple(shape)) for name, kind, shape in data["layers"]),
            **{name: tuple(data[name]) for name in ("parameters", "labels", "shown_layers")},
            alignment=float("nan") if data["alignment"] is None else data["alignment"],
            **{name: data[name] for name in ("model", "seed", "notes")},
        )

    def __repr__(self) -> str:
        dead, twin = int(self.dead.sum()), int((self.twins >= 0).sum())
        told = f"{len(self.layers)} layers, {len(self.units)} units over {len(self)} rows"
        return (
            f"Inspection of {self.model}: {told}: {dead} dead, {int(self.saturated.sum())} saturated, {twin} duplicates"
            + marked(() if self.preflight is None else self.preflight.warnings)
        )

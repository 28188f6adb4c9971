"""The recording of a training: how activations, gradients and weights were spread, epoch by epoch."""

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

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
KINDS = ("activations", "gradients", "weights")
_ARRAYS = ("epochs", "losses", "counts", "low", "high", "quantiles", "moments", "sizes", "broken")


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """Histograms of S series over E epochs.

    Attributes
    ----------
    series: (kind, name): ``("weights", "conv1.weight")``, ``("activations", "conv1")``; kinds are :data:`KINDS`.
    epochs: ``Int[E]``, counted from 0; a resumed training begins later. ``losses``: ``Float64[E]``, NaN where unsaid.
    counts: ``Int64[E, S, B]`` in B equal bins from ``low`` to ``high`` ``Float64[E, S]`` (both NaN: nothing was seen).
    quantiles: ``Float64[E, S, 7]``, :data:`QUANTILES`. ``moments``: ``Float64[E, S, 2]``, mean and standard deviation.
    sizes: ``Int64[E, S]``, numbers seen; ``broken``: those that were NaN or infinite, which nothing else counts.
    """

    series: tuple[tuple[str, str], ...]
    epochs: np.ndarray
    losses: np.ndarray
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quantiles: np.ndarray
    moments: np.ndarray
    sizes: np.ndarray
    broken: np.ndarray
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.epochs)

    def of(self, kind: str) -> list[int]:
        """The places of a kind's series. Raises :class:`UnknownName`."""
        if kind not in KINDS:
            raise UnknownName.among("kind of series", kind, KINDS)
        return [place for place, (own, _) in enumerate(self.series) if own == kind]

    def place(self, kind: str, name: str) -> int:
        """Where a series stands. Raises :class:`UnknownName`."""
        known = {self.series[place][1]: place for place in self.of(kind)}
        if name not in known:
            raise UnknownName.among(f"series of {kind}", name, known)
        return known[name]

    def to_frame(self) -> pd.DataFrame:
        """A line for each epoch and series: mean, standard deviation, quantiles, numbers that were not finite."""
        import pandas as pd

        lines = [
            (int(epoch), *self.series[s], *self.moments[e, s], *self.quantiles[e, s], int(self.broken[e, s]))
            for e, epoch in enumerate(self.epochs)
            for s in range(len(self.series))
        ]
        named = [f"q{round(100 * q)}" for q in QUANTILES]
        return pd.DataFrame(lines, columns=["epoch", "kind", "name", "mean", "std", *named, "broken"])

    def plot(self, kind: str = "weights", name: str | None = None, **options: Any) -> Any:
        """A figure of a kind of series over the epochs; with a name, that series' histograms as a heat map."""
        return drawing.draw("plot", self, kind=kind, name=name, **options)

    def text(self, language: str = "en") -> str:
        """What is to be noticed, in plain sentences."""
        return drawing.draw("text", self, language=language)

    def _repr_html_(self) -> str:
        return drawing.draw("html", self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the recording to one ``.npz`` file; :meth:`load` reads it back."""
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        write_bytes(path, self.to_bytes())
        return path

    def to_bytes(self) -> bytes:
        """The whole recording as one NPZ archive."""
        data = {
            "format": FORMAT, "record": "recording", "series": [list(each) for each in self.series],
            "notes": dict(self.notes),
        }  # fmt: skip
        return packed(data, {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote. Raises :class:`StoreError` for a damaged or foreign file."""
        data, arrays = read_record(path)
        if data["record"] != "recording":
            raise StoreError(f"this file holds {data['record']}, not a recording", where=str(path))
        return cls(series=tuple((kind, name) for kind, name in data["series"]), notes=data["notes"], **arrays)

    def __repr__(self) -> str:
        counted = ", ".join(f"{len(self.of(kind))} of {kind}" for kind in KINDS)
        return f"Recording of {len(self)} epochs: {counted}"

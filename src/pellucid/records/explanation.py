"""The explanation: a sealed record of an answer that carries its whole question.

It says what was asked (rows, target, players, what "absent" means), how it was answered
(method, settings, seed, cost) and how far to trust it (completeness gap, standard errors,
cautions). It is plain numpy: it can be read, saved and drawn without the model and without torch.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import drawing
from .errors import InputError, StoreError, shorten
from .files import dumps, write_bytes
from .messages import Caution
from .players import Players

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True)
class Cost:
    """What an answer cost: value-function evaluations per question, model rows in all, seconds."""

    evaluations: float = 0.0
    rows: int = 0
    gradients: int = 0
    seconds: float = 0.0
    batch: int = 0


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each player contributed, for N rows and T targets of each.

    Attributes
    ----------
    attributions: ``Float64[N, n, T]``; NaN where a row has fewer than n players.
    players: the units the numbers speak of.
    base, full: ``Float64[N, T]``, the target with nobody present and with everyone.
    outputs: names of the T targets of each row, N tuples.
    errors: ``Float64[N, n, T]`` standard errors, or None for a method that does not sample.
    gaps: ``Float64[N, T]``, |Σφ − (full − base)| over max(Σ|φ|, |full − base|); NaN where
        the method does not promise that its contributions add up.
    method, settings, seed, removal, target: how it was asked, as data.
    rows: the raw rows, for display only: a list of dicts (tables), strings, or an array.
    """

    attributions: np.ndarray
    players: Players
    base: np.ndarray
    full: np.ndarray
    outputs: tuple[tuple[str, ...], ...]
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    errors: np.ndarray | None = None
    gaps: np.ndarray | None = None
    removal: Mapping[str, Any] = field(default_factory=dict)
    background: np.ndarray | None = None
    target: Mapping[str, Any] = field(default_factory=dict)
    columns: np.ndarray | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    warnings: tuple[Caution, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    rows: Any = None
    ids: tuple[str, ...] = ()
    model: str = ""
    pooling: str = "sum"
    several: bool = False

    def __post_init__(self) -> None:
        for name in ("attributions", "base", "full", "errors", "gaps", "columns", "background"):
            array = getattr(self, name)
            if array is not None:
                array = np.array(array)
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        if isinstance(self.rows, np.ndarray):
            rows = self.rows.view()
            rows.setflags(write=False)
            object.__setattr__(self, "rows", rows)
        if self.attributions.ndim != 3:
            raise InputError(f"attributions must be [N, n, T], not {self.attributions.shape}")

    # What the user reads -------------------------------------------------------------------

    @property
    def values(self) -> np.ndarray:
        """``[N, n]``, ``[N, n, T]`` with several targets; the input's own shape when every element is a player."""
        return self._shaped(self.attributions)

    @property
    def stderr(self) -> np.ndarray | None:
        """Standard errors in the shape of ``values``; None for a method that does not sample."""
        return None if self.errors is None else self._shaped(self.errors)

    @property
    def gap(self) -> np.ndarray:
        """The completeness gap of each row, ``[N]`` or ``[N, T]``; NaN where none is promised."""
        gaps = np.full(self.base.shape, np.nan) if self.gaps is None else self.gaps
        return gaps if self.several else gaps[:, 0]

    def _shaped(self, array: np.ndarray) -> np.ndarray:
        layout = self.players.layout
        if self.players.every_element and len(layout) > 1:
            array = array.reshape(len(array), *layout, array.shape[-1])
        return array if self.several else array[..., 0]

    def __len__(self) -> int:
        return len(self.attributions)

    def __getitem__(self, which: int | slice | np.ndarray | list[int]) -> Explanation:
        """The explanation of one row or of some rows, as an explanation."""
        if isinstance(which, (int, np.integer)):
            if not -len(self) <= which < len(self):
                raise InputError(f"row {which} of an explanation of {len(self)} rows")
            which = [int(which) % len(self)]
        index = np.arange(len(self))[which]
        part = {
            name: None if getattr(self, name) is None else getattr(self, name)[index]
            for name in ("attributions", "base", "full", "errors", "gaps", "columns")
        }
        rows = self.rows
        if rows is not None:
            rows = rows[index] if isinstance(rows, np.ndarray) else [rows[i] for i in index]
        target = dict(self.target)
        if target.get("kind") == "each row":
            target["which"] = [target["which"][i] for i in index]
        return replace(
            self,
            **part,
            target=target,
            players=self.players.take(index),
            outputs=tuple(self.outputs[i] for i in index),
            rows=rows,
            ids=tuple(self.ids[i] for i in index) if self.ids else (),
            notes={
                name: [note[i] for i in index] if isinstance(note, list) and len(note) == len(self) else note
                for name, note in self.notes.items()
            },
        )

    def top(self, k: int = 5, row: int = 0, output: int = 0) -> list[tuple[str, float, float]]:
        """The ``k`` players of a row with the largest |value|: (name, value, standard error or NaN)."""
        values = self.attributions[row, :, output]
        present = np.flatnonzero(np.isfinite(values))
        order = present[np.argsort(-np.abs(values[present]), kind="stable")][:k]
        errors = np.full(values.shape, np.nan) if self.errors is None else self.errors[row, :, output]
        names = self.players.of(row)
        return [(names[i], float(values[i]), float(errors[i])) for i in order]

    def to_frame(self) -> pd.DataFrame:
        """A long table: row, output, player, value, stderr."""
        import pandas as pd

        parts = []
        for row in range(len(self)):
            names = self.players.of(row)
            for t, output in enumerate(self.outputs[row]):
                part = pd.DataFrame({"player": names, "value": self.attributions[row, : len(names), t]})
                part["stderr"] = np.nan if self.errors is None else self.errors[row, : len(names), t]
                part.insert(0, "output", output)
                part.insert(0, "row", row)
                parts.append(part)
        columns = ["row", "output", "player", "value", "stderr"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    # Drawing, through the one late-bound door ----------------------------------------------

    def plot(self, row: int = 0, **options: Any) -> Any:
        """A figure of one row (an Altair chart)."""
        return drawing.draw("plot", self, row=row, **options)

    def text(self, row: int = 0, language: str = "en", audience: str = "expert") -> str:
        """One row in plain sentences."""
        return drawing.draw("text", self, row=row, language=language, audience=audience)

    def _repr_html_(self) -> str:
        return drawing.draw("html", self)

    def __repr__(self) -> str:
        head = f"Explanation of {len(self)} rows by {self.method}: {self.players!r}"
        if len(self):
            first = ", ".join(f"{shorten(name, 30)} {value:+.3g}" for name, value, _ in self.top(3))
            head += f"\n  row 0, {self.outputs[0][0]}: {self.base[0, 0]:.3g} → {self.full[0, 0]:.3g}; {first}"
        return head + "".join(f"\n  ! {caution}" for caution in self.warnings)

    # Keeping -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, as data."""
        return {
            "format": FORMAT,
            "record": "explanation",
            "players": self.players.to_dict(),
            "outputs": [list(names) for names in self.outputs],
            "method": self.method,
            "settings": dict(self.settings),
            "seed": self.seed,
            "removal": dict(self.removal),
            "target": dict(self.target),
            "budget": dict(self.budget),
            "cost": vars(self.cost),
            "warnings": [caution.to_dict() for caution in self.warnings],
            "notes": dict(self.notes),
            "rows": None if isinstance(self.rows, np.ndarray) else self.rows,
            "ids": list(self.ids),
            "model": self.model,
            "pooling": self.pooling,
            "several": self.several,
        }

    def to_bytes(self) -> bytes:
        """The whole record as one NPZ archive (arrays, and the rest as JSON text)."""
        arrays: dict[str, np.ndarray] = {"labels": self.players.labels}
        for name in ("attributions", "base", "full", "errors", "gaps", "columns", "background"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if isinstance(self.rows, np.ndarray):
            arrays["rows"] = self.rows
        arrays["record"] = np.frombuffer(dumps(self.to_dict()).encode("utf-8", "replace"), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record to one ``.npz`` file; :meth:`load` reads it back."""
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        write_bytes(path, self.to_bytes())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Explanation:
        """Read a record written by :meth:`save`. Raises :class:`StoreError` for a damaged or foreign file."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            data = json.loads(arrays.pop("record").tobytes().decode("utf-8"))
        except FileNotFoundError as error:
            raise StoreError("there is no such file", where=str(path)) from error
        except Exception as error:  # a damaged archive raises many kinds
            why = f"reading it ended with {type(error).__name__}"  # numpy's own text advises unpickling
            raise StoreError("not an explanation, or a damaged one", where=str(path), why=why) from error
        if data.get("format") != FORMAT:
            raise StoreError(f"written in format {data.get('format')}, this version reads {FORMAT}", where=str(path))
        return cls._from(data, arrays)

    @classmethod
    def _from(cls, data: dict[str, Any], arrays: dict[str, np.ndarray]) -> Explanation:
        keep = ("method", "settings", "seed", "removal", "target", "budget", "notes", "model", "pooling", "several")
        return cls(
            **{name: arrays.get(name) for name in ("errors", "gaps", "columns", "background")},
            attributions=arrays["attributions"],
            base=arrays["base"],
            full=arrays["full"],
            players=Players.from_dict(data["players"], arrays["labels"]),
            outputs=tuple(tuple(names) for names in data["outputs"]),
            cost=Cost(**data["cost"]),
            warnings=tuple(Caution.from_dict(caution) for caution in data["warnings"]),
            rows=arrays.get("rows", data["rows"]),
            ids=tuple(data["ids"]),
            **{name: data[name] for name in keep},
        )

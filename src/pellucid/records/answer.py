"""The answer: what every record of an explanation has in common, whatever the method answers with.

It says what was asked (rows, target, players, what "absent" means), how it was answered (method, settings, seed, cost)
and how far to trust it (cautions). It is plain numpy: it can be read, saved and drawn without the model and without
torch. One kind of answer is an explanation (a number for each player of each row); its siblings are rules,
interactions, and the importance of players over all rows.
"""

from __future__ import annotations

import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from . import drawing
from .errors import InputError, StoreError
from .files import dumps, write_bytes
from .messages import Caution
from .players import Players

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
HOMES = {
    "explanation": "pellucid.Explanation",
    "attention": "pellucid.records.attention.AttentionMaps",
    "flow": "pellucid.records.flow.Flow",
    "importance": "pellucid.records.importance.Importance",
    "inspection": "pellucid.records.inspection.Inspection",
    "interactions": "pellucid.records.interactions.Interactions",
    "rules": "pellucid.records.rules.Rules",
    "sets": "pellucid.records.sets.Sets",
    "trace": "pellucid.records.trace.Trace",
}
"""Where the record of a kind is read."""


@dataclass(frozen=True)
class Cost:
    """What an answer cost: value-function evaluations per question, model rows in all, seconds."""

    evaluations: float = 0.0
    rows: int = 0
    gradients: int = 0
    seconds: float = 0.0
    batch: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer(ABC):
    """What a method found, with its whole question.

    Attributes
    ----------
    players: the units the answer speaks of.
    base, full: ``Float64[N, T]``, the target with nobody present and with everyone. ``base`` is NaN where the method
        removes nothing and nobody said what "absent" means.
    outputs: names of the T targets of each row, N tuples.
    method, settings, seed, removal, target: how it was asked, as data.
    columns: ``Int[N, T]``, the outputs the target was bound to (``[N, T, 2]`` for contrasts).
    rows: the raw rows, for display only: a list of dicts (tables), strings, or an array.

    Class attributes
    ----------------
    record: the name of the kind, as it stands in files.
    by_row: ``Float[N, …]`` arrays, one entry per row: those of this kind and the ends.
    shared: arrays that are of no row.
    of_estimate: where an estimate's ``values`` and ``stderr`` go; other arrays of an estimate keep their names.
    everywhere: True where the answer is about all rows together; ``base`` and ``full`` are then ``[1, T]``.
    each_player: True where an estimate's values are one for each player.
    """

    record: ClassVar[str]
    by_row: ClassVar[tuple[str, ...]] = ("base", "full", "columns")
    shared: ClassVar[tuple[str, ...]] = ("background",)
    of_estimate: ClassVar[Mapping[str, str]] = {"values": "attributions", "stderr": "errors"}
    everywhere: ClassVar[bool] = False
    each_player: ClassVar[bool] = True

    players: Players
    base: np.ndarray
    full: np.ndarray
    outputs: tuple[tuple[str, ...], ...]
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
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
    several: bool = False

    def __post_init__(self) -> None:
        for name in (*self.by_row, *self.shared):
            array = getattr(self, name)
            if array is not None:
                if array.flags.writeable or array.base is not None:
                    array = np.array(array)
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        if isinstance(self.rows, np.ndarray):
            rows = self.rows.view()
            rows.setflags(write=False)
            object.__setattr__(self, "rows", rows)

    @classmethod
    def beside(cls, name: str, array: np.ndarray, own: Mapping[str, Any], first: Mapping[str, Any]) -> np.ndarray:
        """An array ``[N, m, …]`` of some rows as it stands beside that of the longest rows; notes are of either.

        What it has less of than those is at its end: only what lies otherwise has to be moved.
        """
        return array

    def __len__(self) -> int:
        return len(self.base)

    def place_of(self, row: int | np.integer) -> int:
        """Where a row stands, counted from 0; negative ones count from the end. Raises :class:`InputError`."""
        if not isinstance(row, (int, np.integer)):
            raise InputError(f"{row!r} is no row's place", fix="rows are counted from 0")
        if not -len(self) <= row < len(self):
            raise InputError(f"row {row} of a record of {len(self)} rows ({self.record})")
        return int(row) % len(self)

    def __getitem__(self, which: int | slice | np.ndarray | list[int]) -> Self:
        """The answer about one row or about some rows, as a record of the same kind."""
        if isinstance(which, (int, np.integer)):
            which = [self.place_of(which)]
        index = np.arange(len(self))[which]
        part = {name: None if getattr(self, name) is None else getattr(self, name)[index] for name in self.by_row}
        rows = self.rows
        if rows is not None:
            rows = rows[index] if isinstance(rows, np.ndarray) else [rows[i] for i in index]
        target = dict(self.target)
        if target.get("kind") == "each row":
            target["which"] = [target["which"][i] for i in index]
        target.pop("labels", None)  # the hash of all rows' labels
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

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """A long table of what was found."""

    # Drawing, through the one late-bound door ----------------------------------------------

    def plot(self, kind: str | int | None = None, row: int | None = None, **options: Any) -> Any:
        """A figure (an Altair chart) of one row, or of all rows where ``kind`` is a figure of all.

        An explanation has ``"bar"``, ``"waterfall"``, ``"force"``, ``"image"``, ``"text"``, ``"series"``,
        ``"beeswarm"`` and ``"summary"``; without a name it takes what fits. ``plot(3)`` is short for ``plot(row=3)``.
        """
        if isinstance(kind, int):
            kind, row = None, kind
        asked = {"kind": kind, "row": None if row is None or self.everywhere else self.place_of(row)}
        return drawing.draw("plot", self, **{name: said for name, said in asked.items() if said is not None}, **options)

    def text(self, row: int = 0, language: str = "en", audience: str = "expert") -> str:
        """One row in plain sentences."""
        row = 0 if self.everywhere else self.place_of(row)
        return drawing.draw("text", self, row=row, language=language, audience=audience)

    def _repr_html_(self) -> str:
        return drawing.draw("html", self)

    # Keeping -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All but the arrays, as data."""
        return {
            "format": FORMAT,
            "record": self.record,
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
            "several": self.several,
        }

    def to_bytes(self) -> bytes:
        """The whole record as one NPZ archive (arrays, and the rest as JSON text)."""
        arrays: dict[str, np.ndarray] = {"labels": self.players.labels}
        for name in (*self.by_row, *self.shared):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if isinstance(self.rows, np.ndarray):
            arrays["rows"] = self.rows
        return packed(self.to_dict(), arrays)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record to one ``.npz`` file; :meth:`load` reads it back."""
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        write_bytes(path, self.to_bytes())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record written by :meth:`save`. Raises :class:`StoreError` for a damaged or foreign file."""
        data, arrays = read_record(path)
        if data["record"] != cls.record:
            home = HOMES.get(data["record"], "")
            raise StoreError(
                f"this file holds {data['record']}, not {cls.record}",
                where=str(path),
                fix=f"read it with {home}.load" if home else "",
            )
        return cls.from_parts(data, arrays)

    @classmethod
    def from_parts(cls, data: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """A record from what :func:`read_record` found."""
        return cls(
            **{name: arrays.get(name) for name in (*cls.by_row, *cls.shared)},
            players=Players.from_dict(data["players"], arrays["labels"]),
            outputs=tuple(tuple(names) for names in data["outputs"]),
            cost=Cost(**data["cost"]),
            warnings=tuple(Caution.from_dict(caution) for caution in data["warnings"]),
            rows=arrays.get("rows", data["rows"]),
            ids=tuple(data["ids"]),
            **{name: data[name] for name in cls._plain()},
        )

    @classmethod
    def _plain(cls) -> tuple[str, ...]:
        """The fields that stand in a file as they are."""
        return ("method", "settings", "seed", "removal", "target", "budget", "notes", "model", "several")


def packed(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A record's data and arrays as one NPZ archive, which :func:`read_record` reads."""
    record = np.frombuffer(dumps(data).encode("utf-8", "replace"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, record=record, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def read_record(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The data and the arrays of a record's file. Raises :class:`StoreError` for a damaged or foreign one."""
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
    return data, arrays

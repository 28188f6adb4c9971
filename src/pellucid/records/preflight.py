"""The preflight: what a model is found to be before it is asked why, from a few dozen calls on a few rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import drawing
from .errors import StoreError
from .files import read_json, write_json
from .messages import RANK, Caution, marked

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
CAPABILITIES = ("gradients", "layers", "operations")
"""What a model may allow beside being asked: gradients at its rows; looking at its layers; following its operations."""
MEANINGS = (
    "probabilities", "probability", "log_probabilities", "independent", "scores", "number", "not_finite",
)  # fmt: skip
"""How outputs read: rows that sum to 1; one number in [0, 1]; their logarithms; several in [0, 1] that do not sum to 1;
several of any size (logits); one of any size (a logit or a quantity); NaN or infinity."""


@dataclass(frozen=True)
class Pace:
    """What asking so many rows at once took, in seconds per row."""

    batch: int
    seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Preflight:
    """What a model is, as far as ``rows`` of the given rows tell.

    Attributes
    ----------
    model: its name; ``class_name``: what it is wrapped as; ``kind``: the modality of the rows.
    inputs: name → (shape of one row, dtype, device) as the model is given them; empty for opaque rows.
    width: how many outputs a row has; ``labels``: their names; ``dtype``: of the outputs.
    meaning: one of :data:`MEANINGS`; ``low``, ``high``: the range of the outputs; ``sums``: the least and the largest
        sum of a row's outputs.
    capabilities: each of :data:`CAPABILITIES` → "" where it is there, else why not.
    methods: every method → "" where it applies, else why not.
    parameters: how many weights; None where they cannot be seen. ``devices``: where they lie.
    unstable: relative difference between a row's answers when asked three times in a row, 0 within rounding;
        ``reseeded``: the same after its generators, modes and buffers were put back; ``stateful``: the difference after
        other rows were asked in between; ``coupled``: the largest difference that rows beside it and its place make.
    mutates: the inputs that the model writes over.
    least, fixed: the fewest rows it takes at once; the only number it takes, or None.
    batch: the rows at once that are best by rule; ``costs``: seconds per row at several numbers of rows.
    flops, bytes: of one row's pass: floating-point operations; the input and output of its widest operation. NaN where
        they cannot be counted.
    flat: rows at which the gradient of the predicted output is zero everywhere; None without gradients.
    training: ``"off"``, ``"switched off"`` where it was on and mattered, ``"fixed"`` where it cannot be switched off.
    warnings: what to be careful of, the gravest first.
    """

    model: str
    class_name: str = ""
    kind: str = ""
    rows: int = 0
    inputs: Mapping[str, tuple[tuple[int, ...], str, str]] = field(default_factory=dict)
    width: int = 0
    labels: tuple[str, ...] = ()
    dtype: str = ""
    meaning: str = "number"
    low: float = float("nan")
    high: float = float("nan")
    sums: tuple[float, float] = (float("nan"), float("nan"))
    capabilities: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    devices: tuple[str, ...] = ()
    unstable: float = 0.0
    reseeded: float = 0.0
    stateful: float = 0.0
    coupled: float = 0.0
    mutates: tuple[str, ...] = ()
    least: int = 1
    fixed: int | None = None
    batch: int = 1
    costs: tuple[Pace, ...] = ()
    flops: float = float("nan")
    bytes: float = float("nan")
    flat: tuple[int, ...] | None = None
    training: str = "off"
    warnings: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        ranked = sorted(self.warnings, key=lambda caution: RANK[caution.severity])
        object.__setattr__(self, "warnings", tuple(ranked))

    @property
    def applicable(self) -> tuple[str, ...]:
        """The methods that apply."""
        return tuple(name for name, reason in self.methods.items() if not reason)

    @property
    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Why methods do not apply: reason → the methods it holds for, the most first."""
        found: dict[str, list[str]] = {}
        for name, reason in self.methods.items():
            if reason:
                found.setdefault(reason, []).append(name)
        return {reason: tuple(names) for reason, names in sorted(found.items(), key=lambda pair: -len(pair[1]))}

    def to_frame(self) -> pd.DataFrame:
        """A line for each method: whether it applies, and why not."""
        import pandas as pd

        lines = [{"method": name, "applies": not reason, "reason": reason} for name, reason in self.methods.items()]
        return pd.DataFrame(lines, columns=["method", "applies", "reason"])

    def text(self, language: str = "en") -> str:
        """The facts in plain sentences."""
        return drawing.draw("text", self, language=language)

    def _repr_html_(self) -> str:
        return drawing.draw("html", self)

    def __repr__(self) -> str:
        return f"Preflight of {self.model}\n{self.text()}{marked(self.warnings)}"

    # Keeping -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All of it as data."""
        return {
            **vars(self),
            "format": FORMAT,
            "costs": [vars(cost) for cost in self.costs],
            "warnings": [caution.to_dict() for caution in self.warnings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` gave after a trip through JSON; null is NaN again."""
        fields = {name: value for name, value in data.items() if name != "format"}
        for name in ("low", "high", "flops", "bytes"):
            fields[name] = _number(data[name])
        fields["sums"] = (_number(data["sums"][0]), _number(data["sums"][1]))
        fields["inputs"] = {
            name: (tuple(shape), dtype, device) for name, (shape, dtype, device) in data["inputs"].items()
        }
        for name in ("labels", "devices", "mutates"):
            fields[name] = tuple(data[name])
        fields["flat"] = None if data["flat"] is None else tuple(data["flat"])
        fields["costs"] = tuple(Pace(cost["batch"], _number(cost["seconds"])) for cost in data["costs"])
        fields["warnings"] = tuple(Caution.from_dict(caution) for caution in data["warnings"])
        return cls(**fields)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record to one ``.json`` file; :meth:`load` reads it back."""
        path = Path(path)
        path = path if path.suffix == ".json" else path.with_name(path.name + ".json")
        write_json(path, {"record": "preflight", **self.to_dict()})
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record written by :meth:`save`. Raises :class:`StoreError` for a damaged or foreign file."""
        data = read_json(path)
        if not isinstance(data, dict) or data.pop("record", None) != "preflight" or data.get("format") != FORMAT:
            raise StoreError("not a preflight, or one of another version", where=str(path))
        try:
            return cls.from_dict(data)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError("the preflight is damaged", where=str(path), why=str(error)) from error


def _number(value: float | None) -> float:
    return float(np.nan) if value is None else float(value)

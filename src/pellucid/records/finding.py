"""A finding: one sentence about the model, with the evidence behind it and how grave it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .messages import Severity, told


@dataclass(frozen=True, eq=False)
class Finding:
    """What a check of the model found.

    Attributes
    ----------
    check: the check's name, e.g. ``"performance"``.
    code, values: the message and what fills it (``catalogue/findings.toml``).
    metrics: figures, each ``name → (value, low, high)`` with a 95 % interval (NaN bounds where none is known).
    tables: name → list of rows (dicts), for tables per class and per slice.
    curves: name → ``Float64[points, 2]`` (x, y), for figures.
    part: the rows it speaks of: ``"test"``, or a slice such as ``"sex = female"``.
    """

    check: str
    code: str
    severity: Severity = "note"
    values: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    part: str = "test"
    rows: int = 0

    def text(self, language: str = "en") -> str:
        return told(f"findings.{self.code}", language, self.values)

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Read what :meth:`to_dict` gave after a trip through JSON; null is NaN again."""
        fields = dict(data)
        fields["metrics"] = {
            name: tuple(np.nan if v is None else float(v) for v in triple) for name, triple in data["metrics"].items()
        }
        fields["curves"] = {name: np.array(curve, dtype=np.float64) for name, curve in data["curves"].items()}
        return cls(**fields)

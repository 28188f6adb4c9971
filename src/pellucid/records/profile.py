"""The profile of a data set: how its columns are distributed and what looks suspicious."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .messages import Caution


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """One column's distribution.

    ``edges``/``counts`` are a histogram (numeric columns); ``categories``/``counts`` a count per
    category (others). ``quantiles`` are (min, 25 %, median, 75 %, max), NaN for non-numeric columns.
    ``by_label`` maps each label value to its own ``counts``.
    """

    name: str
    type: str
    rows: int
    missing: int
    distinct: int
    mean: float = float("nan")
    std: float = float("nan")
    quantiles: tuple[float, float, float, float, float] = (np.nan, np.nan, np.nan, np.nan, np.nan)
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    by_label: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Profile:
    """A data set's profile.

    ``correlation`` is ``Float64[c, c]`` over ``names``: Pearson between numbers, Cramér's V between
    categories, the correlation ratio between one of each. ``association`` is each feature's strength
    of association with the label, in the same measures (empty without a label).
    """

    rows: int
    splits: Mapping[str, int]
    columns: tuple[ColumnProfile, ...] = ()
    names: tuple[str, ...] = ()
    correlation: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    association: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    warnings: tuple[Caution, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "columns": [dict(vars(column)) for column in self.columns],
            "warnings": [caution.to_dict() for caution in self.warnings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Profile:
        """Read what :meth:`to_dict` gave after a trip through JSON."""
        fields = dict(data)
        fields["columns"] = tuple(_column(column) for column in data["columns"])
        size = len(data["names"])
        fields["names"] = tuple(data["names"])
        fields["correlation"] = np.array(data["correlation"], dtype=np.float64).reshape(size, size)
        fields["shape"] = tuple(data["shape"])
        fields["warnings"] = tuple(Caution.from_dict(caution) for caution in data["warnings"])
        return cls(**fields)


def _column(data: Mapping[str, Any]) -> ColumnProfile:
    def number(value: float | None) -> float:
        return float("nan") if value is None else float(value)

    fields = dict(data)
    fields["mean"], fields["std"] = number(data["mean"]), number(data["std"])
    fields["quantiles"] = tuple(number(value) for value in data["quantiles"])
    for name in ("edges", "categories", "counts"):
        fields[name] = tuple(data[name])
    fields["by_label"] = {key: tuple(counts) for key, counts in data["by_label"].items()}
    return ColumnProfile(**fields)

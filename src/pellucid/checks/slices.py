"""Parts of a table worth looking at on their own: the women, the young, those who own their home."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import UnknownName
from ..records.schema import Column

if TYPE_CHECKING:
    import pandas as pd


def slices(frame: pd.DataFrame, columns: Iterable[Column], most: int = 8) -> dict[str, np.ndarray]:
    """Name → ``Bool[N]`` for a table's rows, by the values of one column at a time.

    Features and protected columns are looked at (never the label). A numeric column is cut at its
    terciles, ``"age ≤ 33"``; any other has a slice for each of its ``most`` most frequent categories,
    ``"sex = female"``. Rows without a value are ``"sex = (missing)"``. A column with one value gives no slice.
    Raises :class:`UnknownName` for a column that the frame lacks.
    """
    import pandas as pd

    found: dict[str, np.ndarray] = {}
    for column in columns:
        if column.role == "label" or (column.role != "feature" and not column.protected):
            continue
        if column.name not in frame.columns:
            raise UnknownName.among("column", column.name, map(str, frame.columns))
        cells = pd.Series(frame[column.name])
        empty = cells.isna().to_numpy(dtype=bool)
        parts = _terciles(column, cells, empty) if column.type == "numeric" else _categories(column, cells, empty, most)
        if empty.any():
            parts[f"{column.name} = (missing)"] = empty
        if len(parts) > 1:
            found |= parts
    return found


def _terciles(column: Column, cells: pd.Series, empty: np.ndarray) -> dict[str, np.ndarray]:
    values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    if empty.all():
        return {}
    edges = np.unique(np.quantile(values[~empty], (1 / 3, 2 / 3), method="inverted_cdf"))
    edges = edges[edges < values[~empty].max()]  # nothing lies above the largest value
    unit = f" {column.unit}" if column.unit else ""
    shown = [f"{edge:.6g}{unit}" for edge in edges]
    parts = {}
    for place in range(len(edges) + 1):
        above = values > edges[place - 1] if place else ~empty
        below = values <= edges[place] if place < len(edges) else ~empty
        parts[_between(column.name, shown, place)] = above & below
    return parts


def _between(name: str, edges: list[str], place: int) -> str:
    if not edges:
        return f"{name} ≠ (missing)"
    if place == 0:
        return f"{name} ≤ {edges[0]}"
    return f"{name} > {edges[-1]}" if place == len(edges) else f"{edges[place - 1]} < {name} ≤ {edges[place]}"


def _categories(column: Column, cells: pd.Series, empty: np.ndarray, most: int) -> dict[str, np.ndarray]:
    import pandas as pd

    codes, values = pd.factorize(cells.to_numpy(dtype=object))
    names = np.array([_text(value) for value in values], dtype=object)
    codes = np.where(empty, -1, codes)
    counts = {name: int(np.isin(codes, np.flatnonzero(names == name)).sum()) for name in sorted(set(names))}
    frequent = sorted(counts, key=lambda name: -counts[name])[:most]
    order = [name for name in column.categories if name in frequent]
    order += [name for name in frequent if name not in order]
    return {f"{column.name} = {name}": np.isin(codes, np.flatnonzero(names == name)) for name in order}


def _text(value: Any) -> str:
    """A cell as a schema writes its categories: whole numbers without a point."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)

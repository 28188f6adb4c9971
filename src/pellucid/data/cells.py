"""What a cell of a table says: nothing, a number or a text, however it was stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..records.errors import InputError, shorten

if TYPE_CHECKING:
    import pandas as pd

MISSING_WORDS = frozenset(
    ["", "#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)
TRUTH_WORDS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"))
LARGEST_EXACT = 2**53
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column of a table whose names are all different."""
    column = frame[name]
    assert column.ndim == 1, "checked by whoever took the table in"
    return cast("pd.Series", column)


def missing(values: pd.Series) -> np.ndarray:
    """Which cells hold nothing: NaN, None, NaT, or one of the words that stand for it (``Bool[N]``)."""
    return distinct(values)[0] < 0 if is_text(values) else values.isna().to_numpy(dtype=bool)


def distinct(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """The different cells as text, and for each row the position among them, ``Int64[N]``, -1 where missing.

    Work is done once per different cell and not once per row. Raises InputError for cells that hold
    lists, dicts or the like.
    """
    import pandas as pd

    try:
        codes, found = pd.factorize(values.to_numpy() if values.dtype == object else values)  # no index is made
    except TypeError as error:
        raise InputError(
            f"column {shorten(values.name)!r}: a cell holds neither a number nor a text", why=shorten(error, 200)
        ) from error
    found = np.asarray(found, dtype=object)
    gone = np.array([isinstance(cell, str) and cell in MISSING_WORDS for cell in found], dtype=bool)
    if gone.any():
        kept = np.where(gone, -1, np.cumsum(~gone) - 1)
        codes, found = np.where(codes < 0, -1, kept[codes]), found[~gone]
    return codes, [text_of(cell) for cell in found]


def is_text(values: pd.Series) -> bool:
    """Whether the cells may be texts (as opposed to a numeric, boolean or date type)."""
    from pandas.api import types

    return types.is_object_dtype(values.dtype) or types.is_string_dtype(values.dtype)


def text_of(cell: Any) -> str:
    """A cell as text; a whole number is written without a point, so that 1, 1.0 and "1" agree."""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def as_text(values: pd.Series) -> np.ndarray:
    """The cells as text, ``Object[N]``, None where missing."""
    codes, found = distinct(values)
    return np.array([*found, None], dtype=object)[codes]


def as_numbers(
    values: pd.Series, empty: np.ndarray, decimal: str | None = None, thousands: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The cells as numbers, ``Float64[N]`` with NaN where missing, and which cells are no numbers, ``Bool[N]``."""
    import pandas as pd
    from pandas.api import types

    if types.is_numeric_dtype(values.dtype) or types.is_bool_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan).copy()
        numbers[empty] = np.nan
        return numbers, np.zeros(len(values), dtype=bool)
    codes, found = pd.factorize(values.to_numpy(dtype=object))
    parsed = [_number(cell, decimal, thousands) for cell in found]
    numbers = np.array([*(np.nan if number is None else number for number in parsed), np.nan])[codes]
    bad = np.array([*(number is None for number in parsed), False])[codes] & ~empty
    numbers[empty] = np.nan
    return numbers, bad


def _number(cell: Any, decimal: str | None, thousands: str | None) -> float | None:
    if isinstance(cell, str):
        if thousands:
            cell = cell.replace(thousands, "")
        if decimal and decimal != ".":
            if "." in cell:
                return None
            cell = cell.replace(decimal, ".")
        if "_" in cell:  # Python would read 1_000 as a number
            return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def rows_named(labels: Sequence[Any] | np.ndarray, first: int = 3) -> str:
    """The first rows of a list, for a message: ``row 3`` or ``first rows 3, 9, 14``."""
    shown = ", ".join(str(label) for label in labels[:first])
    if len(labels) == 1:
        return f"row {shown}"
    return f"first rows {shown}" if len(labels) > first else f"rows {shown}"

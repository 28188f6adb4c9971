"""What each column of a table is: numeric, boolean, categorical, ordinal, text, an id, or not usable as it stands.

Nothing is guessed silently. A column that reads 1,5 or mixes numbers with words is refused with
the argument that settles it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, NotFiniteError, shorten
from ..records.schema import Column, Role
from . import cells
from .cells import rows_named
from .texts import looks_like_text

if TYPE_CHECKING:
    import pandas as pd

    from .schema_file import ColumnSettings

DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
BOTH_MARKS = re.compile(r"\s*[+-]?\d{1,3}(\.\d{3})+,\d+\s*")
THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
ID_NAME = re.compile(r"(^|[_\s.-])(id|ids|uuid|guid|key|index|idx)$", re.IGNORECASE)
ID_NAME_CAMEL = re.compile(r"[a-z]I[dD]$")
NOT_CELLS = (list, tuple, dict, set, np.ndarray, bytes)
FEWEST_FOR_ID = 20
MIXED_SHARE = 0.8  # from this share of numbers on, the words among them are taken for faults
MIXED_DISTINCT = 10  # ... unless there are so few values that they are categories, as in 0, 1, 2, 3+


@dataclass(frozen=True)
class Style:
    """How numbers are written in the file; None is the usual 1234.5."""

    decimal: str | None = None
    thousands: str | None = None


@dataclass(frozen=True, eq=False)
class Understood:
    """One column: its description, and its cells in the type that the description promises."""

    column: Column
    values: np.ndarray


def understand(
    name: str, values: pd.Series, where: str, style: Style, role: Role, said: ColumnSettings | None
) -> Understood:
    """Describe one column and bring its cells into one type.

    ``said`` is what a person declared; it wins over what the cells look like, and cells that
    contradict it are an InputError with their rows.
    """
    values = _plain(name, values, where)
    empty = cells.missing(values)
    if role in ("id", "ignored") and (said is None or said.type is None):
        return Understood(_column(name, "categorical", role, empty, said), cells.as_text(values))
    kind = said.type if said is not None else None
    if kind == "text" or (kind is None and role == "feature" and looks_like_text(values.to_numpy(dtype=object), empty)):
        return _as_texts(name, values, role, said)
    if kind in (None, "numeric"):
        numeric = _as_numeric(name, values, empty, where, style, role, said)
        if numeric is not None:
            return numeric
    if kind == "boolean":
        return _as_boolean(name, values, empty, where, role, said)
    if kind is None and _truth_words(values):
        return _as_boolean(name, values, empty, where, role, said)
    return _as_categories(name, values, empty, where, role, said)


def looks_like_id(name: str, values: pd.Series) -> bool:
    """Whether a column only tells rows apart: named like an id, every cell filled and different, no fractions."""
    if not (ID_NAME.search(name) or ID_NAME_CAMEL.search(name)) or len(values) < FEWEST_FOR_ID:
        return False
    if values.isna().any() or values.dtype.kind == "f":
        return False
    texts = values.astype(str)
    return texts.nunique() == len(values) and not texts.isin(list(cells.MISSING_WORDS)).any()


def _plain(name: str, values: pd.Series, where: str) -> pd.Series:
    """The column without pandas' own types; dates and objects are refused by name."""
    import pandas as pd
    from pandas.api import types

    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if types.is_datetime64_any_dtype(values.dtype) or types.is_timedelta64_dtype(values.dtype):
        raise InputError(
            f"column {shorten(name)!r} holds dates",
            where=where,
            fix="turn it into a number (days since a day), or drop the column",
        )
    if types.is_complex_dtype(values.dtype):
        raise InputError(f"column {shorten(name)!r} holds complex numbers", where=where, fix="give their size or part")
    if cells.is_text(values):
        kinds = [type(cell) for cell in values.to_numpy(dtype=object)]
        odd = next((kind for kind in set(kinds) if issubclass(kind, NOT_CELLS)), None)
        if odd is not None:
            row = values.index[kinds.index(odd)]
            raise InputError(f"column {shorten(name)!r}, row {row}: a cell holds a {odd.__name__}", where=where)
    return values


def _column(name: str, kind: Any, role: Role, empty: np.ndarray, said: ColumnSettings | None, **more: Any) -> Column:
    if said is not None:
        more |= {
            "unit": said.unit,
            "protected": said.protected,
            "immutable": said.immutable,
            "description": said.description,
        }
    return Column(name, kind, role, missing=int(empty.sum()), **more)


def _as_numeric(
    name: str, values: pd.Series, empty: np.ndarray, where: str, style: Style, role: Role, said: ColumnSettings | None
) -> Understood | None:
    """The column as numbers (0 and 1 alone: as boolean), or None when it holds something else."""
    declared = said is not None and said.type == "numeric"
    if values.dtype.kind == "b" and not declared:
        return None
    numbers, bad = cells.as_numbers(values, empty, style.decimal, style.thousands)
    if bad.any():
        _refuse_near_numbers(name, values, empty, bad, where, style, declared)
        return None
    if not declared and not empty.all() and _all_bools(values, empty):
        return None
    _refuse_unbounded(name, numbers, values.index, where)
    _refuse_inexact(name, values, numbers, where)
    given = numbers[~empty]
    low, high = (float(given.min()), float(given.max())) if len(given) else (None, None)
    if said is not None and said.range is not None:
        _refuse_outside(name, numbers, values.index, where, said.range)
        low, high = said.range
    whole = not empty.any() and bool((given == np.floor(given)).all()) and _written_whole(values)
    kept = numbers.astype(np.int64) if whole else numbers
    if not declared and set(np.unique(given).tolist()) == {0.0, 1.0}:
        return Understood(_column(name, "boolean", role, empty, said, categories=("0", "1")), kept)
    return Understood(_column(name, "numeric", role, empty, said, low=low, high=high), kept)


def _all_bools(values: pd.Series, empty: np.ndarray) -> bool:
    cells_given = values.to_numpy(dtype=object)[~empty]
    return cells.is_text(values) and all(isinstance(cell, (bool, np.bool_)) for cell in cells_given)


def _written_whole(values: pd.Series) -> bool:
    """Whether the numbers were whole in the file too: 1.0 stays a float."""
    if cells.is_text(values):
        return not any("." in str(cell) or "e" in str(cell).lower() for cell in values)
    return values.dtype.kind in "iu"


def _refuse_near_numbers(
    name: str, values: pd.Series, empty: np.ndarray, bad: np.ndarray, where: str, style: Style, declared: bool
) -> None:
    """Raise when the cells that are no numbers look like numbers written another way, or like faults."""
    texts = [str(cell) for cell in values.loc[bad].unique()]
    column, example = f"column {shorten(name)!r}", shorten(texts[0], 30)
    filled = int((~empty).sum())
    thousands = sum(bool(THOUSANDS.fullmatch(text)) for text in texts)
    commas = sum(bool(DECIMAL_COMMA.fullmatch(text) or BOTH_MARKS.fullmatch(text)) for text in texts)
    most = 0.9 * len(texts)
    if style == Style() and max(thousands, commas) >= most:
        both = any(BOTH_MARKS.fullmatch(text) for text in texts)
        fix = "pass decimal=','" + (" and thousands='.'" if both else "")
        if thousands >= most:
            fix = "pass thousands=','" + (", or decimal=',' if the comma is a decimal one" if commas >= most else "")
        raise InputError(f"{column}: the numbers are written with a comma, e.g. {example!r}", where=where, fix=fix)
    distinct = values.loc[~empty & ~bad].nunique()
    mixed = bad.sum() <= (1 - MIXED_SHARE) * filled and distinct > MIXED_DISTINCT
    if declared or mixed:
        rows = values.index.to_numpy()[bad]
        raise InputError(
            f"{column}: {int(bad.sum())} of {filled} cells are no numbers, e.g. {example!r} ({rows_named(rows)})",
            where=where,
            fix="repair these cells, leave them empty, or declare the column categorical in schema=",
        )


def _refuse_unbounded(name: str, numbers: np.ndarray, index: pd.Index, where: str) -> None:
    for fault, kind in ((np.isinf(numbers), "infinite values"), (np.abs(numbers) > cells.LARGEST_FLOAT32, "values")):
        if fault.any():
            more = "" if kind != "values" else " beyond the largest 32-bit float"
            rows = index.to_numpy()[fault]
            raise NotFiniteError(
                f"column {shorten(name)!r}: {int(fault.sum())} {kind}{more} in {len(numbers):,} rows"
                f" ({rows_named(rows)})",
                where=where,
                fix="repair these cells or leave them empty",
            )


def _refuse_inexact(name: str, values: pd.Series, numbers: np.ndarray, where: str) -> None:
    """Whole numbers beyond 2**53 are ids that a float would change."""
    large = np.flatnonzero(np.abs(numbers) >= cells.LARGEST_EXACT)
    for place in large.tolist():
        cell = values.iloc[place]
        if isinstance(cell, (int, np.integer)) or (isinstance(cell, str) and cell.strip().lstrip("+-").isdigit()):
            if abs(int(cell)) == cells.LARGEST_EXACT:
                continue
            raise InputError(
                f"column {shorten(name)!r}, row {values.index[place]}: the whole number {shorten(cell)} loses digits"
                " as a float (it is beyond 2**53)",
                where=where,
                fix=f"if it is an id, pass id={name!r}; else store it as text or give it role: ignored in schema=",
            )


def _refuse_outside(name: str, numbers: np.ndarray, index: pd.Index, where: str, bounds: tuple[float, float]) -> None:
    outside = (numbers < bounds[0]) | (numbers > bounds[1])
    if outside.any():
        rows = index.to_numpy()[outside]
        raise InputError(
            f"column {shorten(name)!r}: {int(outside.sum())} values outside the declared range"
            f" {bounds[0]:g} to {bounds[1]:g} ({rows_named(rows)})",
            where=where,
            fix="repair these cells, or change the range in schema=",
        )


def _truth_words(values: pd.Series) -> tuple[str, str] | None:
    """The two words in their order (false, true), as the column writes them."""
    found = cells.distinct(values)[1]
    if len(found) != 2 or len({word.casefold() for word in found}) != 2:
        return None
    by_meaning = {word.casefold().strip(): word for word in found}
    for false, true in cells.TRUTH_WORDS:
        if set(by_meaning) == {false, true}:
            return by_meaning[false], by_meaning[true]
    return None


def _as_boolean(
    name: str, values: pd.Series, empty: np.ndarray, where: str, role: Role, said: ColumnSettings | None
) -> Understood:
    texts = cells.as_text(values)
    words = said.categories if said is not None and said.categories else _truth_words(values)
    if not words:
        found = sorted(set(texts[~empty].tolist()))
        words = (
            ("0", "1") if set(found) <= {"0", "1"} else ("False", "True") if set(found) <= {"False", "True"} else None
        )
        if words is None:
            raise InputError(
                f"column {shorten(name)!r} is declared boolean and holds {_listed(found)}",
                where=where,
                fix="name its two values in schema=, the one that means no first: categories: [no, yes]",
            )
    _refuse_unknown(name, texts, empty, values.index, where, tuple(words))
    column = _column(name, "boolean", role, empty, said, categories=tuple(words))
    if values.dtype.kind in "biu":
        return Understood(column, values.to_numpy())
    return Understood(column, texts)


def _as_texts(name: str, values: pd.Series, role: Role, said: ColumnSettings | None) -> Understood:
    """The cells as they are written: a text may well be the word "none"."""
    empty = values.isna().to_numpy(dtype=bool)
    texts = np.array([None if gone else str(cell) for cell, gone in zip(values, empty, strict=True)], dtype=object)
    blank = np.array([text is None or not text.strip() for text in texts])
    return Understood(_column(name, "text", role, blank, said), texts)


def _as_categories(
    name: str, values: pd.Series, empty: np.ndarray, where: str, role: Role, said: ColumnSettings | None
) -> Understood:
    texts = cells.as_text(values)
    found, counts = np.unique(texts[~empty].astype(object), return_counts=True)
    by_frequency = tuple(found[np.argsort(-counts, kind="stable")].tolist())
    kind = "categorical"
    if said is not None:
        kind = said.type or kind
        if said.categories:
            _refuse_unknown(name, texts, empty, values.index, where, said.categories)
            by_frequency = said.categories
    return Understood(_column(name, kind, role, empty, said, categories=by_frequency), texts)


def _refuse_unknown(
    name: str, texts: np.ndarray, empty: np.ndarray, index: pd.Index, where: str, known: tuple[str, ...]
) -> None:
    allowed = set(known)
    strange = np.array([text not in allowed for text in texts]) & ~empty
    if strange.any():
        first = texts[strange][0]
        raise InputError(
            f"column {shorten(name)!r}: {int(strange.sum())} cells are not among the declared values, e.g."
            f" {shorten(first, 30)!r} ({rows_named(index.to_numpy()[strange])})",
            where=where,
            why=f"declared: {_listed(known)}",
            fix="repair these cells, or add the value in schema=",
        )


def _listed(names: Any, most: int = 20) -> str:
    names = list(names)
    shown = ", ".join(repr(shorten(name, 30)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

"""Tables for functions that want tables: cells of any kind as float64 numbers, and the same cells back.

The engine moves numbers; a black box that was written for DataFrames needs names, texts, dates and types. Numbers stay
themselves; any other cell has a code that depends on the cell alone, so that a row is the same row in every table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import EncodingError, InputError, shorten
from .cells import column_of, rows_named
from .encoding import frame_of

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53
"""Beyond it float64 skips whole numbers."""


@dataclass(eq=False)
class _Column:
    """One column: its label in the table, its type, and what each code stands for; ``coded`` is False for numbers."""

    label: Any
    dtype: Any
    type: str
    cells: dict[float, Any] = field(default_factory=dict)

    @property
    def coded(self) -> bool:
        return self.type == "categorical"


@dataclass(frozen=True, eq=False)
class FrameCodes:
    """How the cells of a table with these columns become numbers, and back; it learns codes as it meets cells."""

    columns: dict[str, _Column]
    reads_arrays = True

    @classmethod
    def of(cls, frame: pd.DataFrame, blanks: bool = False) -> FrameCodes:
        """The columns of a table, in its order. Raises :class:`InputError` where two have one name, or none is there.

        A column in which all cells are missing may be one of anything; one of numbers where ``blanks`` among numbers
        have a meaning.
        """
        names = [str(label) for label in frame.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"two columns are named {shorten(twice)!r}", fix="rename one of them")
        if not names:
            raise InputError("the table has no columns")
        columns = [_column(label, frame.iloc[:, place], blanks) for place, label in enumerate(frame.columns)]
        return cls(dict(zip(names, columns, strict=True)))

    @property
    def groups(self) -> dict[str, list[int]]:
        return {name: [place] for place, name in enumerate(self.columns)}

    @property
    def types(self) -> dict[str, str]:
        return {name: column.type for name, column in self.columns.items()}

    @property
    def width(self) -> int:
        return len(self.columns)

    @property
    def plain(self) -> bool:
        """Whether all columns are numbers, which an array could hold as well."""
        return not any(column.coded for column in self.columns.values())

    def encode(self, rows: Any) -> np.ndarray:
        """A table ``[N, n]`` as ``Float64[N, n]``; columns are found by name, further ones left out.

        Raises :class:`EncodingError` for a missing column, :class:`InputError` for texts in a column of numbers.
        """
        if hasattr(rows, "set_axis"):
            rows = rows.set_axis([str(label) for label in rows.columns], axis=1)
        frame = frame_of(rows, tuple(self.columns))
        out = np.empty((len(frame), self.width))
        for place, (name, column) in enumerate(self.columns.items()):
            cells = column_of(frame, name)
            out[:, place] = _codes(column, cells) if column.coded else _numbers(name, cells)
        return out

    def decode(self, array: np.ndarray) -> pd.DataFrame:
        """Numbers ``[b, n]`` as a table of the columns' own types.

        Whole numbers stay so unless one in between is asked for. Raises :class:`EncodingError` for a number that
        stands for no cell.
        """
        import pandas as pd

        array = np.asarray(array, dtype=np.float64)
        columns = {
            place: _cells(name, column, array[:, place]) for place, (name, column) in enumerate(self.columns.items())
        }
        frame = pd.DataFrame(columns)
        return frame.set_axis([column.label for column in self.columns.values()], axis=1)


def _column(label: Any, cells: pd.Series, blanks: bool) -> _Column:
    kind = cells.dtype.kind if isinstance(cells.dtype, np.dtype) else "O"
    if kind == "f" and cells.isna().all() and not blanks:
        return _Column(label, np.dtype(object), "categorical")
    whole = kind in "iu" and len(cells) > 0 and max(abs(int(cells.min())), abs(int(cells.max()))) > EXACT
    types = {"b": "boolean"} | dict.fromkeys("" if whole else "iuf", "numeric")
    return _Column(label, cells.dtype, types.get(kind, "categorical"))


def _numbers(name: str, cells: pd.Series) -> np.ndarray:
    try:
        return cells.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        strange = [place for place, cell in enumerate(cells) if not isinstance(cell, (int, float, np.number))]
        raise InputError(
            f"column `{shorten(name)}` holds numbers in the explained rows and "
            f"{shorten(repr(cells.iloc[strange[0]]) if strange else cells.dtype)} here",
            where=rows_named(cells.index.to_numpy()[strange]) if strange else "",
            fix="give both with the same types",
        ) from error


def _codes(column: _Column, cells: pd.Series) -> np.ndarray:
    """A code for each cell: 52 bits of the hash of its type and text, so that it depends on nothing else."""
    found: dict[Any, float] = {}
    codes = np.empty(len(cells))
    for place, cell in enumerate(cells):
        key = (type(cell).__name__, repr(cell))
        if key not in found:
            digest = blake2b("\0".join(key).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            found[key] = float(int.from_bytes(digest, "little") >> 12)
            column.cells[found[key]] = cell
        codes[place] = found[key]
    return codes


def _cells(name: str, column: _Column, numbers: np.ndarray) -> Any:
    """The cells of one column that ``numbers`` ``[b]`` stand for."""
    import pandas as pd

    if not column.coded:
        with np.errstate(invalid="ignore"):
            kept = numbers.astype(column.dtype)
        whole = column.dtype.kind in "iub"
        return kept if not whole or np.array_equal(kept.astype(np.float64), numbers) else numbers
    codes, places = np.unique(numbers, return_inverse=True)
    lost = [code for code in codes.tolist() if code not in column.cells]
    if lost:
        raise EncodingError(
            f"column `{shorten(name)}` holds no cell that {lost[0]:g} could stand for",
            why="its cells are no numbers, so none lies between two of them and none is zero",
            fix="say what stands for an absent cell with rows of the same table: background=rows",
        )
    cells = np.empty(len(codes), dtype=object)
    cells[:] = [column.cells[code] for code in codes.tolist()]
    made = pd.Series(cells[places], dtype=object)
    if not isinstance(column.dtype, pd.CategoricalDtype) or set(made.dropna()) <= set(column.dtype.categories):
        return made.astype(column.dtype)
    return made

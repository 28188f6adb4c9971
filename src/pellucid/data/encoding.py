"""How raw rows of a table become the numbers that one network eats, and back.

An encoding is fitted once, on the train rows, and kept beside the weights as a small JSON file.
Columns are matched by name, so their order does not matter and extra ones are left alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..records.errors import EncodingError, InputError, NotFiniteError, UnknownName, shorten
from ..records.files import read_json, write_json
from ..records.messages import Caution
from ..records.schema import Column, ColumnType
from . import cells
from .cells import column_of, rows_named
from .dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd

Numbers = Literal["standardise", "minmax", "none"]
MISSING = "missing"
MOST_ELEMENTS = 10**5


@dataclass(frozen=True)
class ColumnCode:
    """How one raw column becomes input elements.

    numeric and ordinal: ``(value - center) / scale``; the value of an ordinal cell is its position in
    ``categories``. boolean: 0 or 1, ``categories`` being (false, true). categorical: one element per
    category. ``empty`` says that train had missing cells: then one more element is 1 where the cell
    is missing, and a number is replaced by ``fill``.
    """

    name: str
    type: ColumnType
    center: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    categories: tuple[str, ...] = ()
    empty: bool = False
    whole: bool = False
    unit: str = ""

    @property
    def width(self) -> int:
        return (len(self.categories) if self.type == "categorical" else 1) + int(self.empty)

    @property
    def elements(self) -> tuple[str, ...]:
        """The names of the input elements, in order."""
        names = [f"{self.name}={value}" for value in self.categories] if self.type == "categorical" else [self.name]
        return (*names, f"{self.name}={MISSING}") if self.empty else tuple(names)


@dataclass(frozen=True)
class Encoding:
    """The columns of a table, in the order of the network's inputs."""

    columns: tuple[ColumnCode, ...]
    numbers: Numbers = "standardise"

    @classmethod
    def fit(cls, data: Dataset, numbers: Numbers = "standardise") -> Encoding:
        """Learn the encoding of the feature columns from the **train rows** of ``data`` only.

        Parameters
        ----------
        numbers: "standardise" to mean 0 and standard deviation 1, "minmax" to 0…1, or "none".

        Raises InputError for arrays, no feature columns or no train rows.
        """
        if numbers not in get_args(Numbers):
            raise UnknownName.among("scaling of numbers", str(numbers), get_args(Numbers))
        if data.schema is None:
            raise InputError("an Encoding is for tables", fix="use an ImageEncoding, or a SeriesEncoding")
        _refuse_texts(data)
        train = data.train
        if len(train) == 0 or not data.schema.features:
            missing = "train rows" if len(train) == 0 else "feature columns"
            raise InputError(f"an encoding cannot be learned without {missing}")
        frame = train.frame
        codes = tuple(_fit_column(column_of(frame, column.name), column, numbers) for column in data.schema.features)
        width = sum(code.width for code in codes)
        if width > MOST_ELEMENTS:
            widest = max(codes, key=lambda code: code.width)
            raise InputError(
                f"the network would have {width:,} inputs; column {shorten(widest.name)!r} alone has"
                f" {len(widest.categories):,} categories",
                fix="give the column role: ignored or role: id in schema=",
            )
        return cls(codes, numbers)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Raw column → positions of its input elements."""
        ends = np.cumsum([code.width for code in self.columns]).tolist()
        return {code.name: list(range(end - code.width, end)) for code, end in zip(self.columns, ends, strict=True)}

    @property
    def types(self) -> dict[str, str]:
        """Raw column → numeric, categorical, ordinal or boolean."""
        return {code.name: code.type for code in self.columns}

    @property
    def elements(self) -> tuple[str, ...]:
        """The names of the D input elements, such as ``age`` or ``purpose=car``."""
        return tuple(name for code in self.columns for name in code.elements)

    @property
    def width(self) -> int:
        """D, how many numbers the network gets."""
        return sum(code.width for code in self.columns)

    def encode(self, rows: Any) -> np.ndarray:
        """Raw rows as ``Float32[N, D]``.

        ``rows`` is a DataFrame, a Dataset, one dict or a list of dicts. A category that was not seen
        in training gives zeros (see :meth:`unseen`). Raises EncodingError for a missing column, and
        InputError, with the rows, for a missing cell where training had none and for a cell of the
        wrong kind. Rows are called by the frame's own index.
        """
        return self._encoded(rows, gaps=False)

    def with_gaps(self, rows: Any) -> np.ndarray:
        """The same, with NaN for a missing number where training had none."""
        return self._encoded(rows, gaps=True)

    def _encoded(self, rows: Any, gaps: bool) -> np.ndarray:
        frame = self._frame(rows)
        out = np.zeros((len(frame), self.width), dtype=np.float32)
        for code in self.columns:
            at = self.groups[code.name]
            _encode_column(code, column_of(frame, code.name), out[:, at[0] : at[-1] + 1], gaps)
        return out

    def decode(self, array: np.ndarray) -> pd.DataFrame:
        """Network inputs ``Float[N, D]`` as raw rows; None where no category is on, or the cell was missing."""
        import pandas as pd

        array = np.asarray(array, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.width:
            raise EncodingError(f"expected an array [N, {self.width}], got {list(array.shape)}")
        parts = {code.name: _decode_column(code, array[:, self.groups[code.name]]) for code in self.columns}
        return pd.DataFrame(parts)

    def unseen(self, rows: Any) -> dict[str, int]:
        """Column → how many cells hold a category that was not seen in training; columns without any are left out."""
        frame = self._frame(rows)
        found: dict[str, int] = {}
        for code in self.columns:
            if code.type in ("categorical", "ordinal"):
                places, empty = _positions(code, column_of(frame, code.name))
                count = int(((places < 0) & ~empty).sum())
                if count:
                    found[code.name] = count
        return found

    def cautions(self, rows: Any) -> tuple[Caution, ...]:
        """The cells that :meth:`unseen` counts, as cautions for a record."""
        return tuple(Caution.of("unseen_category", column=name, rows=n) for name, n in self.unseen(rows).items())

    def to_dict(self) -> dict[str, Any]:
        columns = [{**vars(code), "categories": list(code.categories)} for code in self.columns]
        return {"kind": "table", "version": 1, "numbers": self.numbers, "columns": columns}

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> Encoding:
        """Read what :meth:`to_dict` gave. Raises EncodingError naming the field that is wrong."""
        from .encoding_file import TableFile, validated

        file = validated(TableFile, data, where)
        return cls(tuple(ColumnCode(**dict(column)) for column in file.columns), file.numbers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoding as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Encoding:
        """Read what :meth:`save` wrote. Raises StoreError or EncodingError naming the file."""
        return cls.from_dict(read_json(path), str(path))

    def _frame(self, rows: Any) -> pd.DataFrame:
        return frame_of(rows, [code.name for code in self.columns])


def load_encoding(path: str | os.PathLike[str]) -> Any:
    """The encoding in a JSON file, by its field ``kind``: "table", "image", "series" or "vocabulary".

    Nothing is imported because the file names it. Raises EncodingError for another kind, StoreError
    for a damaged file.
    """
    from .images import ImageEncoding
    from .series_encoding import SeriesEncoding
    from .text_encoding import Vocabulary

    content = read_json(path)
    kind = content.get("kind") if isinstance(content, Mapping) else None
    kinds: dict[Any, Any] = {
        "table": Encoding,
        "image": ImageEncoding,
        "series": SeriesEncoding,
        "vocabulary": Vocabulary,
    }
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind].from_dict(content, str(path))
    raise EncodingError(
        f"the file holds no encoding of a known kind ({shorten(kind)!r})",
        where=str(path),
        fix="give a file that the save() of an Encoding, ImageEncoding, SeriesEncoding or Vocabulary wrote",
    )


def frame_of(rows: Any, names: Sequence[str]) -> pd.DataFrame:
    """Raw rows as a DataFrame with (at least) these columns; EncodingError names what is missing."""
    import pandas as pd

    if isinstance(rows, Dataset):
        rows = rows.frame
    if isinstance(rows, Mapping):
        rows = [rows]
    if isinstance(rows, (list, tuple)) and all(isinstance(row, Mapping) for row in rows):
        for place, row in enumerate(rows):
            _refuse_missing_columns(row, names, f"row {place}")
        rows = pd.DataFrame([{name: row[name] for name in names} for row in rows], columns=list(names))
    if not isinstance(rows, pd.DataFrame):
        raise EncodingError(
            f"raw rows are needed, with the names of their columns, not a {type(rows).__name__}",
            fix="give a DataFrame or a list of dicts; an array that is encoded already goes to the model as it is",
        )
    _refuse_missing_columns(rows.columns, names, "")
    if not rows.columns.is_unique:
        raise EncodingError("two columns have the same name", fix="rename one of them")
    return rows


def _refuse_missing_columns(present: Any, names: Sequence[str], where: str) -> None:
    lacking = [name for name in names if name not in present]
    if lacking:
        shown = ", ".join(repr(shorten(name, 30)) for name in lacking[:20])
        raise EncodingError(
            f"the network needs {'column' if len(lacking) == 1 else 'columns'} {shown}, which the rows lack",
            where=where,
            why=f"the rows have {', '.join(repr(shorten(name, 30)) for name in list(present)[:20])}",
            fix="add the missing columns; their order does not matter",
        )


def _refuse_texts(data: Dataset) -> None:
    written = next(
        (column.name for column in data.schema or () if column.role == "feature" and column.type == "text"), None
    )
    if written is not None:
        alone = "the network is then given the texts themselves"
        raise InputError(
            f"column {shorten(written)!r} holds free text, which an encoding of numbers and categories cannot keep",
            fix=f"read the data with text={written!r} ({alone}), or give the column role: ignored in schema="
            if not data.is_text
            else "give the network a tokenizer of its own, or wrap a function of a list of texts",
        )


def _fit_column(values: pd.Series, column: Column, numbers: Numbers) -> ColumnCode:
    empty = cells.missing(values)
    code = ColumnCode(column.name, column.type, empty=bool(empty.any()), unit=column.unit)
    if column.type == "boolean":
        return replace(code, categories=column.categories)
    if column.type == "categorical":
        seen = set(cells.distinct(values)[1])
        return replace(code, categories=tuple(value for value in column.categories if value in seen))
    if column.type == "ordinal":
        code = replace(code, categories=column.categories, whole=True)
        given = _positions(code, values)[0][~empty].astype(np.float64)
    else:
        code = replace(code, whole=values.dtype.kind in "iu")
        given = cells.as_numbers(values, empty)[0][~empty]
    if len(given) == 0:
        return code
    center, scale = 0.0, 1.0
    if numbers == "standardise":
        center, scale = float(given.mean()), float(given.std())
    elif numbers == "minmax":
        center, scale = float(given.min()), float(given.max() - given.min())
    # A constant column is centred only: dividing by a spread of zero, or of rounding, would blow it up.
    if scale <= 1e-12 * max(abs(center), 1.0):
        scale = 1.0
    return replace(code, center=center, scale=scale, fill=float(given.mean()))


def _encode_column(code: ColumnCode, values: pd.Series, out: np.ndarray, gaps: bool) -> None:
    """Fill the elements of one column, ``out Float32[N, width]``, which come as zeros."""
    if code.type == "numeric":
        empty = cells.missing(values)
        numbers = _finite(code, values, empty)
        numbers[empty] = code.fill if code.empty else np.nan
        out[:, 0] = (numbers - code.center) / code.scale
    elif code.type == "boolean":
        out[:, 0], empty = _truths(code, values)
    else:
        places, empty = _positions(code, values)
        if code.type == "categorical":
            rows = np.flatnonzero(places >= 0)
            out[rows, places[rows]] = 1.0
        else:
            steps = np.where(empty, code.fill, places)
            out[:, 0] = np.where((places >= 0) | empty, (steps - code.center) / code.scale, 0.0)
    if empty.any() and not (gaps and code.type == "numeric" and not code.empty):
        if not code.empty:
            raise _unexpected_missing(code, values, empty)
        out[empty, -1] = 1.0


def _unexpected_missing(code: ColumnCode, values: pd.Series, empty: np.ndarray) -> InputError:
    return InputError(
        f"column `{shorten(code.name)}`: {int(empty.sum())} NaN in {len(values):,} rows"
        f" ({rows_named(values.index.to_numpy()[empty])})",
        why="training had no missing cell here, so the network has no input that says so",
        fix="fill in or drop these cells, train with rows in which the column is missing"
        + (", or pass missing='impute-median' to pellucid.wrap or load" if code.type == "numeric" else ""),
    )


def _positions(code: ColumnCode, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Where each cell's category stands, ``Int64[N]`` (-1: missing or not seen in training); which are missing."""
    known = {name: place for place, name in enumerate(code.categories)}
    codes, found = cells.distinct(values)
    table = np.array([*(known.get(text, -1) for text in found), -1], dtype=np.int64)
    return table[codes], codes < 0


def _truths(code: ColumnCode, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """0 or 1 per cell, 0 where missing, and which are missing.

    Besides the words of training, True/False, yes/no and 1/0 are understood.
    """
    meaning = {word: place for pair in (*cells.TRUTH_WORDS, ("0", "1")) for place, word in enumerate(pair)}
    meaning |= {word.casefold().strip(): place for place, word in enumerate(code.categories)}
    codes, found = cells.distinct(values)
    strange = [place for place, text in enumerate(found) if text.casefold().strip() not in meaning]
    if strange:
        rows = values.index.to_numpy()[np.isin(codes, strange)]
        raise InputError(
            f"column `{shorten(code.name)}`: {shorten(found[strange[0]], 30)!r} is neither {code.categories[0]!r} nor"
            f" {code.categories[1]!r} ({rows_named(rows)})",
            fix="repair these cells",
        )
    table = np.array([*(meaning[text.casefold().strip()] for text in found), 0], dtype=np.float64)
    return table[codes], codes < 0


def _finite(code: ColumnCode, values: pd.Series, empty: np.ndarray) -> np.ndarray:
    numbers, bad = cells.as_numbers(values, empty)
    if bad.any():
        example = values.to_numpy(dtype=object)[bad][0]
        raise InputError(
            f"column `{shorten(code.name)}`: {int(bad.sum())} cells are no numbers, e.g. {shorten(example, 30)!r}"
            f" ({rows_named(values.index.to_numpy()[bad])})",
            fix="repair these cells",
        )
    wild = np.isinf(numbers) | (np.abs(numbers - code.center) / code.scale > cells.LARGEST_FLOAT32)
    if wild.any():
        raise NotFiniteError(
            f"column `{shorten(code.name)}`: {int(wild.sum())} infinite or too large values in {len(numbers):,} rows"
            f" ({rows_named(values.index.to_numpy()[wild])})",
            fix="repair or drop these rows",
        )
    return numbers


def _decode_column(code: ColumnCode, part: np.ndarray) -> Any:
    """The raw cells of one column from its elements ``Float64[N, width]``."""
    gone = part[:, -1] > 0.5 if code.empty else np.zeros(len(part), dtype=bool)
    if code.type == "categorical":
        return _decode_categories(code, part, gone)
    if code.type == "boolean":
        return _decode_truths(code, part[:, 0] > 0.5, gone)
    numbers = part[:, 0] * code.scale + code.center
    if code.type == "ordinal":
        places = np.clip(np.rint(numbers), 0, len(code.categories) - 1).astype(int)
        names = np.array(code.categories, dtype=object)[places]
        names[gone] = None
        return names
    if code.whole:
        numbers = np.rint(numbers)
        if not gone.any():
            return numbers.astype(np.int64)
    numbers[gone] = np.nan
    return numbers


def _decode_categories(code: ColumnCode, part: np.ndarray, gone: np.ndarray) -> np.ndarray:
    own = part[:, : len(code.categories)]
    names = np.full(len(part), None, dtype=object)
    if own.shape[1]:
        on = (own.max(axis=1) > 0) & ~gone
        names[on] = np.array(code.categories, dtype=object)[own.argmax(axis=1)[on]]
    return names


def _decode_truths(code: ColumnCode, truths: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Truth values as training wrote them: 0 and 1, True and False, or two words."""
    if code.categories == ("0", "1"):
        return np.where(gone, np.nan, truths) if gone.any() else truths.astype(np.int64)
    if code.categories == ("False", "True") and not gone.any():
        return truths
    words = np.array(code.categories, dtype=object)[truths.astype(int)]
    words[gone] = None
    return words

"""A data set: a table, texts or a stack of arrays with its labels, its splits and where it came from.

Nothing here changes anything: every selection is a new :class:`Dataset` that keeps the schema,
the labels, the ids and the row numbers of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.messages import Caution
from ..records.regions import Spans
from ..records.schema import Schema
from ..records.series import SeriesAxes
from .series import Series

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression", "tagging"]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """Where rows came from: the path as it was given ("" for a frame in memory) and the SHA-256 of the content."""

    path: str
    sha256: str


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows with their labels.

    Attributes
    ----------
    content: a DataFrame whose index is ``row_numbers``, or an array ``[N, ...]`` (images, series).
    schema: the columns of a table; None for arrays. Where the only feature is a column of free writing, the data are
        texts: ``features`` is then their list, and the other columns can still name slices.
    label: the name of the label column or array, None without one.
    task: "classification", "regression", or "tagging" where the label is a tag for each word (None without a label).
    labels: ``Int64[N]`` positions in ``classes``, or ``Float64[N]``; None without a label, and for tags.
    classes: the names of the classes, in the order of their positions; of tags the types of entities.
    ids: ``Str[N]``, the id column as text, else the row numbers.
    row_numbers: ``Int64[N]``, 1 for the first row of the file (the header is not counted).
    splits: ``Int8[N]``: 0 train, 1 validation, 2 test.
    source: path and SHA-256.
    groups: ``Str[N]``, rows that had to stay in one split, or None.
    evidence: the passages of each text that people marked, or None.
    words, tags: each text as the words it came as, and a tag for each of them; or None.
    axes: what the axes of an item are where the arrays are time series, else None.
    lengths: ``Int64[N]``, how many steps each series has where they differ, else None.
    filled: whether shorter series were filled up with zeros while they were read.
    mended: what was put right, or taken for granted, while the rows were read.
    """

    content: pd.DataFrame | np.ndarray
    schema: Schema | None
    label: str | None
    task: Task | None
    labels: np.ndarray | None
    classes: tuple[str, ...]
    ids: np.ndarray
    row_numbers: np.ndarray
    splits: np.ndarray
    source: Source
    groups: np.ndarray | None = None
    evidence: Spans | None = None
    words: tuple[tuple[str, ...], ...] | None = None
    tags: tuple[tuple[str, ...], ...] | None = None
    axes: SeriesAxes | None = None
    lengths: np.ndarray | None = None
    filled: bool = False
    mended: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        for name in ("labels", "ids", "row_numbers", "splits", "groups", "evidence", "words", "tags", "lengths"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != len(self.content):
                raise InputError(f"{name} has {len(values)} entries for {len(self.content)} rows")
            if name in ("evidence", "words", "tags"):
                continue
            kept = np.array(values)
            kept.flags.writeable = False
            object.__setattr__(self, name, kept)

    def __len__(self) -> int:
        return len(self.content)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {int((self.splits == code).sum())}" for code, name in enumerate(SPLITS))
        what = f"{len(self.schema.features)} columns" if self.schema else f"arrays of {self.shape}"
        what = "texts" if self.is_text else what
        return f"<Dataset {len(self)} rows ({parts}), {what}, label {shorten(self.label)}>"

    @property
    def is_text(self) -> bool:
        """Whether what a network sees of a row is one text."""
        return self.schema is not None and self.schema.is_text

    @property
    def is_table(self) -> bool:
        return self.schema is not None and not self.is_text

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what a network may see of a row: features, or channels of series; () for other arrays."""
        if self.schema is not None:
            return tuple(column.name for column in self.schema.features)
        return () if self.axes is None else self.axes.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item: ``(columns,)`` of features, that of one array, or ``()`` of a text."""
        if self.is_text:
            return ()
        if self.schema is not None:
            return (len(self.schema.features),)
        return tuple(self.content.shape[1:])

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the whole table, label and ids included. Raises InputError for arrays."""
        if isinstance(self.content, np.ndarray):
            raise InputError("these are arrays, not a table", fix="use .content for the arrays")
        return self.content.copy()

    @property
    def array(self) -> np.ndarray:
        """A copy of the arrays ``[N, ...]`` in the type of the file. Raises InputError for a table."""
        if not isinstance(self.content, np.ndarray):
            raise InputError("this is a table, not arrays", fix="use .frame for the table")
        return self.content.copy()

    @property
    def features(self) -> Any:
        """What a network may see: a DataFrame of the feature columns, ``Float32[N, ...]``, texts, or the Series."""
        if isinstance(self.content, np.ndarray):
            series = self.series
            return self.content.astype(np.float32) if series is None else series
        assert self.schema is not None
        if self.is_text:
            return self.content[self.schema.features[0].name].tolist()
        return self.content[[column.name for column in self.schema.features]].copy()

    @property
    def series(self) -> Series | None:
        """The arrays as the series they were said to be, ``Float32``; None for other data."""
        if self.axes is None or not isinstance(self.content, np.ndarray):
            return None
        return Series.of(self.content.astype(np.float32), self.axes, self.lengths, self.mended, self.filled)

    @property
    def train(self) -> Dataset:
        return self.part("train")

    @property
    def validation(self) -> Dataset:
        return self.part("validation")

    @property
    def test(self) -> Dataset:
        return self.part("test")

    def part(self, name: str) -> Dataset:
        """The rows of one split: "train", "validation" or "test"."""
        if name not in SPLITS:
            raise UnknownName.among("split", name, SPLITS)
        return self.take(np.flatnonzero(self.splits == SPLITS.index(name)))

    def take(self, rows: Any) -> Dataset:
        """The rows at these positions (0 is the first), in this order.

        Raises InputError for a position outside the data set.
        """
        places = np.atleast_1d(np.asarray(rows))
        if places.size == 0:
            places = places.astype(np.int64)
        if places.ndim != 1 or places.dtype.kind not in "iu":
            raise InputError("rows are taken by whole numbers", why=f"got {places.dtype} of shape {places.shape}")
        outside = places[(places < -len(self)) | (places >= len(self))]
        if len(outside):
            raise InputError(f"there is no row {int(outside[0])}: the data set has {len(self)} rows")
        content = self.content[places] if isinstance(self.content, np.ndarray) else self.content.iloc[places]
        return replace(
            self,
            content=content,
            labels=None if self.labels is None else self.labels[places],
            ids=self.ids[places],
            row_numbers=self.row_numbers[places],
            splits=self.splits[places],
            groups=None if self.groups is None else self.groups[places],
            evidence=None if self.evidence is None else self.evidence[places],
            words=None if self.words is None else tuple(self.words[int(place)] for place in places),
            tags=None if self.tags is None else tuple(self.tags[int(place)] for place in places),
            lengths=None if self.lengths is None else self.lengths[places],
        )

    def __getitem__(self, rows: Any) -> Dataset:
        """Rows by position, slice, list of positions or boolean mask; always a Dataset."""
        if isinstance(rows, slice):
            return self.take(np.arange(len(self))[rows])
        chosen = np.asarray(rows)
        if chosen.dtype != bool:
            return self.take(chosen)
        if chosen.shape != (len(self),):
            raise InputError(f"the mask has shape {chosen.shape} for {len(self)} rows")
        return self.take(np.flatnonzero(chosen))

    def slice(self, column: str, value: Any) -> Dataset:
        """The rows in which ``column`` equals ``value`` (None: the rows where it is missing).

        Numbers are compared as numbers, everything else as text. The label may be named, too, also
        for arrays. Raises UnknownName for a column, or a category, that the data lack.
        """
        if column == self.label and self.labels is not None and self.task == "classification":
            name = _text(value)
            if name not in self.classes:
                raise UnknownName.among(f"class of {shorten(column)!r}", name, self.classes)
            return self[self.labels == self.classes.index(name)]
        return self[self._equal(column, value)]

    def _equal(self, column: str, value: Any) -> np.ndarray:
        from .cells import as_text, column_of, missing

        if isinstance(self.content, np.ndarray) or self.schema is None:
            if column == self.label and self.labels is not None:
                return self.labels == float(value)
            raise UnknownName.among("column", column, [self.label] if self.label else [])
        described = self.schema[column]
        cells = column_of(self.content, column)
        empty = missing(cells)
        if value is None:
            return empty
        if described.type == "numeric":
            return cells.to_numpy(dtype=np.float64, na_value=np.nan) == _number(column, value)
        name = _text(value)
        if described.categories and name not in described.categories:
            raise UnknownName.among(f"value of {shorten(column)!r}", name, described.categories)
        return as_text(cells) == name


def _text(value: Any) -> str:
    from .cells import text_of

    return text_of(value)


def _number(column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"column {shorten(column)!r} holds numbers, and {shorten(value)!r} is none", fix="give a number"
        ) from None

"""The schema of a table: what each column is, in which units, and what it is there for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .errors import InputError, UnknownName, shorten

ColumnType = Literal["numeric", "categorical", "ordinal", "boolean", "text"]
Role = Literal["feature", "label", "id", "ignored"]


@dataclass(frozen=True)
class Column:
    """One raw column.

    Attributes
    ----------
    type: numeric, categorical, ordinal (``categories`` in their order), boolean, or text: free writing, mostly
        different from row to row.
    unit: the unit to print behind a value, e.g. ``"DM"``.
    low, high: the range met in (or declared for) the data; None where it does not apply.
    categories: the known categories as text, in order of frequency (ordinal: in their own order).
    missing: how many cells were empty when the schema was inferred.
    protected, immutable: may not decide; cannot be changed by the person it describes.
    """

    name: str
    type: ColumnType
    role: Role = "feature"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    missing: int = 0
    protected: bool = False
    immutable: bool = False
    description: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Column:
        return cls(**{**data, "categories": tuple(data.get("categories", ()))})


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    columns: tuple[Column, ...] = field(default=())

    def __post_init__(self) -> None:
        counts = Counter(column.name for column in self.columns)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise InputError(
                f"the column name {shorten(twice[0])!r} is used more than once", fix="rename one of the columns"
            )

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownName.among("column", name, [column.name for column in self.columns])

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that a network may see."""
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def is_text(self) -> bool:
        """Whether the only feature is a column of free writing."""
        return [column.type for column in self.features] == ["text"]

    @property
    def label(self) -> Column | None:
        return next((column for column in self.columns if column.role == "label"), None)

    @property
    def protected(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.protected)

    def changed(self, name: str, **fields: Any) -> Schema:
        """A schema in which one column's fields are replaced."""
        new = replace(self[name], **fields)
        return Schema(tuple(new if column.name == name else column for column in self.columns))

    def to_dict(self) -> dict[str, Any]:
        return {"columns": [column.to_dict() for column in self.columns]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Schema:
        return cls(tuple(Column.from_dict(column) for column in data["columns"]))

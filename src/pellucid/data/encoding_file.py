"""What an encoding's JSON file may hold; anything else is refused with the field that is wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..records.errors import EncodingError, shorten

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CodeFile(_Strict):
    """One column; see :class:`pellucid.data.encoding.ColumnCode`."""

    name: str
    type: Literal["numeric", "categorical", "ordinal", "boolean"]
    center: Finite = 0.0
    scale: Positive = 1.0
    fill: Finite = 0.0
    categories: tuple[str, ...] = ()
    empty: bool = False
    whole: bool = False
    unit: str = ""

    @model_validator(mode="after")
    def _agree(self) -> CodeFile:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category is named twice")
        if self.type == "boolean" and len(self.categories) != 2:
            raise ValueError("a boolean column has two categories")
        return self


class TableFile(_Strict):
    """The encoding of a table."""

    kind: Literal["table"]
    version: Literal[1]
    numbers: Literal["standardise", "minmax", "none"]
    columns: tuple[CodeFile, ...] = Field(min_length=1, max_length=10**5)

    @model_validator(mode="after")
    def _agree(self) -> TableFile:
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("a column is named twice")
        return self


class ImageFile(_Strict):
    """The encoding of images."""

    kind: Literal["image"]
    version: Literal[1]
    shape: tuple[Annotated[int, Field(ge=1, le=10**5)], ...] = Field(min_length=2, max_length=3)
    scale: Positive
    mean: tuple[Finite, ...]
    std: tuple[Positive, ...]
    channels_first: bool


class SeriesFile(_Strict):
    """The encoding of time series; see :class:`pellucid.data.series_encoding.SeriesEncoding`."""

    kind: Literal["series"]
    version: Literal[1]
    channels: tuple[str, ...] = Field(min_length=1, max_length=10**5)
    center: tuple[Finite, ...]
    scale: tuple[Positive, ...]
    time: Literal["last", "first"]
    flat: bool
    steps: Annotated[int, Field(ge=1, le=10**7)] | None
    fitted: Literal["first", "last", "resample"]
    fill: Finite | None
    dtype: Literal["float32", "float64"]
    units: tuple[str, ...]

    @model_validator(mode="after")
    def _agree(self) -> SeriesFile:
        if not len(self.channels) == len(self.center) == len(self.scale):
            raise ValueError("each channel has one center and one scale")
        return self


class VocabularyFile(_Strict):
    """A vocabulary of words; see :class:`pellucid.data.text_encoding.Vocabulary`."""

    kind: Literal["vocabulary"]
    version: Literal[1]
    words: dict[str, Annotated[int, Field(ge=0, lt=2**31)]] = Field(max_length=10**7)
    pad: Annotated[int, Field(ge=0, lt=2**31)]
    unknown: Annotated[int, Field(ge=0, lt=2**31)]
    mask: str | None
    lower: bool
    most: Annotated[int, Field(ge=1, le=10**7)] | None


Kind = TypeVar("Kind", bound=BaseModel)


def validated(kind: type[Kind], data: Any, where: str) -> Kind:
    """``data`` as this kind of file. Raises EncodingError with the first field that is wrong."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(shorten(part) for part in first["loc"]) or "the file"
        raise EncodingError(
            f"the encoding is damaged or not ours: {field}: {first['msg']}",
            where=where,
            fix="write it again with save()",
        ) from error

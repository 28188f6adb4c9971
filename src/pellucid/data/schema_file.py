"""The small YAML file in which a person says what the columns mean.

::

    description: loan applications of 2023
    columns:
      age:     {type: numeric, unit: years, range: [18, 100], immutable: true}
      sex:     {protected: true, immutable: true}
      school:  {type: ordinal, categories: [none, primary, secondary, degree]}
      case_nr: {role: id}
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..records.errors import InputError, shorten
from ..records.schema import Column, ColumnType, Schema
from .cells import text_of
from .yaml_file import read_yaml


def _as_text(value: Any) -> Any:
    return text_of(value) if isinstance(value, (bool, int, float)) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class ColumnSettings(BaseModel):
    """What a person may say of one column; what is left out is inferred from the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ColumnType | None = None
    role: Literal["feature", "label", "id", "ignored"] | None = None
    unit: Text = ""
    range: tuple[float, float] | None = None
    categories: tuple[Text, ...] = ()
    protected: bool = False
    immutable: bool = False
    description: Text = ""

    @model_validator(mode="after")
    def _agree(self) -> ColumnSettings:
        if self.type == "ordinal" and len(self.categories) < 2:
            raise ValueError("an ordinal column needs its categories, lowest first")
        if self.type == "boolean" and self.categories and len(self.categories) != 2:
            raise ValueError("a boolean column has two categories, the one that means no first")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category is named twice")
        if self.range and not (all(map(math.isfinite, self.range)) and self.range[0] <= self.range[1]):
            raise ValueError("the range must be two numbers, the lower first")
        return self


class SchemaFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Text = ""
    columns: dict[Text, ColumnSettings] = Field(default_factory=dict)


def read_settings(path: Path) -> dict[str, ColumnSettings]:
    """Column name → settings. Raises InputError with the line, or the field, that is wrong."""
    content = read_yaml(path, "schema file", InputError)
    try:
        return SchemaFile.model_validate(content).columns
    except ValidationError as error:
        raise _invalid(error, path) from error


def _invalid(error: ValidationError, path: Path) -> InputError:
    first = error.errors()[0]
    if not first["loc"]:
        fix = 'write "columns:" and below it a line for each, such as "  age: {unit: years}"'
        return InputError("the schema file says nothing of columns", where=path.name, fix=fix)
    field = ".".join(shorten(part) for part in first["loc"])
    fields = ", ".join(ColumnSettings.model_fields)
    fix = f"a column may have: {fields}" if first["type"] == "extra_forbidden" else ""
    return InputError(f"{field}: {first['msg']}", where=path.name, fix=fix)


def settings_of(schema: Schema) -> dict[str, ColumnSettings]:
    """A schema that exists already, as settings for reading other rows by it."""
    return {column.name: _settings(column) for column in schema}


def _settings(column: Column) -> ColumnSettings:
    return ColumnSettings(
        type=column.type,
        role=column.role,
        unit=column.unit,
        categories=column.categories if column.type in ("ordinal", "boolean") else (),
        protected=column.protected,
        immutable=column.immutable,
        description=column.description,
    )

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

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..records.errors import InputError, shorten
from ..records.schema import Column, ColumnType, Schema
from .cells import text_of

LARGEST_FILE = 2**20


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


class _Loader(yaml.SafeLoader):
    """YAML without objects, without aliases (they can grow without bound) and without doubled keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="aliases are not allowed here", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a name", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# A category or a column named no, yes, on or off is a text here, as it is in YAML 1.2.
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_settings(path: Path) -> dict[str, ColumnSettings]:
    """Column name → settings. Raises InputError with the line, or the field, that is wrong."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"the schema file is larger than {LARGEST_FILE:,} bytes", where=path.name)
        loader = _Loader(path.read_text(encoding="utf-8-sig"))
        content = loader.get_single_data()
    except OSError as error:
        raise InputError("could not read the schema file", where=str(path), why=str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise InputError("the schema file is not UTF-8 text", where=f"{path.name}:byte {error.start}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or shorten(error, 200)
        raise InputError("the schema file is not valid YAML", where=f"{path.name}{line}", why=problem) from error
    try:
        return SchemaFile.model_validate(content if content is not None else {}).columns
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

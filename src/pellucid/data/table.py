"""What the columns of a table are (label, id, features, text), and its rows, divided, as a Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.schema import Column, Role, Schema
from .arrays import SPLIT_WORDS, own_splits
from .cells import column_of, is_text, missing, rows_named
from .csv_text import checked_names
from .dataset import Dataset, Source, Task
from .inference import Understood, looks_like_id, understand
from .labels import labels_of
from .series_table import series_from
from .splitting import checked_groups, split_rows
from .texts import looks_like_text, refuse_unusable
from .wishes import Wishes

if TYPE_CHECKING:
    import pandas as pd

    from .schema_file import ColumnSettings

SPLIT = "split"


def from_table(frame: pd.DataFrame, where: str, source: Source, wishes: Wishes) -> Dataset:
    """A Dataset of a frame's rows, or of the series that they are where ``wishes`` name a column of times.

    Raises :class:`InputError` with the column and the rows, :class:`UnknownName` for a column that is not there.
    """
    import pandas as pd

    names = checked_names([str(name) for name in frame.columns], where)
    if len(frame) == 0:
        raise InputError("the table has no rows", where=where, fix="give a table with rows")
    frame = frame.set_axis(pd.Index(names, dtype=object), axis=1)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    if wishes.time is not None:
        return series_from(frame, where, source, wishes)
    said = _settings(wishes.schema, wishes.text)
    _check_names(names, wishes, said)
    roles = _roles(frame, wishes, said)
    label = next((name for name, role in roles.items() if role == "label"), None)
    if label is not None:
        _refuse_missing_labels(label, column_of(frame, label), where)
    parts = {
        name: understand(name, column_of(frame, name), where, wishes.style, roles[name], said.get(name))
        for name in names
    }
    described = Schema(tuple(_flagged(part.column, wishes) for part in parts.values()))
    _refuse_unusable_texts(parts, described, frame, where)
    content = pd.DataFrame({name: _series(part.values, frame.index) for name, part in parts.items()})
    chosen_task, labels, classes = labels_of(parts[label], wishes.task) if label else (None, None, ())
    id_name = next((name for name, role in roles.items() if role == "id"), None)
    numbers = np.arange(1, len(frame) + 1)
    groups = _groups(frame, wishes.groups)
    return Dataset(
        content=content,
        schema=described,
        label=label,
        task=chosen_task,
        labels=labels,
        classes=classes,
        ids=numbers.astype(str) if id_name is None else parts[id_name].values.astype(str),
        row_numbers=numbers,
        splits=_splits(frame, described, wishes, labels, chosen_task, groups, where),
        source=source,
        groups=groups,
    )


def _refuse_unusable_texts(parts: Mapping[str, Understood], schema: Schema, frame: pd.DataFrame, where: str) -> None:
    """Of texts that are all a network sees, every one must be usable."""
    if schema.is_text:
        name = schema.features[0].name
        refuse_unusable(name, parts[name].values, frame.index.to_numpy(), where)


def _splits(
    frame: pd.DataFrame, schema: Schema, wishes: Wishes, labels: np.ndarray | None, task: Task | None,
    groups: np.ndarray | None, where: str,
) -> np.ndarray:  # fmt: skip
    """The rows' splits: the file's own where a text's column says them, else drawn by the seed."""
    if schema.is_text and _says_split(frame):
        own = column_of(frame, SPLIT).to_numpy(dtype=object)
        return own_splits(own, wishes.split, wishes.seed, labels, task, groups, where)
    return split_rows(len(frame), wishes.split, wishes.seed, labels, task, groups)


def _says_split(frame: pd.DataFrame) -> bool:
    """Whether the cells of the column ``split`` are the words for splits."""
    cells = set(column_of(frame, SPLIT).to_numpy(dtype=object)) if SPLIT in frame.columns else {None}
    return all(isinstance(cell, str) and cell.strip().lower() in SPLIT_WORDS for cell in cells)


def _series(values: np.ndarray, index: pd.Index) -> pd.Series:
    """Texts stay Python's own, whatever type of text this version of pandas prefers."""
    import pandas as pd

    return pd.Series(values, index=index, dtype=values.dtype)


def _settings(schema: str | Path | Schema | None, text: str | None) -> Mapping[str, ColumnSettings]:
    """What was said of columns: by a schema, and which of them is the text."""
    if schema is None and text is None:
        return {}
    from .schema_file import ColumnSettings, read_settings, settings_of

    said = {} if schema is None else settings_of(schema) if isinstance(schema, Schema) else read_settings(Path(schema))
    if text is not None:
        said[text] = said.get(text, ColumnSettings()).model_copy(update={"type": "text", "role": "feature"})
    return said


def _check_names(names: list[str], wishes: Wishes, said: Mapping[str, ColumnSettings]) -> None:
    wanted = [*wishes.protected, *wishes.immutable, *said]
    wanted += [name for name in (wishes.label, wishes.id, wishes.text) if name is not None]
    if isinstance(wishes.groups, str):
        wanted.append(wishes.groups)
    known, file = set(names), str(wishes.schema) if isinstance(wishes.schema, (str, Path)) else ""
    for name in wanted:
        if name not in known:
            raise UnknownName.among("column", name, names, where=file if name in said and name != wishes.text else "")


def _roles(frame: pd.DataFrame, wishes: Wishes, said: Mapping[str, ColumnSettings]) -> dict[str, Role]:
    """One role per column: what was said, else an id if it looks like one, else a feature."""
    roles: dict[str, Role] = {}
    for name in frame.columns:
        declared = said[name].role if name in said else None
        if name == wishes.label:
            roles[name] = "label"
        elif name == wishes.id:
            roles[name] = "id"
        elif declared is not None:
            roles[name] = declared
        elif isinstance(wishes.groups, str) and name == wishes.groups:
            roles[name] = "ignored"
        else:
            roles[name] = "id" if looks_like_id(name, column_of(frame, name)) else "feature"
    return _beside_text(_one_of_each(roles, wishes), frame, wishes)


def _beside_text(roles: dict[str, Role], frame: pd.DataFrame, wishes: Wishes) -> dict[str, Role]:
    """Beside a text that was named no other column is a feature; beside one that stands alone no column of splits."""
    features = [name for name, role in roles.items() if role == "feature"]
    if wishes.text is not None:
        return {name: "ignored" if name in features and name != wishes.text else role for name, role in roles.items()}
    if len(features) == 2 and SPLIT in features and _says_split(frame):
        values = column_of(frame, next(name for name in features if name != SPLIT))
        if is_text(values) and looks_like_text(values.to_numpy(dtype=object), missing(values)):
            return {name: "ignored" if name == SPLIT else role for name, role in roles.items()}
    return roles


def _one_of_each(roles: dict[str, Role], wishes: Wishes) -> dict[str, Role]:
    labels = [name for name, role in roles.items() if role == "label"]
    if len(labels) > 1:
        raise InputError(
            f"two columns are the label: {shorten(labels[0])!r} and {shorten(labels[1])!r}",
            fix="pass the same column as label= and in schema=",
        )
    ids = [name for name, role in roles.items() if role == "id"]
    first = wishes.id if wishes.id is not None else (ids[0] if ids else None)
    return {name: "ignored" if role == "id" and name != first else role for name, role in roles.items()}


def _flagged(column: Column, wishes: Wishes) -> Column:
    return replace(
        column,
        protected=column.protected or column.name in wishes.protected,
        immutable=column.immutable or column.name in wishes.immutable,
    )


def _refuse_missing_labels(label: str, values: pd.Series, where: str) -> None:
    empty = missing(values)
    if empty.any():
        rows = values.index.to_numpy()[empty]
        raise InputError(
            f"label column {shorten(label)!r}: {int(empty.sum())} of {len(values):,} rows are empty"
            f" ({rows_named(rows)})",
            where=where,
            fix="drop these rows, or fill in their labels",
        )


def _groups(frame: pd.DataFrame, given: Any) -> np.ndarray | None:
    if given is None:
        return None
    values = frame[given].to_numpy(dtype=object) if isinstance(given, str) else np.asarray(given)
    return checked_groups(values, len(frame))

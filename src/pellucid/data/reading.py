"""Reading a table (CSV, Parquet, a DataFrame) or arrays (NPZ) into a Dataset, and refusing what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.files import digest, digest_file
from ..records.schema import Column, Role, Schema
from .arrays import from_archive
from .cells import as_text, column_of, missing, rows_named
from .csv_text import MOST_COLUMNS, checked_names, read_cells
from .dataset import Dataset, Source, Task
from .inference import Style, Understood, looks_like_id, understand
from .splitting import checked_groups, split_rows
from .wishes import Wishes

if TYPE_CHECKING:
    import pandas as pd

    from .schema_file import ColumnSettings

CSV, PARQUET, NPZ = (".csv", ".tsv", ".txt", ".data"), (".parquet", ".pq"), (".npz",)
LARGEST_PARQUET = 8 * 2**30
MOST_CLASSES = 20  # whole numbers with more values than this are taken for a quantity


def read(
    path_or_frame: Any,
    *,
    label: str | None = None,
    protected: Sequence[str] = (),
    immutable: Sequence[str] = (),
    id: str | None = None,
    schema: str | Path | Schema | None = None,
    split: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    task: Task | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    groups: str | Sequence[Any] | np.ndarray | None = None,
) -> Dataset:
    """Read rows, say what their columns are, and divide them.

    Parameters
    ----------
    path_or_frame: a ``.csv``, ``.tsv``, ``.parquet`` or ``.npz`` file, or a pandas DataFrame.
    label: the column (or array) to predict; for arrays ``labels``, ``label``, ``y`` or ``targets`` unless said.
    protected, immutable: columns that may not decide; that the person cannot change.
    id: the column that tells rows apart; found by its name and its different values unless said.
    schema: a YAML file (see :mod:`pellucid.data.schema_file`) or a Schema; it wins over inference.
    split, seed: shares of train, validation and test; a file's own ``split`` array is kept.
    task: "classification" or "regression"; inferred from the label unless said.
    delimiter, decimal, thousands, encoding: how a CSV file is written, when not ``,`` ``.`` none UTF-8.
    groups: a column, an array's name, or one value per row; rows of one group stay in one split.

    Raises
    ------
    InputError: with the file and the line, or the column and the rows (1 is the first row).
    UnknownName: a column that is not there, with near misses.
    """
    wishes = Wishes(label, protected, immutable, id, schema, split, seed, task, groups)
    if isinstance(path_or_frame, Mapping) or type(path_or_frame).__module__.split(".")[0] == "pandas":
        return _from_frame(path_or_frame, wishes, Style(decimal, thousands))
    path = _readable(path_or_frame)
    before = path.stat()
    source = Source(str(path), digest_file(path))
    if path.suffix.lower() in NPZ:
        data = from_archive(path, source, wishes)
    else:
        frame = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path, delimiter, encoding)
        data = _table(frame, path.name, source, wishes, Style(decimal, thousands))
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise InputError("the file changed while it was read", where=str(path), fix="read it again when it is complete")
    return data


def _readable(given: Any) -> Path:
    try:
        path = Path(given)
    except TypeError as error:
        raise InputError(
            f"cannot read a {type(given).__name__}",
            fix="give the path of a .csv, .parquet or .npz file, or a DataFrame",
        ) from error
    try:
        if path.is_dir():
            raise InputError("this is a folder", where=str(path), fix="give a file inside it")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), fix="check the path") from error
    except (OSError, ValueError) as error:
        raise InputError("the file cannot be opened", where=shorten(path, 200), why=shorten(error, 200)) from error
    if path.suffix.lower() not in CSV + PARQUET + NPZ:
        known = ", ".join(CSV + PARQUET + NPZ)
        raise InputError(
            f"files ending in {path.suffix or 'nothing'!r} are not read", where=str(path), fix=f"give one of {known}"
        )
    return path


def _csv(path: Path, delimiter: str | None, encoding: str | None) -> pd.DataFrame:
    import pandas as pd

    columns = read_cells(path, delimiter, encoding)
    return pd.DataFrame({name: np.array(cells, dtype=object) for name, cells in columns.items()}, dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("reading Parquet needs pyarrow", fix="pip install 'pellucid[tables]'") from error
    size = path.stat().st_size
    if size == 0:
        raise InputError("the file is empty", where=path.name)
    try:
        file = pq.ParquetFile(path)
        facts = file.metadata
        if facts.num_columns > MOST_COLUMNS:
            raise InputError(f"the table has {facts.num_columns:,} columns; at most {MOST_COLUMNS:,} are read")
        unpacked = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        if unpacked > LARGEST_PARQUET:
            raise InputError(f"the table unpacks to {unpacked:,} bytes; at most {LARGEST_PARQUET:,} are read")
        return file.read().to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"the Parquet file ({size:,} bytes) is truncated or damaged", where=path.name, why=shorten(error, 200)
        ) from error


def _from_frame(given: Any, wishes: Wishes, style: Style) -> Dataset:
    import pandas as pd

    if not isinstance(given, pd.DataFrame):
        raise InputError(f"cannot read a {type(given).__name__}", fix="give a DataFrame")
    try:
        content = given.to_csv(index=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"a name or a cell holds half a character: {error.object[max(error.start - 10, 0) : error.start + 10]!a}",
            why="a lone surrogate is no text that a file could keep",
            fix="repair the text",
        ) from error
    return _table(given, "the frame", Source("", digest(content)), wishes, style)


def _table(frame: pd.DataFrame, where: str, source: Source, wishes: Wishes, style: Style) -> Dataset:
    import pandas as pd

    names = checked_names([str(name) for name in frame.columns], where)
    if len(frame) == 0:
        raise InputError("the table has no rows", where=where, fix="give a table with rows")
    frame = frame.set_axis(pd.Index(names, dtype=object), axis=1)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    said = _settings(wishes.schema)
    _check_names(names, wishes, said)
    roles = _roles(frame, wishes, said)
    label = next((name for name, role in roles.items() if role == "label"), None)
    if label is not None:
        _refuse_missing_labels(label, column_of(frame, label), where)
    parts = {
        name: understand(name, column_of(frame, name), where, style, roles[name], said.get(name)) for name in names
    }
    described = Schema(tuple(_flagged(part.column, wishes) for part in parts.values()))
    content = pd.DataFrame({name: _series(part.values, frame.index) for name, part in parts.items()})
    chosen_task, labels, classes = _labels(parts[label], wishes.task) if label else (None, None, ())
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
        splits=split_rows(len(frame), wishes.split, wishes.seed, labels, chosen_task, groups),
        source=source,
        groups=groups,
    )


def _series(values: np.ndarray, index: pd.Index) -> pd.Series:
    """Texts stay Python's own, whatever type of text this version of pandas prefers."""
    import pandas as pd

    return pd.Series(values, index=index, dtype=values.dtype)


def _settings(schema: str | Path | Schema | None) -> Mapping[str, ColumnSettings]:
    if schema is None:
        return {}
    from .schema_file import read_settings, settings_of

    return settings_of(schema) if isinstance(schema, Schema) else read_settings(Path(schema))


def _check_names(names: list[str], wishes: Wishes, said: Mapping[str, ColumnSettings]) -> None:
    wanted = [*wishes.protected, *wishes.immutable, *said]
    wanted += [name for name in (wishes.label, wishes.id) if name is not None]
    if isinstance(wishes.groups, str):
        wanted.append(wishes.groups)
    known = set(names)
    for name in wanted:
        if name not in known:
            raise UnknownName.among("column", name, names)


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
    return _one_of_each(roles, wishes)


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


def _labels(part: Understood, task: Task | None) -> tuple[Task, np.ndarray, tuple[str, ...]]:
    """Task, labels and class names of a label column.

    Texts are classes in the order of the alphabet, truth values no before yes, whole numbers in
    their order when they have at most twenty values; a declared order of categories wins.
    """
    column, values = part.column, part.values
    if column.type == "numeric":
        whole = bool((values == np.floor(values)).all())
        few = whole and len(np.unique(values)) <= MOST_CLASSES
        if task is None:
            task = "classification" if few else "regression"
        if task == "regression":
            return task, values.astype(np.float64), ()
        found, labels = np.unique(values, return_inverse=True)
        return task, labels.astype(np.int64), tuple(str(int(value) if whole else value) for value in found)
    if task == "regression":
        if column.categories == ("0", "1"):
            return task, values.astype(np.float64), ()
        raise InputError(f"label {shorten(column.name)!r} holds no numbers", fix="pass task='classification'")
    ordered = column.categories if column.type in ("boolean", "ordinal") else tuple(sorted(column.categories))
    position = {name: place for place, name in enumerate(ordered)}
    import pandas as pd

    texts = as_text(pd.Series(values, dtype=object))
    return "classification", np.array([position[text] for text in texts], dtype=np.int64), ordered


def _groups(frame: pd.DataFrame, given: Any) -> np.ndarray | None:
    if given is None:
        return None
    values = frame[given].to_numpy(dtype=object) if isinstance(given, str) else np.asarray(given)
    return checked_groups(values, len(frame))

"""Reading a table or texts (CSV, JSON lines, Parquet, a DataFrame) or arrays (NPZ) into a Dataset, or refusing them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, UnknownName, shorten
from ..records.files import digest, digest_file
from ..records.schema import Column, Role, Schema
from .arrays import SPLIT_WORDS, from_archive, own_splits
from .cells import as_text, column_of, is_text, missing, rows_named
from .csv_text import MOST_COLUMNS, checked_names, read_cells
from .dataset import Dataset, Source, Task
from .evidence import as_spans, evidence_column, joined_words
from .image_files import digest_images, from_images
from .inference import Style, Understood, looks_like_id, understand
from .json_lines import JSON_LINES, is_json_lines, read_lines
from .series_table import series_from
from .splitting import checked_groups, split_rows
from .texts import looks_like_text, refuse_unusable
from .wishes import Wishes

if TYPE_CHECKING:
    import pandas as pd

    from .schema_file import ColumnSettings

CSV, PARQUET, NPZ = (".csv", ".tsv", ".txt", ".data"), (".parquet", ".pq"), (".npz",)
LARGEST_PARQUET = 8 * 2**30
SPLIT = "split"
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
    text: str | None = None,
    evidence: str | None = None,
    size: int | tuple[int, int] | str | None = None,
    kind: str | None = None,
    time: str | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Dataset:
    """Read rows, say what their columns are, and divide them.

    Parameters
    ----------
    path_or_frame: a ``.csv``, ``.tsv``, ``.jsonl``, ``.jsonl.gz``, ``.parquet`` or ``.npz`` file, a pandas
        DataFrame, or pictures: a folder with a subfolder for each class (above them, if need be, folders named train,
        validation and test), or a list of their paths; see :mod:`pellucid.data.image_files`.
    label: the column (or array) to predict; for arrays ``labels``, ``label``, ``y`` or ``targets`` unless said.
    protected, immutable: columns that may not decide; that the person cannot change.
    id: the column that tells rows apart; found by its name and its different values unless said.
    schema: a YAML file (see :mod:`pellucid.data.schema_file`) or a Schema; it wins over inference.
    split, seed: shares of train, validation and test; a file's own ``split`` array is kept.
    task: "classification" or "regression"; inferred from the label unless said.
    delimiter, decimal, thousands, encoding: how a CSV file is written, when not ``,`` ``.`` none UTF-8.
    groups: a column, an array's name, or one value per row; rows of one group stay in one split.
    text: the column of free writing that the network reads; the other columns are then no features. A column is free
        writing where its cells hold several words and mostly differ; where it is the only feature, it is the text.
        Of texts a column ``split`` of the words train, validation and test is kept.
    evidence: the column of passages that people marked in each text (JSON lines): ``[[start, stop], …]`` in
        characters, or in words where its name ends in ``_tokens``; found by its usual names unless said.
    size: (height, width) that pictures are resized to; without it all must have one size.
    kind: what arrays are, "images" or "series"; told by their names and shapes where these leave no doubt.
    time: the column that says when each row was measured: the table then holds time series, and its further columns
        are channels (see :func:`pellucid.data.series_table.series_from`). For arrays of series "first" or "last": the
        axis of time.
    window, stride: how many steps of a table's series the network sees at once, and how far apart these windows
        begin; by default they lie side by side.

    Raises
    ------
    InputError: with the file and the line, or the column and the rows (1 is the first row).
    UnknownName: a column that is not there, with near misses.
    """
    wishes = Wishes(
        label, protected, immutable, id, schema, split, seed, task, groups, text, evidence, kind, time, window, stride
    )  # fmt: skip
    if isinstance(path_or_frame, Mapping) or type(path_or_frame).__module__.split(".")[0] == "pandas":
        return _from_frame(path_or_frame, wishes, Style(decimal, thousands))
    if isinstance(path_or_frame, (list, tuple)) or _is_folder(path_or_frame):
        given = path_or_frame if isinstance(path_or_frame, (list, tuple)) else Path(path_or_frame)
        return from_images(given, wishes, size)
    path = _readable(path_or_frame)
    before = path.stat()
    source = Source(str(path), digest_file(path))
    if path.suffix.lower() in NPZ:
        data = from_archive(path, source, wishes)
    elif is_json_lines(path):
        data = _from_lines(path, source, wishes, Style(decimal, thousands))
    else:
        frame = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path, delimiter, encoding)
        data = _table(frame, path.name, source, wishes, Style(decimal, thousands))
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise InputError("the file changed while it was read", where=str(path), fix="read it again when it is complete")
    return data


def is_unchanged(source: Source) -> bool:
    """Whether what lies at a source's path is still what was read; True for what came from memory."""
    if not source.path:
        return True
    path = Path(source.path)
    try:
        return (digest_images(path) if path.is_dir() else digest_file(path)) == source.sha256
    except (OSError, InputError):
        return False


def _is_folder(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike)) and "\0" not in str(given) and Path(given).is_dir()


def _readable(given: Any) -> Path:
    try:
        path = Path(given)
    except TypeError as error:
        raise InputError(
            f"cannot read a {type(given).__name__}",
            fix="give the path of a .csv, .parquet or .npz file, a folder of pictures, or a DataFrame",
        ) from error
    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), fix="check the path") from error
    except (OSError, ValueError) as error:
        raise InputError("the file cannot be opened", where=shorten(path, 200), why=shorten(error, 200)) from error
    if path.suffix.lower() not in CSV + PARQUET + NPZ and not is_json_lines(path):
        known = ", ".join(CSV + JSON_LINES + PARQUET + NPZ)
        raise InputError(
            f"files ending in {path.suffix or 'nothing'!r} are not read", where=str(path), fix=f"give one of {known}"
        )
    return path


def _csv(path: Path, delimiter: str | None, encoding: str | None) -> pd.DataFrame:
    import pandas as pd

    columns = read_cells(path, delimiter, encoding)
    return pd.DataFrame({name: np.array(cells, dtype=object) for name, cells in columns.items()}, dtype=object)


def _from_lines(path: Path, source: Source, wishes: Wishes, style: Style) -> Dataset:
    """JSON lines: scalars are columns of a table; lists of words, tags and marked passages stand beside the texts."""
    import pandas as pd

    columns = read_lines(path)
    tags = joined_words(columns, path.name)
    marked = evidence_column(columns, wishes.evidence)
    passages = None if marked is None else columns.pop(marked)
    cells = {name: np.array([*values, None], dtype=object)[:-1] for name, values in columns.items()}
    frame = pd.DataFrame(cells, dtype=object)
    data = _table(frame, path.name, source, wishes, style)
    if not data.is_text:
        if marked is not None:
            raise InputError(
                f"column {shorten(marked)!r} marks passages, and which column is the text is not known",
                where=path.name,
                fix="name it: text=",
            )
        return data
    spans = None if passages is None or marked is None else as_spans(data.features, passages, marked, path.name)
    return replace(data, evidence=spans, tags=tags)


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
    if wishes.time is not None:
        return series_from(frame, where, source, wishes)
    said = _settings(wishes.schema, wishes.text)
    _check_names(names, wishes, said)
    roles = _roles(frame, wishes, said)
    label = next((name for name, role in roles.items() if role == "label"), None)
    if label is not None:
        _refuse_missing_labels(label, column_of(frame, label), where)
    parts = {
        name: understand(name, column_of(frame, name), where, style, roles[name], said.get(name)) for name in names
    }
    described = Schema(tuple(_flagged(part.column, wishes) for part in parts.values()))
    _refuse_unusable_texts(parts, described, frame, where)
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

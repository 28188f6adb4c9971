"""Reading a table or texts (CSV, JSON lines, CoNLL, Parquet, a frame) or arrays (NPZ) into a Dataset, or refusing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..measures.entities import entities
from ..records.errors import InputError, UnknownName, shorten
from ..records.files import digest, digest_file
from ..records.schema import Schema
from .arrays import from_archive
from .conll import CONLL, is_conll, read_conll
from .csv_text import MOST_COLUMNS, read_cells
from .dataset import Dataset, Source, Task
from .evidence import as_spans, evidence_column
from .image_files import digest_images, from_images
from .inference import Style
from .json_lines import JSON_LINES, is_json_lines, read_lines
from .table import from_table
from .tagged_words import TEXT, TaggedWords, joined_words
from .wishes import Wishes

if TYPE_CHECKING:
    import pandas as pd

CSV, PARQUET, NPZ = (".csv", ".tsv", ".txt", ".data"), (".parquet", ".pq"), (".npz",)
LARGEST_PARQUET = 8 * 2**30


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
    channel: str | None = None,
    value: str | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Dataset:
    """Read rows, say what their columns are, and divide them.

    Parameters
    ----------
    path_or_frame: a ``.csv``, ``.tsv``, ``.jsonl``, ``.jsonl.gz``, ``.conll``, ``.parquet`` or ``.npz`` file, a pandas
        DataFrame, or pictures: a folder with a subfolder for each class (above them, if need be, folders named train,
        validation and test), or a list of their paths; see :mod:`pellucid.data.image_files`.
    label: the column (or array) to predict; for arrays ``labels``, ``label``, ``y`` or ``targets`` unless said; of
        texts that come as words with tags these tags (of a CoNLL file they are called ``tags``) unless said.
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
    time: the column that says when each row was measured: the table then holds time series, those of one ``id`` are
        one, and its further columns are channels (see :func:`pellucid.data.series_table.series_from`). For arrays of
        series "first" or "last": the axis of time.
    channel, value: the columns that name the channel and hold its value, where each row is one of these alone.
    window, stride: how many steps of a table's series the network sees at once, and how far apart these windows
        begin; by default they lie side by side.

    Raises
    ------
    InputError: with the file and the line, or the column and the rows (1 is the first row).
    UnknownName: a column that is not there, with near misses.
    """
    wishes = Wishes(
        label, protected, immutable, id, schema, split, seed, task, groups, text, evidence, kind, time, channel, value,
        window, stride,
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
    elif is_json_lines(path) or is_conll(path):
        columns = read_lines(path) if is_json_lines(path) else read_conll(path)
        data = _from_lines(columns, path.name, source, wishes, Style(decimal, thousands))
    else:
        frame = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path, delimiter, encoding)
        data = from_table(frame, path.name, source, wishes, Style(decimal, thousands))
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
    if path.suffix.lower() not in CSV + CONLL + PARQUET + NPZ and not is_json_lines(path):
        known = ", ".join(CSV + JSON_LINES + CONLL + PARQUET + NPZ)
        raise InputError(
            f"files ending in {path.suffix or 'nothing'!r} are not read", where=str(path), fix=f"give one of {known}"
        )
    return path


def _csv(path: Path, delimiter: str | None, encoding: str | None) -> pd.DataFrame:
    import pandas as pd

    columns = read_cells(path, delimiter, encoding)
    return pd.DataFrame({name: np.array(cells, dtype=object) for name, cells in columns.items()}, dtype=object)


def _from_lines(columns: dict[str, list[Any]], where: str, source: Source, wishes: Wishes, style: Style) -> Dataset:
    """JSON lines or CoNLL: scalars are columns of a table; lists of words, tags and marked passages stand beside the
    texts. Tags are the label, unless another column is."""
    import pandas as pd

    known = list(columns)
    tagged = joined_words(columns, where, wishes.label)
    asked = tagged is not None and wishes.label in (None, tagged.name)
    if tagged is not None and wishes.label not in (None, *known):
        raise UnknownName.among("column", str(wishes.label), known)
    wishes = replace(wishes, label=None, text=wishes.text or TEXT) if asked else wishes
    marked = evidence_column(columns, wishes.evidence)
    passages = None if marked is None else columns.pop(marked)
    cells = {name: np.array([*values, None], dtype=object)[:-1] for name, values in columns.items()}
    frame = pd.DataFrame(cells, dtype=object)
    data = from_table(frame, where, source, wishes, style)
    if not data.is_text:
        if marked is not None:
            raise InputError(
                f"column {shorten(marked)!r} marks passages, and which column is the text is not known",
                where=where,
                fix="name it: text=",
            )
        return data
    spans = None if passages is None or marked is None else as_spans(data.features, passages, marked, where)
    return replace(data, evidence=spans, **({} if tagged is None else _tagged(tagged, asked)))


def _tagged(tagged: TaggedWords, asked: bool) -> dict[str, Any]:
    """What a data set says of its tags; where they are ``asked`` for, they are its label."""
    found: dict[str, Any] = {"words": tagged.words, "tags": tagged.tags}
    if asked:
        kinds = {entity.kind for row in tagged.tags for entity in entities(row)}
        found |= {"label": tagged.name, "task": "tagging", "classes": tuple(sorted(kinds))}
    return found


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
    return from_table(given, "the frame", Source("", digest(content)), wishes, style)

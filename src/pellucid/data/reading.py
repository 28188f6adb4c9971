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
    task: Task | None = None,
    split: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    groups: str | Sequence[Any] | np.ndarray | None = None,
    id: str | None = None,
    protected: Sequence[str] = (),
    immutable: Sequence[str] = (),
    schema: str | Path | Schema | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    text: str | None = None,
    evidence: str | None = None,
    kind: str | None = None,
    size: int | tuple[int, int] | str | None = None,
    time: str | None = None,
    channel: str | None = None,
    value: str | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Dataset:
    """Read rows, say what their columns are, and divide them.

    Parameters
    ----------
    path_or_frame: a CSV, JSON lines, CoNLL, Parquet or NPZ file, a pandas DataFrame, or pictures: a list of their
        paths, or a folder with a subfolder for each class (see :mod:`pellucid.data.image_files`).
    label, task: the column (or array) to predict, found by its usual names in arrays, and in texts that come as words
        with tags; "classification" or "regression", inferred from the label unless said.
    split, seed, groups: shares of train, validation and test, drawn by the seed unless texts, arrays or folders say
        their own; rows of one group (a column, an array's name, a value for each row) stay in one of them.

    Tables: ``id`` is the column that tells rows apart, found by its name and its different values; ``protected``
    columns may not decide, ``immutable`` ones the person cannot change; ``schema``, a YAML file (see
    :mod:`pellucid.data.schema_file`) or a Schema, wins over inference. ``delimiter``, ``encoding``, ``decimal`` and
    ``thousands`` say how a CSV file is written, where not with ``,`` in UTF-8 and numbers as 1234.5.

    Texts: ``text`` is the column that the network reads; the others are then no features. It need not be said of the
    only feature, where cells hold several words and mostly differ. ``evidence`` is the column of passages that people
    marked (JSON lines): ``[[start, stop], …]`` in characters, or in words where its name ends in ``_tokens``.

    Arrays and pictures: ``kind`` is "images" or "series", where names and shapes leave that in doubt. Pictures are
    resized to ``size`` (height, width); without it all must have one size.

    Series: ``time`` is the column that says when each row was measured. Those of one ``id`` are then one series, and
    further columns its channels; or ``channel`` and ``value`` name the columns of a table with a row for each value.
    The network sees ``window`` steps at once, and windows begin ``stride`` steps apart, side by side unless said (see
    :func:`pellucid.data.series_table.series_from`). For arrays ``time`` is "first" or "last": the axis of time.

    Raises
    ------
    InputError: with the file and the line, or the column and the rows (1 is the first row).
    UnknownName: a column that is not there, with near misses.
    """
    wishes = Wishes(
        label, task, split, seed, groups, id, protected, immutable, schema, delimiter, encoding,
        Style(decimal, thousands), text, evidence, kind, size, time, channel, value, window, stride,
    )  # fmt: skip
    if isinstance(path_or_frame, Mapping) or type(path_or_frame).__module__.split(".")[0] == "pandas":
        return _from_frame(path_or_frame, wishes)
    if isinstance(path_or_frame, (list, tuple)):
        return from_images(path_or_frame, wishes)
    if _is_folder(path_or_frame):
        return from_images(Path(path_or_frame), wishes)
    return _from_file(_readable(path_or_frame), wishes)


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


def _from_file(path: Path, wishes: Wishes) -> Dataset:
    """What the file holds, by its ending; an error where it changed meanwhile."""
    before, source, ending = path.stat(), Source(str(path), digest_file(path)), path.suffix.lower()
    if ending in NPZ:
        data = from_archive(path, source, wishes)
    elif is_json_lines(path):
        data = _from_lines(read_lines(path), path.name, source, wishes)
    elif is_conll(path):
        data = _from_lines(read_conll(path), path.name, source, wishes)
    else:
        frame = _parquet(path) if ending in PARQUET else _csv(path, wishes)
        data = from_table(frame, path.name, source, wishes)
    after = path.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise InputError("the file changed while it was read", where=str(path), fix="read it again when it is complete")
    return data


def _csv(path: Path, wishes: Wishes) -> pd.DataFrame:
    import pandas as pd

    columns = read_cells(path, wishes.delimiter, wishes.encoding)
    return pd.DataFrame({name: np.array(cells, dtype=object) for name, cells in columns.items()}, dtype=object)


def _from_lines(columns: dict[str, list[Any]], where: str, source: Source, wishes: Wishes) -> Dataset:
    """JSON lines or CoNLL: scalars are columns of a table; words, tags and marked passages stand beside the texts.

    Tags are the label, unless another column is.
    """
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
    data = from_table(frame, where, source, wishes)
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


def _from_frame(given: Any, wishes: Wishes) -> Dataset:
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
    return from_table(given, "the frame", Source("", digest(content)), wishes)

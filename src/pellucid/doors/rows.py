"""The door for rows: tensors, arrays, tables, images, series and lists of words become Inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backends.function import FunctionModel
from ..backends.token_box import TokenBox
from ..backends.token_network import Posed, TokenModel, refuse_without_encoding
from ..backends.token_rows import TOKENS, TYPES
from ..data.asked_text import Asked, as_asked
from ..data.dataset import Dataset
from ..data.encoding import Encoding
from ..data.frame_codes import FrameCodes
from ..data.image_rows import SIZES, ImageRows
from ..data.namesakes import namesakes
from ..data.series_encoding import SeriesEncoding
from ..data.text_encoding import NOTHING, TextEncoding
from ..problem.inputs import WHOLE, Inputs
from ..problem.model import MEDIAN, Differentiable, Model
from ..records.errors import EncodingError, InputError, shorten
from ..records.messages import Caution
from .series import argument_names, as_series, series_inputs

EXACT = 2**53
"""Up to this size a float tells every whole number from its neighbours."""


@dataclass(frozen=True)
class Read:
    """Rows as the model takes them, what kind they are, and the columns' names where they have any.

    ``model`` is the model that takes them, where these rows tell more of it than was known before. ``outputs``
    are the names of each row's own outputs, where rows have such; ``first`` says that the first is the one meant, and
    ``whole`` how many of them, from the first on, are whole answers.
    """

    inputs: Inputs
    kind: str
    columns: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    model: Model | None = None
    outputs: tuple[tuple[str, ...], ...] = ()
    first: bool = False
    whole: int = 0


def as_inputs(model: Model, rows: Any, shown: bool = True) -> Read:
    """Rows for ``model``: through its encoding where it has one, else they must already be what it takes.

    Rows that are not ``shown`` to anyone, such as a background, come without their raw cells where these cost time.
    Raises :class:`EncodingError` for raw rows without an encoding, :class:`InputError` for anything unusable.
    """
    if not isinstance(rows, Dataset):
        return _read(model, rows, shown)
    taken = refuse_label(model, rows)
    _refuse_other_kind(model, rows)
    read = _read(model, rows, shown)
    return replace(read, cautions=(*read.cautions, *namesakes(taken, rows.label)))


def _refuse_other_kind(model: Model, data: Dataset) -> None:
    """Raise :class:`EncodingError` for a table where texts are read, and for pictures where a table is."""
    if isinstance(model.encoding, TextEncoding) and data.is_table:
        raise EncodingError(
            f"{model.name} reads texts, and these data are a table of {', '.join(map(shorten, data.columns[:5]))}",
            fix="say which column is the text: pellucid.read(path, text='review')",
        )
    if isinstance(model.encoding, Encoding) and len(data.shape) > 1:
        raise EncodingError(
            f"the encoding of {model.name} is of a table, and an item of these data has the shape {data.shape}",
            fix="give the table, or the encoding that belongs to these data",
        )


def refuse_label(model: Model, data: Dataset) -> tuple[str, ...]:
    """The columns of ``data`` that the model is given. Raises :class:`EncodingError` where one of them is the label."""
    taken = tuple(getattr(model.encoding, "groups", ())) or tuple(getattr(model, "columns", ()))
    if data.label is not None and data.label in taken:
        raise EncodingError(
            f"the model takes column {shorten(data.label)!r}, and that is the label of these data",
            why="it was trained to read the answer among the questions",
            fix="train it without that column, or name the label that it is to predict",
        )
    return taken or data.columns


def _read(model: Model, rows: Any, shown: bool) -> Read:
    if isinstance(model.encoding, SeriesEncoding) and (known := model.encoding.known(rows)) is not None:
        return Read(series_inputs(model, *known), "series", cautions=known[0].cautions)
    text = isinstance(model.encoding, TextEncoding)
    if model.encoding is not None and not text and _is_raw(rows, model.encoding):
        return _encoded(model, rows, shown)
    if (series := as_series(rows)) is not None:
        return Read(series_inputs(model, series), "series", cautions=series.cautions)
    rows = _features(rows)
    if isinstance(rows, str):
        rows = [rows]
    if _is_texts(rows, model.encoding):
        return _texts(model, rows)
    if isinstance(model, FunctionModel) and (frame := _as_frame(rows)) is not None and model.takes_tables is not False:
        framed = model.of_tables(FrameCodes.of(_in_order(model, frame), blanks=bool(model.missing)))
        return replace(_encoded(framed, frame, shown), model=framed)
    if isinstance(model, FunctionModel) and model.encoding is None and (form := ImageRows.of(rows)) is not None:
        return _pictures(model, form, rows)
    if _is_words(rows):
        words = tuple(tuple(row) for row in rows)
        return Read(Inputs(opaque=tuple(map(list, words)), raw=[" ".join(map(str, row)) for row in words]), "words")
    if _is_frame(rows):
        return _plain_frame(model, rows)
    named = rows if isinstance(rows, Mapping) else {WHOLE: rows}
    if isinstance(rows, tuple):
        named = _by_argument(model, rows)
    tensors = {str(name): _tensor(value, str(name)) for name, value in named.items()}
    _refuse_unknown_names(model, tensors)
    placed = _placed(model, tensors)
    kind = _kind(tensors)
    columns = _known_columns(model, tensors) if kind == "table" else ()
    return Read(Inputs(placed, raw=_display(tensors)), kind, columns, _turned(tensors, placed))


def _turned(given: Mapping[str, Tensor], placed: Mapping[str, Tensor]) -> tuple[Caution, ...]:
    """A note where the model takes pictures with channels last: here, and in what is answered, they stand first."""
    one, other = (tuple(next(iter(tensors.values())).shape[1:]) for tensors in (given, placed))
    return () if one == other else (Caution.of("turned", "note", given=_shape(one), placed=_shape(other)),)


def _shape(lengths: tuple[int, ...]) -> str:
    return " × ".join(map(str, lengths))


def _features(rows: Any) -> Any:
    """A Dataset speaks of its features; anything else is what it is."""
    return rows.features if isinstance(rows, Dataset) else rows


def _known_columns(model: Model, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names that the model itself was fitted with, where the rows have as many columns."""
    names = tuple(getattr(model, "columns", ()))
    shape = next(iter(tensors.values())).shape
    return names if len(shape) == 2 and len(names) == shape[1] else ()


def _refuse_unknown_names(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Of a module that says how it is called: some but not all of its names are a slip of the pen."""
    names = tuple(getattr(model, "argument_names", ()))
    strange = [name for name in tensors if name not in names]
    if len(names) > 1 and strange and len(strange) < len(tensors):
        raise InputError(f"the model takes no input named {shorten(strange[0])!r}", fix=f"it takes {', '.join(names)}")


def _is_texts(rows: Any, encoding: Any) -> bool:
    """Whether rows are texts; for a network with a tokenizer also pairs of texts that it reads together."""
    if isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype.kind in "OUT":
        rows = rows.tolist()
    if not isinstance(rows, (list, tuple)) or not rows:
        return False
    pairs = isinstance(encoding, TextEncoding)
    return all(isinstance(row, (str, Asked)) or (pairs and _is_pair(row)) for row in rows)


def _is_pair(row: Any) -> bool:
    return isinstance(row, tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)


def _texts(model: Model, rows: Sequence[Any]) -> Read:
    """Texts as the tokens of a network, or as they are for a black box."""
    asked = as_asked(rows)
    shown = [row.shown for row in asked]
    empty = next((place for place, text in enumerate(shown) if not text.strip()), None)
    if empty is not None:
        raise InputError("an empty text has nothing to explain", where=f"row {empty}", fix="leave it out")
    if not isinstance(model.encoding, TextEncoding):
        if isinstance(model, Differentiable):
            raise refuse_without_encoding(model.name)
        if any(row.passages or row.offered for row in asked):
            raise InputError("a function of texts is asked about whole texts", fix="give the texts alone")
        return Read(Inputs(opaque=tuple(shown), raw=shown), "text")
    found = model.encoding.encode([row.text for row in asked])
    tensors = {TOKENS: torch.from_numpy(found.tokens)}
    if found.types is not None:
        tensors[TYPES] = torch.from_numpy(found.types)
    posed = model.posed(asked, found) if isinstance(model, (TokenModel, TokenBox)) else Posed({})
    placed = model.place(tensors | dict(posed.tensors))
    assert not isinstance(placed, list)
    lengths = (found.tokens != NOTHING).sum(1)
    inputs = Inputs(
        placed, raw=shown, spans=found.spans, carried=(TYPES, *posed.tensors),
        lengths=lengths if np.ptp(lengths) else None, along={name: 1 for name in (TOKENS, TYPES) if name in placed},
    )  # fmt: skip
    own = {"outputs": posed.names, "first": posed.first, "whole": posed.whole}
    return Read(inputs, "text", cautions=(*model.encoding.cautions(found), *posed.cautions), **own)


def _is_words(rows: Any) -> bool:
    if not isinstance(rows, (list, tuple)) or not rows:
        return False
    words = [isinstance(row, (list, tuple)) and all(isinstance(word, str) for word in row) for row in rows]
    if not all(words):
        return False
    empty = next((place for place, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise InputError("a text without words has nothing to explain", where=f"row {empty}", fix="leave it out")
    return True


def _as_frame(rows: Any) -> Any:
    """Rows that are a table, or dicts of cells, as a DataFrame; None for any others."""
    if _is_frame(rows):
        return rows
    rows = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        return None
    if any(isinstance(cell, (Tensor, np.ndarray, list, tuple)) for cell in rows[0].values()):
        return None
    import pandas as pd

    return pd.DataFrame(rows)


def _is_frame(rows: Any) -> bool:
    return hasattr(rows, "columns") and hasattr(rows, "iloc")


def _is_raw(rows: Any, encoding: Any) -> bool:
    """Whether rows still need the encoding: tables and dicts do; arrays where the encoding is one of arrays.

    A tensor is never raw unless it holds bytes: it is what a network eats.
    """
    takes = getattr(encoding, "takes_arrays", None)
    if callable(takes):
        given = getattr(rows, "content", rows)
        return isinstance(given, (np.ndarray, Tensor, list)) and bool(takes(given))
    if _is_frame(rows) or getattr(rows, "is_table", False):
        return True
    if isinstance(rows, np.ndarray):
        return _is_raw_table(rows, encoding)
    if isinstance(rows, Mapping):
        return bool(rows) and not any(isinstance(value, (Tensor, np.ndarray, list, tuple)) for value in rows.values())
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping)


def _is_raw_table(rows: np.ndarray, encoding: Any) -> bool:
    """An array is raw where it cannot be encoded already: cells that are no numbers, or one per raw column."""
    names, width = getattr(encoding, "groups", {}), getattr(encoding, "width", None)
    fits = rows.ndim == 2 and rows.shape[1] == len(names)
    always = rows.dtype.kind not in "iufb" or getattr(encoding, "reads_arrays", False)
    return fits and (always or rows.shape[1] != width)


def _encoded(model: Model, rows: Any, shown: bool) -> Read:
    if isinstance(rows, Mapping):
        rows = [rows]
    if isinstance(rows, np.ndarray) and _is_raw_table(rows, model.encoding):
        import pandas as pd

        rows = pd.DataFrame(rows, columns=list(model.encoding.groups)).infer_objects()
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    gaps = getattr(model.encoding, "with_gaps", None) if model.missing == MEDIAN else None
    array = np.asarray(model.encoding.encode(rows) if gaps is None else gaps(rows))
    placed = model.place({WHOLE: torch.from_numpy(array.copy())})
    assert not isinstance(placed, list)
    if callable(getattr(model.encoding, "takes_arrays", None)):
        shown_as = getattr(model.encoding, "shown", None)
        pictures = shown_as(array) if callable(shown_as) else np.array(getattr(rows, "content", rows))
        return Read(Inputs(placed, raw=pictures), "image" if array.ndim == 4 else "tensor")
    if not shown:
        return Read(Inputs(placed), "table")
    rows = _features(rows)
    records = rows if isinstance(rows, list) else rows.to_dict("records")
    names = tuple(getattr(model.encoding, "groups", {}))
    cells = [{name: _cell(record[name]) for name in names if name in record} for record in records]
    return Read(Inputs(placed, raw=cells), "table", names, _encoding_cautions(model.encoding, rows))


def _pictures(model: FunctionModel, form: ImageRows, rows: Any) -> Read:
    """Pictures for a function that takes them as they are."""
    tensor, sizes, shown = form.encode(rows)
    tensors = {WHOLE: torch.from_numpy(tensor)} | ({} if sizes is None else {SIZES: torch.from_numpy(sizes)})
    return Read(Inputs(tensors, raw=shown), "image", model=model.of_pictures(form))


def _encoding_cautions(encoding: Any, rows: Any) -> tuple[Caution, ...]:
    """What the encoding has to say about these rows, such as categories it never saw."""
    return tuple(encoding.cautions(rows)) if hasattr(encoding, "cautions") else ()


def _plain_frame(model: Model, frame: Any) -> Read:
    columns = [str(name) for name in frame.columns]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two columns are named {shorten(twice)!r}", fix="rename one of them")
    frame = _in_order(model, frame.set_axis(columns, axis=1))
    text = [name for name in frame.columns if frame[name].dtype.kind not in "iufb"]
    if text:
        raise EncodingError(
            f"column {shorten(text[0])!r} holds {frame[text[0]].dtype} values, the network takes numbers",
            why="how raw columns become this network's inputs comes with the network and is never guessed",
            fix="pass it: pellucid.wrap(model, encoding=…) or load(…, encoding='encoding.json')",
        )
    names = tuple(frame.columns)
    numbers = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    placed = _placed(model, {WHOLE: torch.from_numpy(numbers.copy())}, names)
    cells = [{name: _cell(value) for name, value in zip(names, row, strict=True)} for row in numbers.tolist()]
    return Read(Inputs(placed, raw=cells), "table", names, _lost_digits(frame))


def _lost_digits(frame: Any) -> tuple[Caution, ...]:
    """Whole numbers beyond 2⁵³, such as ids, which no float tells from their neighbours."""
    found = []
    for name in frame.columns:
        cells = frame[name].to_numpy()
        if cells.dtype.kind in "iu" and (rows := int(((cells > EXACT) | (cells < -EXACT)).sum())):
            found.append(Caution.of("digits_lost", "yellow", column=shorten(name), rows=rows))
    return tuple(found)


def _placed(model: Model, tensors: dict[str, Tensor], columns: Sequence[str] = ()) -> Mapping[str, Tensor]:
    """Tensors as the model computes. Raises :class:`InputError` for a number that its float type cannot hold."""
    placed = model.place(tensors)
    assert not isinstance(placed, list)
    for name, tensor in tensors.items():
        there = placed[name]
        if not tensor.is_floating_point() or there.dtype == tensor.dtype or not tensor.numel():
            continue
        lost = (torch.isfinite(tensor) & ~torch.isfinite(there).to(tensor.device)).reshape(len(tensor), -1)
        if bool(lost.any()):
            row, element = (int(place) for place in torch.nonzero(lost)[0])
            held = f"column `{shorten(columns[element])}`" if columns else f"input {name!r}, element {element}"
            value = float(tensor.reshape(len(tensor), -1)[row, element])
            raise InputError(
                f"{value:.3g} is more than the network's {str(there.dtype).removeprefix('torch.')} can hold",
                where=f"row {row}, {held}",
                fix="scale the rows as they were scaled in training, or leave this one out",
            )
    return placed


def _in_order(model: Model, frame: Any) -> Any:
    """The columns by the names that the model was fitted with: their order in the frame does not matter."""
    wanted = list(getattr(model, "columns", ()))
    if not wanted:
        return frame
    lacking = [name for name in wanted if name not in frame.columns]
    if lacking:
        raise InputError(
            f"the model needs columns {', '.join(repr(shorten(name, 30)) for name in lacking[:10])}, "
            "which the rows lack",
            why=f"the rows have {', '.join(repr(shorten(name, 30)) for name in list(frame.columns)[:10])}",
        )
    return frame[wanted]


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _by_argument(model: Model, rows: Sequence[Any]) -> dict[str, Any]:
    """A tuple of inputs is named by the module's arguments, in order."""
    names = argument_names(model)
    if len(names) < len(rows):
        raise InputError(f"{len(rows)} inputs were given, the model takes {len(names)}", fix="give a dict by name")
    return dict(zip(names, rows, strict=False))


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return _plain_tensor(value.detach(), name)
    if isinstance(value, (list, tuple)):
        value = _stacked(value)
    if not isinstance(value, np.ndarray):
        hint = "; one row of a frame is frame.iloc[[0]]" if hasattr(value, "iloc") else ""
        raise InputError(
            f"a {type(value).__name__} is not rows",
            fix=f"give a tensor, an array, a DataFrame or lists of words{hint}",
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"{name} has masked cells", fix="fill them in: array.filled(value)")
    if value.dtype.kind == "c":
        raise _complex(name)
    if value.dtype.kind not in "iufb":
        raise EncodingError(
            f"{name} holds {value.dtype} values, the network takes numbers",
            fix="pass how they become its inputs: pellucid.wrap(model, encoding=…)",
        )
    if value.dtype.kind == "u" and value.dtype.itemsize > 1:
        value = value.astype(np.int64)
    if value.dtype == np.longdouble:
        value = value.astype(np.float64)
    return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))


def _plain_tensor(tensor: Tensor, name: str) -> Tensor:
    if tensor.is_complex():
        raise _complex(name)
    if tensor.is_meta:
        raise InputError(f"{name} is on the meta device and has no data", fix="give rows with numbers in them")
    if tensor.is_quantized or tensor.layout != torch.strided:
        what = "quantised" if tensor.is_quantized else "sparse"
        way = "dequantize" if tensor.is_quantized else "to_dense"
        raise InputError(f"{name} is a {what} tensor", fix=f"give {name}.{way}()")
    return tensor


def _complex(name: str) -> InputError:
    return InputError(f"{name} holds complex numbers", fix="give the real and imaginary parts side by side")


def _stacked(rows: Sequence[Any]) -> Any:
    """A list of rows as one array or tensor."""
    if rows and all(isinstance(row, Tensor) for row in rows):
        if len({row.shape for row in rows}) > 1:
            raise InputError("the rows have different shapes", fix="give rows of one shape")
        return np.stack([row.detach().cpu().double().numpy() for row in rows]).astype(_numpy_type(rows[0].dtype))
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise InputError("the rows have different lengths", why=str(error)) from error


def _numpy_type(dtype: torch.dtype) -> Any:
    return np.float32 if dtype == torch.bfloat16 else torch.empty(0, dtype=dtype).numpy().dtype


def _kind(tensors: Mapping[str, Tensor]) -> str:
    if len(tensors) > 1:
        return "tensor"
    ndim = next(iter(tensors.values())).ndim
    return {1: "table", 2: "table", 4: "image"}.get(ndim, "tensor")


def _display(tensors: Mapping[str, Tensor]) -> Any:
    """What a figure can show of rows that came as numbers: a copy, which the user's later changes do not reach."""
    if len(tensors) != 1:
        return None
    tensor = next(iter(tensors.values()))
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return tensor.detach().to("cpu", copy=True).numpy()

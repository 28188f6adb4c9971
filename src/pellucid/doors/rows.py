"""The door for rows: tensors, arrays, tables, images and lists of words become Inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import WHOLE, Inputs
from ..problem.model import Model
from ..records.errors import EncodingError, InputError, shorten


@dataclass(frozen=True)
class Read:
    """Rows as the model takes them, what kind they are, and the columns' names where they have any."""

    inputs: Inputs
    kind: str
    columns: tuple[str, ...] = ()


def as_inputs(model: Model, rows: Any) -> Read:
    """Rows for ``model``: through its encoding where it has one, else they must already be what it takes.

    Raises :class:`EncodingError` for raw rows without an encoding, :class:`InputError` for anything unusable.
    """
    rows = getattr(rows, "features", rows)  # a Dataset speaks of its features
    if _is_words(rows):
        words = tuple(tuple(row) for row in rows)
        return Read(Inputs(opaque=tuple(map(list, words)), raw=[" ".join(map(str, row)) for row in words]), "words")
    if model.encoding is not None and _is_raw(rows, model.encoding):
        return _encoded(model, rows)
    if _is_frame(rows):
        return _plain_frame(model, rows)
    named = rows if isinstance(rows, Mapping) else {WHOLE: rows}
    if isinstance(rows, tuple):
        named = _by_argument(model, rows)
    tensors = {str(name): _tensor(value, str(name)) for name, value in named.items()}
    placed = model.place(tensors)
    assert not isinstance(placed, list)
    raw = _display(tensors)
    return Read(Inputs(placed, raw=raw), _kind(tensors))


def _is_words(rows: Any) -> bool:
    if not isinstance(rows, (list, tuple)) or not rows:
        return False
    if all(isinstance(row, str) for row in rows):
        raise InputError(
            "the rows are texts",
            why="players of text are words, and how this model splits text is not known",
            fix="give lists of words ([text.split() for text in texts]) to a function that takes such lists",
        )
    return all(isinstance(row, (list, tuple)) and row and all(isinstance(w, str) for w in row) for row in rows)


def _is_frame(rows: Any) -> bool:
    return hasattr(rows, "columns") and hasattr(rows, "iloc")


def _is_raw(rows: Any, encoding: Any) -> bool:
    """Whether rows still need the encoding: tables and dicts do; arrays only for an encoding of arrays."""
    if _is_frame(rows) or (isinstance(rows, list) and rows and isinstance(rows[0], Mapping)):
        return True
    return isinstance(rows, np.ndarray) and getattr(encoding, "takes_arrays", False)


def _encoded(model: Model, rows: Any) -> Read:
    array = np.asarray(model.encoding.encode(rows))
    placed = model.place({WHOLE: torch.from_numpy(array.copy())})
    assert not isinstance(placed, list)
    if isinstance(rows, np.ndarray):
        return Read(Inputs(placed, raw=rows), "image" if array.ndim == 4 else "tensor")
    records = rows if isinstance(rows, list) else rows.to_dict("records")
    names = tuple(getattr(model.encoding, "groups", {}))
    raw = [{name: _cell(record[name]) for name in names if name in record} for record in records]
    return Read(Inputs(placed, raw=raw), "table", names)


def _plain_frame(model: Model, frame: Any) -> Read:
    text = [str(name) for name in frame.columns if frame[name].dtype.kind not in "iufb"]
    if text:
        raise EncodingError(
            f"column {shorten(text[0])!r} holds {frame[text[0]].dtype} values, the network takes numbers",
            why="how raw columns become this network's inputs comes with the network and is never guessed",
            fix="pass it: pellucid.wrap(model, encoding=…) or load(…, encoding='encoding.json')",
        )
    names = tuple(map(str, frame.columns))
    placed = model.place({WHOLE: torch.from_numpy(frame.to_numpy(dtype=np.float32, na_value=np.nan).copy())})
    assert not isinstance(placed, list)
    raw = [{name: _cell(value) for name, value in zip(names, row, strict=True)} for row in frame.to_numpy().tolist()]
    return Read(Inputs(placed, raw=raw), "table", names)


def _cell(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _by_argument(model: Model, rows: Sequence[Any]) -> dict[str, Any]:
    """A tuple of inputs is named by the module's arguments, in order."""
    import inspect

    forward = getattr(getattr(model, "module", None), "forward", getattr(model, "function", None))
    try:
        names = list(inspect.signature(forward).parameters) if forward is not None else []
    except (TypeError, ValueError):  # no signature to read
        names = []
    if len(names) < len(rows):
        raise InputError(f"{len(rows)} inputs were given, the model takes {len(names)}", fix="give a dict by name")
    return dict(zip(names, rows, strict=False))


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise InputError("the rows have different lengths", why=str(error)) from error
    if not isinstance(value, np.ndarray):
        raise InputError(
            f"a {type(value).__name__} is not rows", fix="give a tensor, an array, a DataFrame or lists of words"
        )
    if value.dtype.kind not in "iufb":
        raise EncodingError(
            f"{name} holds {value.dtype} values, the network takes numbers",
            fix="pass how they become its inputs: pellucid.wrap(model, encoding=…)",
        )
    if value.dtype == np.uint16 or value.dtype == np.uint32 or value.dtype == np.uint64:
        value = value.astype(np.int64)
    return torch.from_numpy(np.array(value))


def _kind(tensors: Mapping[str, Tensor]) -> str:
    if len(tensors) > 1:
        return "tensor"
    ndim = next(iter(tensors.values())).ndim
    return {1: "table", 2: "table", 4: "image"}.get(ndim, "tensor")


def _display(tensors: Mapping[str, Tensor]) -> Any:
    """What a figure can show of rows that came as numbers."""
    if len(tensors) != 1:
        return None
    tensor = next(iter(tensors.values()))
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return tensor.detach().cpu().numpy()

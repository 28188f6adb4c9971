"""Any function as a model: arrays, tables, pictures or texts in, numbers out."""

from __future__ import annotations

import copy
import random
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.frame_codes import FrameCodes
from ..data.image_rows import SIZES, ImageRows
from ..problem.inputs import WHOLE
from ..problem.model import Model, Output, Rows, as_columns
from ..records.errors import ModelError


class FunctionModel(Model):
    """A black box: a function of a batch that returns ``[b]`` or ``[b, K]`` numbers.

    It is given a numpy array (one per input, by name, where there are several), tables or pictures where the rows were
    such (see :meth:`of_tables`), or opaque rows as a list. ``columns`` are the names that an estimator was fitted with:
    it is then given a DataFrame with these. ``takes_tables`` is known of estimators. ``reason`` says why it is no more
    than a black box.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        encoding: Any = None,
        output: Output | None = None,
        columns: tuple[str, ...] = (),
        takes_tables: bool | None = None,
        reason: str = "",
    ):
        self.takes_tables, self.reason = takes_tables, reason
        self.pictures: ImageRows | None = None
        self.function, self.labels, self.encoding, self.columns = function, labels, encoding, columns
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.output = output or Output()
        self.chosen: dict[str, str] = {}

    @property
    def identity(self) -> object:
        try:
            hash(self.function)
            weakref.ref(self.function)
        except TypeError:
            return self
        return self if hasattr(self.function, "__self__") else self.function

    def outputs(self, rows: Rows) -> Tensor:
        if isinstance(rows, list):
            return self._as_tensor(self.function([list(row) if isinstance(row, list) else row for row in rows]))
        given = {name: _array(tensor) for name, tensor in rows.items()}
        if self.pictures is not None:
            return self._as_tensor(self.function(self.pictures.decode(given[WHOLE], given.get(SIZES))))
        if set(given) != {WHOLE}:
            return self._as_tensor(self.function(**given))
        return self._as_tensor(self._asked(given[WHOLE]))

    def of_tables(self, codes: FrameCodes) -> FunctionModel:
        """The same function, for rows that were a table: it is given tables again, with their names and types.

        A function of numbers alone may have been written for arrays: where it fails on its first table it is given
        arrays from then on.
        """
        framed = copy.copy(self)
        framed.encoding = codes
        framed.takes_tables = self.takes_tables or (None if codes.plain else True)
        return framed

    def of_pictures(self, pictures: ImageRows) -> FunctionModel:
        """The same function, for rows that were pictures: it is given them the way they came."""
        model = copy.copy(self)
        model.pictures = pictures
        return model

    def _asked(self, array: np.ndarray) -> Any:
        """What the function says to rows ``[b, …]``."""
        if not isinstance(self.encoding, FrameCodes):
            return self.function(self._named(array))
        if self.takes_tables is not None:
            return self.function(self.encoding.decode(array) if self.takes_tables else array)
        try:
            found = self.function(self.encoding.decode(array))
        except Exception as on_table:  # noqa: BLE001 — a function of arrays may raise anything when it is given a table
            found = self._on_array(array, on_table)
            self.takes_tables = False
            return found
        self.takes_tables = True
        return found

    def _on_array(self, array: np.ndarray, on_table: Exception) -> Any:
        """What the function says to an array after it failed ``on_table``, whose error is told if it fails again."""
        try:
            return self.function(array)
        except Exception:  # noqa: BLE001 — whatever it raises, it was given a table before
            raise on_table from None

    def _named(self, array: np.ndarray) -> Any:
        if not self.columns or array.ndim != 2 or array.shape[1] != len(self.columns):
            return array
        import pandas as pd

        return pd.DataFrame(array, columns=list(self.columns))

    def _as_tensor(self, found: Any) -> Tensor:
        if isinstance(found, Mapping) or _is_several(found):
            parts = found.items() if isinstance(found, Mapping) else zip(_places(found), found, strict=True)
            return self.output.pick({str(name): _tensor(part) for name, part in parts}, self.chosen).detach()
        if isinstance(found, Tensor):
            return self.output.pick(found, self.chosen).detach().cpu()
        array = np.asarray(found)
        if array.dtype == object or array.dtype.kind in "USO":
            raise ModelError(
                f"the function returned {array.dtype} values such as {str(array.ravel()[:1])[:60]}",
                why="numbers per row are needed",
                fix="pass a function that returns scores or probabilities (predict_proba, not predict)",
            )
        return as_columns(_tensor(array), "the function's result")

    def untouched(self) -> AbstractContextManager[None]:
        return random_state_kept()


@contextmanager
def random_state_kept() -> Iterator[None]:
    """A black box may draw from the global generators; they are put back."""
    numpy_state, python_state, torch_state = np.random.get_state(), random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_rng_state(torch_state)


def _array(tensor: Tensor) -> np.ndarray:
    """A numpy array of its own, in a type that numpy knows."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _tensor(part: Any) -> Any:
    """A part of what a function returned as a tensor, where it is numbers."""
    if isinstance(part, Tensor):
        return part.detach().cpu()
    array = np.array(part)
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    return torch.from_numpy(array) if array.dtype.kind in "biufc" else part


def _is_several(found: Any) -> bool:
    """A tuple of arrays is several outputs; any other sequence is one, row by row."""
    return isinstance(found, tuple) and any(isinstance(part, (np.ndarray, Tensor)) and part.ndim for part in found)


def _places(found: tuple[Any, ...]) -> Sequence[Any]:
    return getattr(found, "_fields", range(len(found)))

"""Any function as a model: arrays or lists of words in, numbers out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import WHOLE
from ..problem.model import Model, Output, Rows, as_columns
from ..records.errors import ModelError


class FunctionModel(Model):
    """A black box: a function of a batch that returns ``[b]`` or ``[b, K]`` numbers.

    It is given a numpy array (one per input, by name, where there are several), or the opaque rows as a list.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str = "",
        labels: tuple[str, ...] | None = None,
        encoding: Any = None,
        output: Output | None = None,
    ):
        self.function, self.labels, self.encoding = function, labels, encoding
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.output = output or Output()
        self.chosen: dict[str, str] = {}

    @property
    def identity(self) -> object:
        try:
            hash(self.function)
        except TypeError:
            return self
        return self if hasattr(self.function, "__self__") else self.function

    def outputs(self, rows: Rows) -> Tensor:
        if isinstance(rows, list):
            found = self.function(rows)
        else:
            given = {name: tensor.detach().cpu().numpy() for name, tensor in rows.items()}
            found = self.function(given[WHOLE]) if set(given) == {WHOLE} else self.function(**given)
        return self._as_tensor(found)

    def _as_tensor(self, found: Any) -> Tensor:
        if isinstance(found, (Tensor, dict)):
            return self.output.pick(found, self.chosen).detach()
        array = np.asarray(found)
        if array.dtype == object or array.dtype.kind in "USO":
            raise ModelError(
                f"the function returned {array.dtype} values such as {str(array.ravel()[:1])[:60]}",
                why="numbers per row are needed",
                fix="pass a function that returns scores or probabilities (predict_proba, not predict)",
            )
        return as_columns(torch.from_numpy(np.array(array)), "the function's result")

    def untouched(self) -> AbstractContextManager[None]:
        return _random_state_kept()


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """A black box may draw from the global generators; they are put back."""
    numpy_state, python_state, torch_state = np.random.get_state(), random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_rng_state(torch_state)

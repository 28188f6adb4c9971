"""The caller: the one place where a model is called, batch by batch, counted and guarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.model import Countable, Model
from ..records.errors import Cancelled, ModelError
from .listener import Listener
from .memory import OPAQUE_BATCH, count_row

MOST_LEARNED = 16
"""Versions and row shapes remembered per model."""
TOLERANCE = 1e-4
"""Relative difference above which two answers to the same row count as different."""


@dataclass
class Learned:
    """What was found out about a model by asking it twice; kept weakly under the user's own object."""

    batch: int
    coupled: float = 0.0
    unstable: float = 0.0


_KEPT: WeakKeyDictionary[object, dict[Any, Learned]] = WeakKeyDictionary()
_LOCKS: WeakKeyDictionary[object, threading.RLock] = WeakKeyDictionary()
_GATE = threading.Lock()


def _lock_of(identity: object) -> threading.RLock:
    with _GATE:
        return _LOCKS.setdefault(identity, threading.RLock())


@dataclass
class Caller:
    """Calls one model with rows derived from one batch of inputs.

    ``batch`` is the number of rows at once: found by rule, halved for good when memory runs out.
    """

    model: Model
    inputs: Inputs
    listener: Listener
    batch: int = 0
    rows: int = 0
    gradients: int = 0
    seconds: float = 0.0
    learned: Learned = field(default_factory=lambda: Learned(OPAQUE_BATCH))

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Alone with the model, which is as it was when this is left."""
        with _lock_of(self.model.identity), self.model.untouched():
            yield

    def outputs(self, flat: Tensor, rows: Tensor) -> Tensor:
        """The outputs ``[b, K]`` of flat rows that derive from the inputs' ``rows`` (``Int[b]``)."""
        return self._called(len(flat), self.inputs.fold(flat, rows))

    def opaque(self, rows: list[Any]) -> Tensor:
        """The outputs of the opaque rows of a black box."""
        return self._called(len(rows), rows)

    def _called(self, count: int, rows: Any) -> Tensor:
        if self.listener.cancelled():
            raise Cancelled("stopped on request")
        began = time.perf_counter()
        fixed = self.model.fixed_batch
        found = self._padded(rows, count, fixed) if fixed and fixed != count else self.model.outputs(rows)
        if len(found) != count:
            raise ModelError(
                f"the model returned {len(found)} rows for {count}",
                fix="it must return one row of outputs per row of inputs",
            )
        self.rows += count
        self.seconds += time.perf_counter() - began
        self.listener.advanced(count)
        return found

    def _padded(self, rows: Any, count: int, fixed: int) -> Tensor:
        """Serve a model that takes exactly ``fixed`` rows by repeating the last one."""
        parts = []
        for start in range(0, count, fixed):
            taken = min(fixed, count - start)
            if isinstance(rows, list):
                part: Any = rows[start : start + taken] + [rows[-1]] * (fixed - taken)
            else:
                index = torch.arange(start, start + fixed).clamp(max=count - 1)
                part = {name: tensor[index] for name, tensor in rows.items()}
            parts.append(self.model.outputs(part)[:taken])
        return torch.cat(parts)

    def halve(self, error: Exception) -> None:
        """Memory ran out: go on with half the rows at once. Raises where a single row is too much."""
        if self.batch <= 1:
            raise ModelError("memory ran out with a single row at once", why=str(error).split("\n")[0]) from error
        self.batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def learn(self) -> None:
        """Find the batch size, and whether an answer depends on its neighbours or on chance."""
        known = _KEPT.setdefault(self.model.identity, {})
        if self._key not in known:
            self.remember(self._probed())
        self.learned = known[self._key]
        self.batch = 1 if self.learned.coupled else self.learned.batch

    def remember(self, learned: Learned) -> None:
        """Take ``learned`` for true of this model and rows of this shape from now on."""
        known = _KEPT.setdefault(self.model.identity, {})
        if len(known) >= MOST_LEARNED:
            known.clear()
        known[self._key] = learned

    @property
    def _key(self) -> Any:
        shape = tuple(self.inputs.shapes.items()) if self.inputs.opaque is None else ()
        return self.model.version, shape, len(self.inputs) > 1

    def _row(self, rows: list[int]) -> Tensor:
        if self.inputs.opaque is not None:
            return self.opaque([self.inputs.opaque[row] for row in rows])
        index = torch.tensor(rows)
        return self.outputs(self.inputs.flat[index], index)

    def _probed(self) -> Learned:
        with torch.no_grad():
            learned = Learned(self._counted())
            first = self._row([0])
            learned.unstable = _difference(first, self._row([0]))
            if len(self.inputs) > 1 and not learned.unstable:
                learned.coupled = _difference(first, self._row([0, 1])[:1])
        return learned

    def _counted(self) -> int:
        if self.inputs.opaque is not None or not isinstance(self.model, Countable) or self.model.fixed_batch:
            return self.model.fixed_batch or OPAQUE_BATCH
        return count_row(lambda: self._row([0])).batch()


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest relative difference, 0 where it is within rounding."""
    a, b = a.double(), b.double()
    if a.shape != b.shape or not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return 0.0  # what is not finite is reported, with its row, by the pass that binds the target
    gap = float((a - b).abs().max()) if a.numel() else 0.0
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-12) if a.numel() else 1.0
    return gap / scale if gap / scale > TOLERANCE else 0.0

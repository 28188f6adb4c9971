"""A recorder for training: keeps how activations, gradients and weights are spread, epoch by epoch.

It listens to :func:`pellucid.training.fit.fit`, or stands around a loop of one's own. The network's numbers are read,
never changed, and all hooks are taken off again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.listener import Listener, Silent
from ..records.errors import InputError
from ..records.recording import QUANTILES, Recording

BINS, SAMPLED = 48, 65_536
"""Bins of a histogram; numbers of a tensor that it is made of, evenly spread over it."""


@dataclass(eq=False)
class Recorder:
    """Histograms of a network's activations, gradients and weights, one set for each epoch.

    ``fit(net, data, epochs=20, listener=Recorder(net))`` records by itself. Around a loop of one's own::

        with Recorder(net) as recorder:
            for _ in range(epochs):
                ...  # batches, backward, steps
                recorder.epoch(loss)

    Activations are those of the last batch in training mode, gradients those of the last backward pass, weights those
    at the epoch's end. ``listener`` hears what the recorder hears. :attr:`recording` is the record, at any time.
    """

    module: nn.Module
    listener: Listener = field(default_factory=Silent)
    _handles: list[Any] = field(default_factory=list)
    _activations: dict[str, Tensor] = field(default_factory=dict)
    _gradients: dict[str, Tensor] = field(default_factory=dict)
    _known: list[tuple[int, float, dict[tuple[str, str], _Spread]]] = field(default_factory=list)
    _next: int = 0
    _resuming: bool = False

    # Around a loop of one's own ----------------------------------------------------------------

    def __enter__(self) -> Self:
        self._watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def epoch(self, loss: float | Tensor = float("nan")) -> None:
        """Keep what the epoch that ends here left. Raises :class:`InputError` outside of a ``with``."""
        if not self._handles:
            raise InputError("the recorder is not watching", fix="with Recorder(net) as recorder: …")
        found = {("activations", name): _spread(value) for name, value in self._activations.items()}
        found |= {("gradients", name): _spread(value) for name, value in self._gradients.items()}
        found |= {("weights", name): _spread(_sample(value)) for name, value in self.module.named_parameters()}
        self._known.append((self._next, float(loss), found))
        self._next += 1

    # As a listener of fit ----------------------------------------------------------------------

    def started(self, what: str, total: int) -> None:
        self._watch()
        self._resuming = True  # the first step told is how many epochs were done before
        self.listener.started(what, total)

    def advanced(self, steps: int = 1) -> None:
        if self._resuming:
            self._next, self._resuming = max(self._next, steps), False
        else:
            self.epoch()
        self.listener.advanced(steps)

    def finished(self) -> None:
        self._leave()
        self.listener.finished()

    def cancelled(self) -> bool:
        return self.listener.cancelled()

    # What was seen -----------------------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """What was recorded until now. A series that an epoch lacks is NaN there."""
        order = {"activations": 0, "gradients": 1, "weights": 2}
        seen = list(dict.fromkeys(key for _, _, found in self._known for key in found))
        series = tuple(sorted(seen, key=lambda key: order[key[0]]))
        nothing = _spread(torch.zeros(0))
        spreads = [[found.get(key, nothing) for key in series] for _, _, found in self._known]

        def laid(of: Callable[[_Spread], Any], kind: type, *width: int) -> np.ndarray:
            values = [[of(spread) for spread in line] for line in spreads]
            return np.array(values, dtype=kind).reshape(len(self._known), len(series), *width)

        return Recording(
            series=series,
            epochs=np.array([number for number, _, _ in self._known], dtype=np.int64),
            losses=np.array([loss for _, loss, _ in self._known], dtype=np.float64),
            counts=laid(lambda spread: spread.counts, np.int64, BINS),
            low=laid(lambda spread: spread.low, np.float64),
            high=laid(lambda spread: spread.high, np.float64),
            quantiles=laid(lambda spread: spread.quantiles, np.float64, len(QUANTILES)),
            moments=laid(lambda spread: spread.moments, np.float64, 2),
            sizes=laid(lambda spread: spread.size, np.int64),
            broken=laid(lambda spread: spread.broken, np.int64),
            notes={"model": type(self.module).__name__},
        )

    def _watch(self) -> None:
        if self._handles:
            return
        for name, layer in self.module.named_modules():
            if name and not isinstance(layer, torch.jit.ScriptModule):
                self._handles.append(layer.register_forward_hook(self._seeing(name)))
        for name, weight in self.module.named_parameters():
            if weight.requires_grad:
                self._handles.append(weight.register_post_accumulate_grad_hook(self._feeling(name)))

    def _seeing(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: Any, found: Any) -> None:
            if layer.training and isinstance(found, Tensor) and found.is_floating_point():
                self._activations[name] = _sample(found)

        return hook

    def _feeling(self, name: str) -> Callable[[Tensor], None]:
        def hook(weight: Tensor) -> None:
            if weight.grad is not None:
                self._gradients[name] = _sample(weight.grad)

        return hook

    def _leave(self) -> None:
        while self._handles:
            self._handles.pop().remove()


@dataclass(frozen=True, eq=False)
class _Spread:
    """How one tensor's numbers are spread."""

    counts: np.ndarray
    low: float
    high: float
    quantiles: np.ndarray
    moments: tuple[float, float]
    size: int
    broken: int


def _sample(values: Tensor) -> Tensor:
    """At most :data:`SAMPLED` of a tensor's numbers, evenly spread, as they are now."""
    flat = values.detach().flatten()
    return flat[:: max(1, -(-len(flat) // SAMPLED))].clone()


def _spread(values: Tensor) -> _Spread:
    numbers = values.double().cpu().numpy()
    finite = numbers[np.isfinite(numbers)]
    broken = len(numbers) - len(finite)
    if not len(finite):
        none = np.full(len(QUANTILES), np.nan)
        return _Spread(np.zeros(BINS, dtype=np.int64), np.nan, np.nan, none, (np.nan, np.nan), len(numbers), broken)
    low, high = float(finite.min()), float(finite.max())
    places = np.zeros(len(finite), dtype=np.int64)
    if high > low:
        places = np.minimum(((finite - low) / (high - low) * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    moments = float(finite.mean()), float(finite.std())
    return _Spread(counts, low, high, np.quantile(finite, QUANTILES), moments, len(numbers), broken)

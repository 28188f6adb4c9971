"""Noisy copies of rows, made again from their seeds rather than kept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session
from ..records.errors import NotApplicable

AT_ONCE = 2**16
"""Random numbers drawn from one stream; a row of more elements has a stream for each copy."""


class NoisyRows:
    """Copies of a session's rows with Gaussian noise, whose spread is a share of the range of the values.

    In a table that is each column's range over the background and the row itself; elsewhere the range of the row's own
    values, for each input tensor. With ``absolute`` the spread is in the units of the rows, the same everywhere.
    Raises :class:`NotApplicable` for rows that are not floating-point numbers.
    """

    def __init__(self, session: Session, samples: int, share: float, absolute: bool = False):
        if session.opaque or not session.x.is_floating_point():
            raise NotApplicable(
                "noise cannot be added to these rows", why="they are not floating-point numbers",
                fix="methods that remove players, such as occlusion, take them as they are",
            )  # fmt: skip
        self.session, self.samples = session, samples
        self.spread = torch.full_like(session.x, share) if absolute else share * _ranges(session)
        self._kept: tuple[tuple[int, int], np.ndarray] | None = None

    def points(self, questions: Tensor, indices: Tensor) -> Tensor:
        """The recipe: copy number ``indices[i]`` of the row of ``questions[i]``; all targets see the same copies.

        Questions come one after another, each with the same run of numbers, as the engine asks.
        """
        items, first = self.session.item(questions), int(indices[0])
        count = int(indices[-1]) + 1 - first
        noise = [self._drawn(item, first, first + count) for item in items[::count].tolist()]
        made = torch.from_numpy(noise[0] if len(noise) == 1 else np.concatenate(noise)).to(self.session.x)
        return torch.addcmul(self.session.x[items], self.spread[items], made)

    def of_all(self, numbers: np.ndarray) -> Tensor:
        """The copies of these numbers of every row, ``[N, c, D]``."""
        N, c = len(self.session), len(numbers)
        questions = torch.arange(N).repeat_interleave(c) * self.session.targets
        return self.points(questions, torch.from_numpy(numbers).repeat(N)).reshape(N, c, -1)

    def _drawn(self, item: int, start: int, stop: int) -> np.ndarray:
        """Standard normal numbers ``Float32[stop − start, D]`` of one row, by its id and their places alone."""
        size = max(AT_ONCE // self.session.x.shape[1], 1)
        parts = [self._stream(item, place, size) for place in range(start // size, (stop - 1) // size + 1)]
        offset = start // size * size
        return (parts[0] if len(parts) == 1 else np.concatenate(parts))[start - offset : stop - offset]

    def _stream(self, item: int, place: int, size: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != (item, place):
            size = min(size, self.samples - place * size)
            rng = self.session.noise(item * self.session.targets, place)
            self._kept = (item, place), rng.standard_normal((size, self.session.x.shape[1]), dtype=np.float32)
        return self._kept[1]


def _ranges(session: Session) -> Tensor:
    """The range of the values, ``[N, D]`` or of a shape that broadcasts to it."""
    x = session.x
    if session.kind == "table":
        low, high = session.background.amin(1), session.background.amax(1)
        return torch.maximum(high, x) - torch.minimum(low, x)
    widths = [int(np.prod(shape)) for shape in session.inputs.shapes.values()]
    spans = [part.amax(1, keepdim=True) - part.amin(1, keepdim=True) for part in x.split(widths, dim=1)]
    return torch.cat([span.expand(-1, width) for span, width in zip(spans, widths, strict=True)], dim=1)

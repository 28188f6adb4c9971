"""Noisy copies of rows, made again from their keys rather than kept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..engine.normal import standard_normal
from ..engine.session import Session
from ..records.errors import NotApplicable


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
        self._keys = torch.from_numpy(session.keys()).to(session.x.device)

    def points(self, questions: Tensor, indices: Tensor) -> Tensor:
        """The recipe: copy number ``indices[i]`` of the row of ``questions[i]``; all targets see the same copies."""
        x = self.session.x
        items = self.session.item(questions).to(x.device)
        noise = standard_normal(self._keys[items], indices.to(x.device), x.shape[1])
        return torch.addcmul(x[items], self.spread[items], noise.to(x.dtype))

    def of_all(self, numbers: np.ndarray) -> Tensor:
        """The copies of these numbers of every row, ``[N, c, D]``."""
        N, c = len(self.session), len(numbers)
        questions = torch.arange(N).repeat_interleave(c) * self.session.targets
        return self.points(questions, torch.from_numpy(numbers).repeat(N)).reshape(N, c, -1)


def _ranges(session: Session) -> Tensor:
    """The range of the values, ``[N, D]`` or of a shape that broadcasts to it."""
    x = session.x
    if session.kind == "table":
        low, high = session.background.amin(1), session.background.amax(1)
        return torch.maximum(high, x) - torch.minimum(low, x)
    widths = [int(np.prod(shape)) for shape in session.inputs.shapes.values()]
    spans = [part.amax(1, keepdim=True) - part.amin(1, keepdim=True) for part in x.split(widths, dim=1)]
    return torch.cat([span.expand(-1, width) for span, width in zip(spans, widths, strict=True)], dim=1)

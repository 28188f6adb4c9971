"""Mean and variance of what many samples say, summed as they come, with the errors of both."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session

Of = Literal["mean", "variance", "square"]


class Moments:
    """What is asked of samples: their ``mean``, their ``variance``, or the mean of their ``square``.

    Powers are summed of each sample's distance from the first one, so that samples which agree give a variance of zero
    and not of rounding. They are summed where the session's rows are: samples do not leave an accelerator one by one.
    """

    def __init__(self, session: Session, of: Of):
        self.of: Of = of
        self._first = torch.zeros((session.questions, session.n), dtype=torch.float64, device=session.x.device)
        self._sums = [torch.zeros_like(self._first) for _ in range(4 if of == "variance" else 2)]
        self._count = torch.zeros((session.questions, 1), dtype=torch.float64)

    def add(self, questions: slice, values: Tensor) -> None:
        """Take in samples ``Float64[q, c, n]`` of some questions, in the order in which they are drawn."""
        values = values.square() if self.of == "square" else values
        fresh = self._count[questions, 0] == 0
        if fresh.any():
            self._first[questions] = torch.where(fresh[:, None].to(values.device), values[:, 0], self._first[questions])
        away = values - self._first[questions][:, None]
        power = away
        for total in self._sums:
            total[questions] += power.sum(1)
            power = power * away
        self._count[questions] += values.shape[1]

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """What was asked, and its standard error, ``[Q, n]`` each."""
        m, first, sums = self._count.numpy(), self._first.cpu().numpy(), [total.cpu().numpy() for total in self._sums]
        shift = sums[0] / m
        second = np.maximum(sums[1] / m - shift**2, 0.0)
        variance = second * m / (m - 1)
        if self.of != "variance":
            return first + shift, np.sqrt(variance / m)
        third, fourth = sums[2] / m, sums[3] / m
        fourth = fourth - 4 * shift * third + 6 * shift**2 * sums[1] / m - 3 * shift**4
        error = np.maximum(fourth - variance**2 * (m - 3) / (m - 1), 0.0) / m  # of an unbiased sample variance
        return variance, np.sqrt(error)

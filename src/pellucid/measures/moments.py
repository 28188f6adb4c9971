"""Mean and variance of what many samples say, summed as they come, with the errors of both."""

from __future__ import annotations

from typing import Literal

import numpy as np

Of = Literal["mean", "variance", "square"]


class Moments:
    """What is asked of samples: their ``mean``, their ``variance``, or the mean of their ``square``.

    Powers are summed of each sample's distance from the first one, so that samples which agree give a variance of zero
    and not of rounding.
    """

    def __init__(self, questions: int, n: int, of: Of):
        self.of: Of = of
        self._first = np.zeros((questions, n))
        self._sums = np.zeros((4 if of == "variance" else 2, questions, n))
        self._count = np.zeros((questions, 1))

    def add(self, questions: slice, values: np.ndarray) -> None:
        """Take in samples ``[q, c, n]`` of some questions, in the order in which they are drawn."""
        values = np.square(values) if self.of == "square" else values
        fresh = self._count[questions, 0] == 0
        self._first[questions][fresh] = values[fresh, 0]
        away = values - self._first[questions][:, None]
        power = away
        for total in self._sums:
            total[questions] += power.sum(1)
            power = power * away
        self._count[questions] += values.shape[1]

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """What was asked, and its standard error, ``[Q, n]`` each."""
        m, shift = self._count, self._sums[0] / self._count
        second = np.maximum(self._sums[1] / m - shift**2, 0.0)
        variance = second * m / (m - 1)
        if self.of != "variance":
            return self._first + shift, np.sqrt(variance / m)
        third, fourth = self._sums[2] / m, self._sums[3] / m
        fourth = fourth - 4 * shift * third + 6 * shift**2 * self._sums[1] / m - 3 * shift**4
        error = np.maximum(fourth - variance**2 * (m - 3) / (m - 1), 0.0) / m  # of an unbiased sample variance
        return variance, np.sqrt(error)

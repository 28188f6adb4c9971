"""A straight line through weighted points: its slopes, how well it fits, and what another draw would say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..records.errors import NotApplicable

ROUNDING = 1e-6
"""Standard errors below this share of the largest value are rounding: no order hangs on them."""


NOTHING = 1e-9
"""Share of the weight below which the rows that differ from the explained one tell nothing."""


@dataclass(frozen=True, eq=False)
class Line:
    """Ridge regression of any number of answers on one set of points.

    Attributes
    ----------
    points: ``Float64[b, n]``, seen from where the line passes: the origin, or their mean where its height is free.
    weights: ``Float64[b]``.
    gram: ``Float64[n, n]``, Σ weight · point pointᵀ.
    pull: ``Float64[b, n]``, what the slopes gain where the answer at a point rises by one: slopes = answers · pull.
    free: whether the height is fitted too, without penalty, or the line passes through the origin.
    """

    points: np.ndarray
    weights: np.ndarray
    gram: np.ndarray
    pull: np.ndarray
    penalty: float
    free: bool

    @classmethod
    def through(cls, points: np.ndarray, weights: np.ndarray, penalty: float = 0.0, free: bool = False) -> Line:
        """The line for ``points [b, n]``: what is solved once for all answers."""
        moved = points.any(1)
        if moved.any() and weights[moved].sum() <= NOTHING * weights.sum():
            raise NotApplicable(
                "no drawn row is near enough to the explained one to weigh anything",
                why="the proximity kernel is too narrow for these players",
                fix="a larger kernel_width, or leave it out",
            )
        if free:
            points = points - (weights @ points) / weights.sum()
        weighted = points * weights[:, None]
        gram = points.T @ weighted
        inverse = np.linalg.inv(gram + penalty * np.eye(points.shape[1]))
        return cls(points, weights, gram, weighted @ inverse, penalty, free)

    def narrowed(self, players: np.ndarray) -> Line:
        """The line that sees some of the players only."""
        return Line.through(self.points[:, players], self.weights, self.penalty, self.free)

    def slopes(self, answers: np.ndarray) -> np.ndarray:
        """``Float64[q, n]`` for answers ``[q, b]``."""
        return answers @ self.pull

    def residuals(self, answers: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """What the line leaves of the answers, ``Float64[q, b]``."""
        if self.free:
            answers = answers - (answers @ self.weights)[:, None] / self.weights.sum()
        return answers - slopes @ self.points.T

    def quality(self, answers: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted R² (1 where the answers do not vary) and root mean squared error, ``Float64[q]`` each."""
        mass = self.weights.sum()
        means = (answers @ self.weights)[:, None] / mass
        total = np.square(answers - means) @ self.weights
        left = np.square(residuals) @ self.weights
        r2 = np.where(total > 1e-24, 1 - left / np.maximum(total, 1e-300), 1.0)
        return r2, np.sqrt(left / mass)

    def shifts(self, residuals: np.ndarray, pairs: bool = False) -> np.ndarray:
        """What each point, or each of the ``pairs`` drawn together, did to the slopes, ``Float64[units, n]``.

        ``residuals [b]`` are those of one answer. Σ shift shiftᵀ is the robust covariance of the slopes (White 1980;
        by clusters, Liang & Zeger 1986), enlarged by units / (units − n) for what the fit took out of the residuals;
        NaN where there are no more units than slopes.
        """
        shifts = self.pull * residuals[:, None]
        if pairs:
            both = len(shifts) // 2 * 2
            shifts = np.vstack([shifts[0:both:2] + shifts[1:both:2], shifts[both:]])
        units, n = shifts.shape
        return shifts * (np.sqrt(units / (units - n)) if units > n else np.nan)

    def chosen(self, slopes: np.ndarray, moments: np.ndarray, count: int, forward: bool) -> np.ndarray:
        """The ``count`` players that a sparser line keeps, ``Int[count]`` in their order.

        Those with the largest weight (slope times the spread of the points); or, ``forward``, one after the other the
        player that lowers the error most. ``moments [n]`` are Σ weight · answer · point.
        """
        if forward:
            return self._forward(moments, count)
        weight = np.abs(slopes) * np.sqrt(np.diag(self.gram))
        return np.sort(np.argsort(-weight, kind="stable")[:count])

    def moments(self, answers: np.ndarray) -> np.ndarray:
        """Σ weight · answer · point, ``Float64[q, n]``."""
        return (answers * self.weights) @ self.points

    def _forward(self, moments: np.ndarray, count: int) -> np.ndarray:
        """Orthogonal least squares on the normal equations: each step takes out what the chosen player explains."""
        gram = self.gram + self.penalty * np.eye(len(self.gram))
        left, rest, kept = gram.copy(), moments.copy(), []
        for _ in range(count):
            size = np.diag(left)
            alive = size > 1e-12 * np.diag(gram)
            alive[kept] = False
            gain = np.where(alive, np.square(rest) / np.where(alive, size, 1.0), -1.0)
            best = int(np.argmax(gain))
            if gain[best] < 0:
                break
            kept.append(best)
            share = left[best] / left[best, best]
            rest = rest - rest[best] * share
            left = left - np.outer(left[:, best], share)
        return np.sort(kept)


def expected_overlap(values: np.ndarray, shifts: np.ndarray, k: int, noise: np.ndarray) -> float:
    """The share of the ``k`` largest |values| that would be among the k largest of another, independent draw.

    The other's values are Gaussian about these with twice their covariance, Σ shift shiftᵀ of ``shifts [units, n]``:
    both draws err. ``noise`` is ``Float64[draws, n]``, standard normal. NaN where nothing tells the errors, or all
    values are 0 and nothing is first.
    """
    errors, largest = np.sqrt(np.square(shifts).sum(0)), np.abs(values).max()
    if not np.isfinite(errors).all() or largest == 0:
        return float("nan")
    if errors.max() <= ROUNDING * largest:
        return 1.0
    root = _root(shifts)
    other = np.abs(values + np.sqrt(2.0) * (noise[:, : len(root)] @ root))
    first = np.zeros(len(values), dtype=bool)
    first[np.argsort(-np.abs(values), kind="stable")[:k]] = True
    return float(first[np.argpartition(-other, k - 1, axis=1)[:, :k]].mean())


def _root(shifts: np.ndarray) -> np.ndarray:
    """``Float64[m, n]`` with rootᵀ root = shiftsᵀ shifts and no more than n rows."""
    if len(shifts) <= shifts.shape[1]:
        return shifts
    sizes, axes = np.linalg.eigh(shifts.T @ shifts)
    return np.sqrt(np.maximum(sizes, 0.0))[:, None] * axes.T


def local_line(steps: np.ndarray, change: np.ndarray) -> tuple[float, float]:
    """R² and error of the least-squares line through ``change [k]`` at ``steps [k, D]`` from the row.

    NaN where there are no more points than elements: any line would do.
    """
    if steps.shape[1] >= len(steps):
        return float("nan"), float("nan")
    line, answers = Line.through(steps, np.ones(len(steps)), 1e-9), change[None]
    r2, error = line.quality(answers, line.residuals(answers, line.slopes(answers)))
    return float(r2[0]), float(error[0])

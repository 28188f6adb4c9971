"""Hyper-parameters of an odd process by a fixed number of natural steps, which hardly carry rounding along.

They are x = (log τ, δ₁ … δₙ, log B, log of each noise) with relevances cᵢ = τ e^δᵢ / Σ e^δⱼ, and minimise minus the
log posterior F. A step is the gradient over an expected curvature (Amari 1998, Natural gradient works efficiently in
learning), never longer than 1, and it keeps a share of the step before. Nothing is searched and nothing branches: a
line search carries the rounding of float32 answers, which a row's place in its batch decides, from step to step, up
to 1e-4 of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

STEPS, FIRST = 12, 8
"""Steps in all, and the first of them, which look at few of the data."""
FEW, MOST = 75, 200
"""Data at most that the first steps and the last ones look at; the values are read from all."""
LOOKED = (0, 1, 3, FIRST)
"""Steps at which the curvature of what all players share is worked out anew."""
LONGEST, KEPT = 1.0, 0.4
"""The length of a step at most, and the share of it that the next one keeps."""
START = (1.5, 0.0, -7.0)
"""τ, log B and log λ at the start, which are their priors' centres too."""
SPREADS = (1.0, 1.0, 3.0, 5.0)
"""Standard deviations of the priors of log τ, of each δ, of log B, of each log λ."""
BOUNDS = ((np.log(0.05), np.log(8.0)), (-5.0, 4.0), (-7.0, 9.0), (-25.0, 2.0))
"""Of log τ, of each player's log relevance, of log B, of log λ."""


@dataclass(frozen=True, eq=False)
class Hyper:
    """cᵢ ``Float[n]``, the height B of the interactions, the noise λ of odd parts, and that of their gradients."""

    relevance: np.ndarray
    height: float
    noise: float
    slope_noise: float = float("inf")

    @classmethod
    def of(cls, x: np.ndarray, n: int) -> Hyper:
        shares = np.exp(x[1 : n + 1] - x[1 : n + 1].max())
        return cls(np.exp(x[0]) * shares / shares.sum(), *np.exp(x[n + 1 :]).tolist())

    @property
    def tau(self) -> float:
        return float(self.relevance.sum())

    def reshaped(self, profile: np.ndarray) -> Hyper:
        """The same with each player's relevance times ``profile``, τ kept."""
        relevance = self.relevance * profile
        return replace(self, relevance=relevance * self.tau / relevance.sum())


@dataclass(frozen=True, eq=False)
class Prior:
    """Independent normal priors of x for n players and k noises."""

    n: int
    noises: int

    def _each(self, values: Sequence[float]) -> np.ndarray:
        tau, delta, height, noise = values
        return np.array([tau, *[delta] * self.n, height, *[noise] * self.noises])

    @cached_property
    def centre(self) -> np.ndarray:
        return self._each((np.log(START[0]), 0.0, *START[1:]))

    @cached_property
    def precision(self) -> np.ndarray:
        return self._each(SPREADS) ** -2.0

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        least, most = zip(*BOUNDS, strict=True)
        return self._each(least), self._each(most)


@dataclass(frozen=True, eq=False)
class Posterior:
    """F at one x, without the prior, and its gradient; ``directions`` makes M⁻¹ ∂M/∂ of log τ, log B, log λ …"""

    value: float
    gradient: np.ndarray
    directions: Callable[[], Sequence[np.ndarray]]

    @property
    def information(self) -> np.ndarray:
        """The expected curvature in (log τ, log B, log λ …), ``Float[2 + k, 2 + k]``."""
        return expected(self.directions())


def expected(moved: Sequence[np.ndarray]) -> np.ndarray:
    """½ tr(AᵢAⱼ) − tr Aᵢ tr Aⱼ/(2 rows) for Aᵢ = M⁻¹ ∂M/∂xᵢ: the likelihood's Fisher information of a scaled game."""
    traces = np.array([np.trace(one) for one in moved])
    turned = [np.ascontiguousarray(one.T) for one in moved]
    crossed = np.array([[np.vdot(one, other) for other in turned] for one in moved])
    return (crossed - np.outer(traces, traces) / len(moved[0])) / 2


class Likelihood(Protocol):
    """Minus the log likelihood of data at a design, as a function of x.

    ``curvature`` is the expected second derivative in each δ at the start, where all players are alike.
    """

    n: int
    noises: int

    @property
    def curvature(self) -> float: ...

    def at(self, x: np.ndarray, data: np.ndarray) -> Posterior: ...


def descended(first: tuple[Likelihood, np.ndarray], last: tuple[Likelihood, np.ndarray]) -> Hyper:
    """Hyper-parameters of (nearly) the greatest posterior likelihood.

    The first steps and the last have a likelihood and data ``[rows, R]`` of their own; every column is a game whose
    scale is profiled out. The curvature in δᵢ is taken to grow with cᵢ from what it is at the start, that of what all
    players share is worked out.
    """
    n, noises = last[0].n, last[0].noises
    prior = Prior(n, noises)
    x, before = prior.centre, np.zeros(n + 2 + noises)
    common, own = np.append(0, np.arange(n + 1, len(x))), slice(1, n + 1)
    information, (least, most) = np.empty(0), prior.bounds
    for step in range(STEPS):
        likelihood, data = first if step < FIRST else last
        here = likelihood.at(x, data)
        if step in LOOKED:
            information = here.information + np.diag(prior.precision[common])
        downhill = -here.gradient - prior.precision * (x - prior.centre)
        ratio = np.exp(x[own])
        downhill[own] /= prior.precision[own] + likelihood.curvature * ratio / ratio.mean()
        downhill[common] = np.linalg.solve(information, downhill[common])
        move = downhill * min(1.0, LONGEST / max(float(np.sqrt(downhill @ downhill)), 1e-300)) + KEPT * before
        after = np.minimum(np.maximum(x + move, least), most)
        x, before = after, after - x
    return Hyper.of(x, n)


def spread_out(rows: int, most: int) -> np.ndarray:
    """All of so many data, or ``most`` spread evenly over them, the first always.

    A design lists its pairs by size, so every k-th of them has all sizes.
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(int))

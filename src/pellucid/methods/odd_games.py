"""Games that share a design, solved by an odd process: each fitted on its own, all at once, or bent from one fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from .odd_fit import Hyper
from .odd_process import Fitter, Process, Reading
from .odd_slopes import SlopeFitter, SlopeProcess

How = Literal["row", "one_shot", "pooled"]
SAMPLED = 24
"""Questions whose data decide the pooled hyper-parameters."""
EXPONENTS = (0.0, 0.25, 0.5)
"""How far a question's own profile may bend the pooled relevance in a one-shot fit."""
SMALLEST = 1e-8
"""Standard errors are at least this share of a game's scale: below it is rounding."""


class Design(Protocol):
    """What is asked of every game, with the fit and the process that belong to it; everyone's half comes first."""

    def fit(self, data: np.ndarray) -> Hyper: ...

    def process(self, hyper: Hyper) -> Reading: ...


@dataclass(frozen=True, eq=False)
class OddParts:
    """Odd parts at ``signs [rows, n]``: data are ``[rows, R]``."""

    signs: np.ndarray

    @cached_property
    def _fitter(self) -> Fitter:
        return Fitter(self.signs)

    def fit(self, data: np.ndarray) -> Hyper:
        return self._fitter(data)

    def process(self, hyper: Hyper) -> Process:
        return Process(self.signs, hyper)


@dataclass(frozen=True, eq=False)
class OddPartsAndSlopes:
    """Odd parts at ``signs [rows, n]``, then slopes at the first ``sloped`` of them: ``[rows + sloped · n, R]``."""

    signs: np.ndarray
    sloped: int

    @cached_property
    def _fitter(self) -> SlopeFitter:
        return SlopeFitter(self.signs, self.sloped)

    def fit(self, data: np.ndarray) -> Hyper:
        return self._fitter(data)

    def process(self, hyper: Hyper) -> SlopeProcess:
        return SlopeProcess(self.signs, hyper, self.sloped)


@dataclass(frozen=True, eq=False)
class Data:
    """Games in units of their own scales, which are the root mean square of their odd parts.

    ``data [data, R]``, ``scale [R]``.
    """

    data: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, change: np.ndarray, odd: np.ndarray, slopes: np.ndarray | None = None) -> Data:
        """From v(N) − v(∅) ``[R]``, odd parts ``[R, pairs]`` and slopes ``[R, sloped, n]``."""
        data = np.column_stack([change / 2, odd])
        scale = np.sqrt(np.square(data[:, 1:]).mean(1))
        scale = np.where(scale > 0, scale, np.abs(data[:, 0]))
        scale = np.where(scale > 0, scale, 1.0)
        if slopes is not None:
            data = np.column_stack([data, slopes.reshape(len(slopes), -1)])
        return cls((data / scale[:, None]).T, scale)

    def of_games(self, games: np.ndarray) -> Data:
        return Data(self.data[:, games], self.scale[games])

    def first(self, rows: int) -> Data:
        """Without what follows the first so many data of each game."""
        return Data(self.data[:rows], self.scale)


class Games:
    """Solves games of one design, run by run; the first run decides what is pooled."""

    def __init__(self, design: Design, how: How):
        self.design, self.how = design, how
        self._pooled: Reading | None = None

    def solved(self, games: Data) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors ``[R, n]``."""
        parts = [read(process, games.of_games(part)) for part, process in self.each(games)]
        values, errors = (np.vstack(part) for part in zip(*parts, strict=True))
        return values, errors

    def each(self, games: Data) -> Iterator[tuple[np.ndarray, Reading]]:
        """The processes one after the other, none of them kept, and which of the games each is for."""
        every = np.arange(len(games.scale))
        if self.how == "row":
            for game in every[:, None]:
                yield game, self._fitted(games.data[:, game])
            return
        if self._pooled is None:
            self._pooled = self._fitted(games.data[:, :SAMPLED])
        if self.how == "pooled":
            yield every, self._pooled
            return
        values = (self._pooled.map @ games.data).T
        for game in every[:, None]:
            yield game, self._bent(self._pooled.hyper, values, int(game[0]), games.data[:, game])

    def _fitted(self, data: np.ndarray) -> Reading:
        return self.design.process(self.design.fit(data))

    def _bent(self, pooled: Hyper, values: np.ndarray, game: int, data: np.ndarray) -> Reading:
        """The pooled relevance times (profile / reference)^e, with the exponent of the best evidence.

        A game's profile is |φ| over its mean, plus 0.1; the reference is the profiles' geometric mean.
        """
        profiles = np.abs(values) / np.maximum(np.abs(values).mean(1, keepdims=True), 1e-300) + 0.1
        reference = np.exp(np.log(profiles).mean(0))
        tried = [self.design.process(pooled.reshaped((profiles[game] / reference) ** e)) for e in EXPONENTS]
        return min(tried, key=lambda process: process.evidence(data))


def read(process: Reading, games: Data) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors ``[R, n]``; the values of a game add up to v(N) − v(∅).

    Relevances fitted to one game cost it as many degrees of freedom; pooled ones do not.
    """
    known, n = len(games.data) - 1, process.signs.shape[1]
    spent = known / max(known - n, 1) if len(games.scale) == 1 else 1.0
    errors = np.sqrt(np.outer(process.spread(games.data) * spent, process.variances)) * games.scale[:, None]
    values = (process.map @ games.data).T * games.scale[:, None]
    change = 2 * games.data[0] * games.scale
    values += ((change - values.sum(1)) / n)[:, None]
    return values, np.maximum(errors, SMALLEST * games.scale[:, None])

"""Conditional removals: what is absent is drawn given what is present, v(S) = E[f(x_S, X_absent) | X_S = x_S].

Marginal draws put values side by side that never meet; conditional ones do not, and so credit flows to players that
merely tell of others (a column that the network never looks at can earn something). Source: Aas, Jullum & Løland 2021,
"Explaining individual predictions when features are dependent", Artificial Intelligence 298, sections 3.1 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..records.errors import RemovalError
from ..records.players import Players
from .inputs import Inputs
from .removal import TensorRemoval, fewer, finite, matching

MOST_LEARNT = 1000
"""A background larger than this is reduced to a seeded draw of as many rows; a record carries them."""
WIDEST = 1000
"""Elements up to which a Gaussian is fitted: every evaluation solves a system of that size."""
LEAST_SHRINKAGE = 1e-6
CATEGORIES = ("categorical", "boolean")


@dataclass(frozen=True, eq=False)
class Conditional(TensorRemoval):
    """Base of removals that draw the absent given the present, from what background rows tell.

    More than :data:`MOST_LEARNT` rows are reduced to a seeded draw; ``given`` says how many there were.
    """

    conditional: ClassVar[bool] = True

    rows: Any = None
    given: int = field(default=0, kw_only=True)

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Conditional:
        if self.rows is None:
            name = type(self).__name__
            raise RemovalError(f"{name} needs background rows to learn from", fix=f"{name}(rows)")
        rows = finite(flatten(self.rows))
        return replace(self, rows=fewer(rows, MOST_LEARNT, seed), given=len(rows))

    def background(self, inputs: Inputs, references: Tensor) -> Tensor:
        return matching(self.rows, inputs.flat)[None]


@dataclass(frozen=True, eq=False)
class ConditionalGaussian(Conditional):
    """Absent elements are drawn as if all were jointly Gaussian: their mean given the present ones, plus noise.

    Mean and covariance are the background's. The correlations are shrunk towards zero by the share that minimises the
    expected squared error (Schäfer & Strimmer 2005, SAGMB 4:32, table 1, target D), by 1e-6 at least, so that they can
    be inverted; the spreads are left alone. The ``draws`` are antithetic pairs, the same for all rows and coalitions,
    so the values of a linear model are exact: w_S·x_S + w_A·(μ_A + Σ_AS Σ_SS⁻¹ (x_S − μ_S)).
    With nobody present they are draws of the fitted Gaussian itself.
    """

    draws: int = 32

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Conditional:
        if type(self.draws) is not int or self.draws < 2 or self.draws % 2:
            raise RemovalError(f"{self.draws!r} draws are not pairs", fix="draws: an even number, from 2 on")
        made = super().prepared(flatten, seed)
        count, width = made.rows.shape
        if count < 3:
            raise RemovalError(
                f"{count} background rows do not tell how columns move together",
                fix="give three rows at the very least, better ten for each column",
            )
        if width > WIDEST:
            raise RemovalError(
                f"a Gaussian of {width:,} elements is too wide", why=f"{WIDEST:,} are the most",
                fix="ConditionalNearest(rows) takes whole rows instead",
            )  # fmt: skip
        return made

    @cached_property
    def fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean ``[D]``, spread ``[D]`` (0 where an element never varies) and shrunk correlation ``[D, D]``, float64."""
        rows = self.rows.double()
        mean, spread = rows.mean(0), rows.std(0)
        scaled = (rows - mean) / torch.where(spread > 0, spread, 1.0)
        return mean, spread, _shrunk(scaled)

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        flat = matching(self.rows, inputs.flat)
        if not flat.is_floating_point():
            raise RemovalError(
                "these rows hold whole numbers, and a Gaussian draws fractions", fix="ConditionalNearest(rows)"
            )
        named = [name for name, kind in zip(players.of(0), players.types, strict=False) if kind in CATEGORIES]
        if named:
            raise RemovalError(
                f"column {named[0]!r} holds categories, which a Gaussian cannot draw",
                fix="ConditionalNearest(rows) takes them from real rows",
            )
        mean, spread, correlation = (part.to(flat.device) for part in self.fitted)
        steps = np.random.default_rng([seed, *flat.shape]).standard_normal((self.draws // 2, flat.shape[1]))
        half = torch.from_numpy(steps).to(mean) @ torch.linalg.cholesky(correlation).T * spread
        return (mean + torch.cat([half, -half]))[None].to(flat)

    def fill(self, rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
        """A joint draw z moved by what the present elements say: z_A + Σ_AS Σ_SS⁻¹ (x_S − z_S) is a conditional draw.

        The correlations among the present, with ones on the diagonal for the absent, are of one size for
        all coalitions, and solved together.
        """
        _, spread, correlation = (part.to(rows.device) for part in self.fitted)
        there = present.double()
        among = there[..., None] * correlation * there[..., None, :] + torch.diag_embed(1 - there)
        apart = (rows.double()[:, None] - references.double()) / torch.where(spread > 0, spread, 1.0)
        apart = apart[:, None] * there[:, :, None]
        solved = torch.cholesky_solve(apart.mT, torch.linalg.cholesky(among)).mT
        moved = references.double()[:, None] + (solved @ correlation) * spread
        return torch.where(present[:, :, None], rows[:, None, None], moved.to(rows))


def _shrunk(scaled: Tensor) -> Tensor:
    """The correlation of standardised rows ``[S, D]``, shrunk towards none (Schäfer & Strimmer 2005, target D)."""
    count, width = scaled.shape
    correlation = scaled.T @ scaled / (count - 1)
    squares = scaled.square().T @ scaled.square() / count
    noise = (squares - (correlation * (count - 1) / count).square()) * count**2 / (count - 1) ** 3
    apart = ~torch.eye(width, dtype=torch.bool, device=scaled.device)
    signal = float(correlation[apart].square().sum())
    share = float(noise[apart].sum()) / signal if signal > 0 else 1.0
    correlation = correlation * (1 - min(max(share, LEAST_SHRINKAGE), 1.0))
    return torch.where(apart, correlation, 1.0)


@dataclass(frozen=True, eq=False)
class ConditionalNearest(Conditional):
    """Absent elements are taken from the ``k`` background rows that are nearest in what is present.

    Distances are Euclidean, each element in units of its spread over the background; two categories are at distance 0
    or 1. Equally near rows (all of them, with nobody present) are taken in an order that depends on their content
    alone. Each absent part comes from one real row, so it is always possible.
    """

    k: int = 20

    def prepared(self, flatten: Callable[[Any], Tensor], seed: int) -> Conditional:
        if type(self.k) is not int or self.k < 1:
            raise RemovalError(f"{self.k!r} is no number of nearest rows", fix="k: a whole number, from 1 on")
        made = super().prepared(flatten, seed)
        return replace(made, rows=made.rows[_order(made.rows)])

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        return matching(self.rows, inputs.flat)[None, : self.k]

    @cached_property
    def spread(self) -> Tensor:
        """Each element's spread over the background, ``[D]`` in float64; infinite where it never varies."""
        spread = self.rows.double().std(0, unbiased=False)
        return torch.where(spread > 0, spread, torch.inf)

    def fill(self, rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
        background = matching(self.rows, rows)
        count = min(self.k, len(background))
        later = torch.arange(len(background), dtype=torch.float64, device=rows.device) * 1e-12
        near = []
        for row, there in zip(rows, present.expand(len(rows), *present.shape[1:]), strict=True):
            distance = there.double() @ self._apart(row, background, players).T + later
            near.append(torch.topk(distance, count, largest=False).indices[:, draws])
        return torch.where(present[:, :, None], rows[:, None, None], background[torch.stack(near)])

    def _apart(self, row: Tensor, background: Tensor, players: Players) -> Tensor:
        """Squared distances to each background row, element by element, ``Float64[S, D]``."""
        apart = ((background.double() - row.double()) / self.spread.to(row.device)).square()
        for player, kind in enumerate(players.types):
            if kind in CATEGORIES:
                own = torch.from_numpy(np.flatnonzero(players.labels[0] == player)).to(row.device)
                other = (background[:, own] != row[own]).any(1, keepdim=True)
                apart[:, own] = other.double() / len(own)
        return apart


def _order(rows: Tensor) -> Tensor:
    """An order of rows by their content alone, as good as a random one, and the same when they are read back."""
    keys = [blake2b(row.tobytes(), digest_size=8).digest() for row in rows.detach().cpu().double().numpy()]
    return torch.tensor(sorted(range(len(keys)), key=lambda row: keys[row]), device=rows.device)

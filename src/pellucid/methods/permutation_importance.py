"""Permutation importance: how much worse the model becomes when rows exchange what they hold of one player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.inputs import same
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.importance import Importance
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method

REPEATS = 5
ROUNDING = 16.0
"""Steps of the rows' float type: what moves every row's number by less than so many did not move it."""
CELLS = 2**24
"""Elements of rows made at once."""


@dataclass(frozen=True)
class PermutationImportance(Method):
    """The mean loss with player i taken from another row, less (or over) the mean loss (Breiman 2001, section 10).

    Every row takes player i from ``repeats`` other rows, the same ones for all players, and every row is taken from
    as often: for all N − 1 of them this is the complete statistic of Fisher, Rudin & Dominici 2019, arXiv 1801.01489,
    section 3. A row that would take what it has is not asked again. The standard errors speak of the rows, too,
    as a sample of all that there could be. A player that moves no row's number beyond rounding has exactly 0.

    Without labels the loss is the squared distance from the model's own answer, and a caution says so. The trap: of
    two columns that say the same, each looks dispensable, and rows are made that do not occur.
    """

    repeats: Annotated[
        int | None, Range(1, 10_000), "rows that each row takes from; none: 5, or what the budget allows"
    ] = None
    compare: Annotated[
        Literal["difference", "ratio"], "the loss with a player exchanged less, or over, the loss as it is"
    ] = "difference"

    name: ClassVar[str] = "permutation_importance"
    title: ClassVar[str] = "Permutation importance"
    source: ClassVar[str] = (
        "Breiman 2001, Machine Learning 45, section 10; Fisher, Rudin & Dominici 2019, arXiv 1801.01489, section 3"
    )
    answers: ClassVar[type[Answer]] = Importance
    own_removal: ClassVar[str] = "Exchange"
    of_loss: ClassVar[bool] = True
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        N, n, T = len(session), session.n, session.targets
        if session.opaque or not session.players.is_shared:
            raise NotApplicable(
                "rows exchange what they hold of a player, and these rows have players of their own",
                fix="give players that all rows share",
            )
        if N < 2:
            raise NotApplicable("one row has no other to exchange values with", fix="give at least a few dozen rows")
        repeats = self._repeats(session)
        donors = session.design(_donors, N, repeats)
        before = session.full.reshape(N, T)
        everything = torch.from_numpy(session.players.labels[0] >= 0)
        every = _moved(session, before, everything, donors[:1])
        dust = ROUNDING * float(torch.finfo(_floats(session)).eps) * max(np.abs(before).max(), np.abs(every).max())
        values, errors = np.zeros((T, n)), np.zeros((T, n))
        for player in range(n):
            moved = _moved(session, before, torch.from_numpy(session.players.labels[0] == player), donors)
            moved[:, :, np.abs(moved).max((0, 1)) <= dust] = 0.0
            values[:, player], errors[:, player] = self._compared(moved, before, donors, session.bound.is_loss)
        base, full = self._ends(session, before, every[0])
        cautions = () if session.bound.is_loss else (Caution.of("own_answers", "yellow", method=self.name),)
        notes = {"repeats": repeats, "rows": N, "loss": session.bound.asked.get("loss", "own")}
        return Estimate(values, stderr=errors, base=base, full=full, notes=notes, cautions=cautions)

    def _repeats(self, session: Session) -> int:
        N, n = len(session), session.n
        wanted = min(self.repeats or REPEATS, N - 1)
        least = n * (wanted if self.repeats else 1) + 3  # both ends, and everything exchanged once
        allowed = session.allowance(n * wanted + 3, least=least)
        return min(wanted, (allowed - 3) // n)

    def _ends(self, session: Session, before: np.ndarray, every: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss with everything exchanged, and as it is; the distance from the own answer starts at 0."""
        if session.bound.is_loss:
            return (before + every).reshape(-1), before.reshape(-1)
        return np.square(every).reshape(-1), np.zeros(before.size)

    def _compared(
        self, moved: np.ndarray, before: np.ndarray, donors: np.ndarray, is_loss: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Importance and its standard error ``[T]`` from the changes ``[R, N, T]`` of each row's number."""
        if not is_loss:
            moved = np.square(moved)
        if self.compare == "difference":
            return moved.mean((0, 1)), _spread(moved, donors)
        mean = before.mean(0) if is_loss else np.zeros(before.shape[1])
        if not (mean > 0).all():
            raise NotApplicable("the loss is 0 as it is, so there is no ratio to it", fix='compare="difference"')
        ratio = 1 + moved.mean((0, 1)) / mean
        return ratio, _spread((moved - (ratio - 1) * before) / mean, donors)

    def cost(self, players: int) -> float:
        return float(players * (self.repeats or REPEATS) + 3)


def _donors(rng: np.random.Generator, N: int, repeats: int) -> np.ndarray:
    """The rows that each row takes from, ``Int[R, N]``: never itself, never the same twice, each as often as any other.

    Neighbours in one random circle, at distances of their own.
    """
    circle = rng.permutation(N)
    steps = np.sort(rng.permutation(N - 1)[:repeats]) + 1
    found = np.empty((repeats, N), dtype=np.int64)
    for step, taken in zip(steps, found, strict=True):
        taken[circle] = np.roll(circle, step)
    return found


def _floats(session: Session) -> torch.dtype:
    return session.x.dtype if session.x.is_floating_point() else torch.float32


def _moved(session: Session, before: np.ndarray, own: Tensor, donors: np.ndarray) -> np.ndarray:
    """By how much each row's numbers change with the elements ``own[D]`` of its donors, ``Float64[R, N, T]``."""
    x, (R, N) = session.x, donors.shape
    own = own.to(x.device)
    cells = x[:, own]
    change = np.zeros((R * N, before.shape[1]))
    size = max(CELLS // x.shape[1], 1)
    receivers, givers = np.tile(np.arange(N), R), donors.reshape(-1)
    for start in range(0, R * N, size):
        part = slice(start, start + size)
        taken = cells[torch.from_numpy(givers[part]).to(x.device)]
        kept = cells[torch.from_numpy(receivers[part]).to(x.device)]
        other = ~same(taken, kept).all(1)
        at = np.flatnonzero(other.cpu().numpy())
        rows = torch.from_numpy(receivers[part][at])
        points = x.index_select(0, rows.to(x.device))
        points[:, own] = taken[other]
        change[start + at] = session.outputs_all(points, rows) - before[rows.numpy()]
    return change.reshape(R, N, -1)


def _spread(moved: np.ndarray, donors: np.ndarray) -> np.ndarray:
    """The standard error ``[T]`` of the mean of h(row, donor) ``[R, N, T]`` over rows that are a sample.

    A U-statistic of order two (Hoeffding 1948, section 5): with a(z) = E h(z, ·), b(z) = E h(·, z) and σ² what the two
    leave unexplained of h, its variance is (Var(a + b) + σ²/R)/N, every row being as often donor as receiver. The mean
    square of (a row's mean as receiver + its mean as donor) is larger by (Var a + Var b + σ²)/R, the noise of the R
    others; and that is Var(h)/R, which is taken off.
    """
    R, N = donors.shape
    centred = moved - moved.mean((0, 1))
    both = centred.mean(0)
    for repeat in range(R):
        both[donors[repeat]] += centred[repeat] / R
    found = np.square(both).mean(0)
    return np.sqrt(np.maximum(found - np.square(centred).mean((0, 1)) / R, found / 4) / (N - 1))

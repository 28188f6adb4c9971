"""Integrated Hessians: how much of each contribution along a path is owed to pairs of players."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.quadrature import gauss_legendre
from ..problem.model import Differentiable
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.interactions import Interactions, count_parts, parts_of
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method

FIRST_STEPS, MOST_STEPS = 16, 512
MOST_PARTS = 10_000
GAP = 1e-3
ENDS = 2


@dataclass(frozen=True)
class IntegratedHessians(Method):
    """Integrated gradients of integrated gradients (Janizek, Sturmfels & Lee 2021, arXiv 2002.04138, eqs. 4 and 5).

    Γ_ij = Δ_i Δ_j ∫∫ αβ ∂²f/∂x_i∂x_j (x′ + αβΔ) dα dβ and, for a player with itself, Δ_i ∫∫ ∂f/∂x_i dα dβ more. A pair
    is given Γ_ij + Γ_ji, a player its Γ_ii; all of them add up to f(x) − f(x′), and those that hold a player
    (pairs by half) to its integrated gradients. Where the network is linear in pieces its second derivative
    is zero everywhere, and the method is refused: replace the rectifiers by softplus first.
    """

    steps: Annotated[int | None, Range(1, 10_000), "points on the path; none: 16 to 512, until they add up to 1e-3"] = (
        None
    )

    name: ClassVar[str] = "integrated_hessians"
    title: ClassVar[str] = "Integrated Hessians"
    source: ClassVar[str] = "Janizek, Sturmfels & Lee 2021, arXiv 2002.04138, equations 4 and 5"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = ("completeness", "null_player", "symmetry", "linearity")
    default: ClassVar[bool] = False
    answers: ClassVar[type[Answer]] = Interactions

    def estimate(self, session: Session) -> Estimate:
        n = session.n
        if count_parts(n, 2) > MOST_PARTS:
            raise NotApplicable(
                f"{n} players have {count_parts(n, 2):,} parts of one or two",
                fix=f"up to {MOST_PARTS:,} parts: players that are groups, such as pellucid.players.Patches",
            )
        least = (self.steps or 1) * (1 + n) + ENDS
        most = (session.allowance(2 * MOST_STEPS * (1 + n) + ENDS, least=least) - ENDS) // (1 + n)
        change = session.full - session.start_values
        table, misfit, used = self._tables(session, change, most)
        parts, notes = session.design(_parts, n), {"steps": used, "misfit": misfit}
        return Estimate(
            _of_parts(table, parts),
            base=session.start_values,
            arrays={"parts": parts},
            notes=notes,
            cautions=_misfit_cautions(misfit, session),
        )

    def _tables(self, session: Session, change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Γ of all players ``Float64[Q, n, n]``, by how much a player's miss its integrated gradients, and the steps.

        More steps are taken for the rows that miss by more than the gap.
        """
        steps = self.steps or min(FIRST_STEPS, most)
        everyone = np.arange(session.questions)
        table, along, bent = _table(session, steps, everyone)
        misfit, used, spent = _misfit(table, along, change), np.full(session.questions, steps), steps
        if not bent:
            _refuse_without_curvature(misfit)
        missing = everyone[misfit > GAP]
        while self.steps is None and len(missing) and 2 * steps <= MOST_STEPS and spent + 2 * steps <= most:
            steps, spent = 2 * steps, spent + 2 * steps
            table[missing], along, _ = _table(session, steps, missing)
            misfit[missing], used[missing] = _misfit(table[missing], along, change[missing]), steps
            missing = missing[misfit[missing] > GAP]
        return table, misfit, used

    def cost(self, players: int) -> float:
        return float((self.steps or FIRST_STEPS) * (1 + players)) + ENDS


def _table(session: Session, steps: int, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Γ ``Float64[Q', n, n]``: products of Hessians with the change of one player at a time, pooled over players; the
    integrated gradients ``Float64[Q', n]`` by the same points; whether any second derivative was there.

    With t = αβ, which has the density −ln t, both integrals are over one variable; t = u³ makes it smooth at 0.
    """
    u, weights = gauss_legendre(steps)
    dt = 3 * u**2 * weights
    rules = np.array([-np.log(u**3) * dt, -np.log(u**3) * u**3 * dt, dt])
    rules *= (np.array([1, 1 / 4, 1]) / rules.sum(1))[:, None]  # exact for f of degree 2, of degree 1 the last
    ways = torch.as_tensor(rules, device=session.x.device)
    start, delta = session.start, session.x - session.start
    owner = _owners(session)
    table, along = np.zeros((len(questions), session.n, session.n)), np.zeros((len(questions), session.n))
    bends: list[bool] = []

    def points(asked: Tensor, indices: Tensor) -> Tensor:
        items = session.item(asked)
        origin = start if len(start) == 1 else start[items]
        alphas = torch.as_tensor(u**3, dtype=session.x.dtype, device=session.x.device)
        return torch.addcmul(origin, alphas[indices][:, None], delta[items])

    def directions(asked: Tensor) -> Iterator[Tensor]:
        items = session.item(asked)
        for player in range(session.n):
            yield delta[items] * (owner[items if len(owner) > 1 else slice(None)] == player)

    def fold(g: slice, c: slice, slopes: Tensor, changes: Iterator[Tensor]) -> None:
        asked = questions[g]
        own = delta[session.item(torch.as_tensor(asked))].double()

        def pooled(found: Tensor, factors: Tensor) -> np.ndarray:
            summed = (factors[c, None] * found.double()).sum(1) * own
            return session.pool(summed.cpu().numpy(), questions=asked)

        added = np.stack([pooled(change, ways[1]) for change in changes], axis=1)
        bends.append(bool(added.any()))
        added[:, range(session.n), range(session.n)] += pooled(slopes, ways[0])
        table[g] += added
        along[g] += pooled(slopes, ways[2])

    session.each_curvature(points, steps, directions, fold, questions)
    return table, along, any(bends)


def _owners(session: Session) -> Tensor:
    """The player of each element, ``Int[1 | N, D]``."""
    return torch.from_numpy(session.players.labels.copy()).to(session.x.device)


def _parts(_: np.random.Generator, n: int) -> np.ndarray:
    return parts_of(n, 2)


def _of_parts(table: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """What each part is worth, ``Float64[Q, M]``."""
    i, j = parts.T
    return np.where(j < 0, table[:, i, i], table[:, i, j] + table[:, j, i])


def _misfit(table: np.ndarray, along: np.ndarray, change: np.ndarray) -> np.ndarray:
    """By how much a player's row of Γ misses its integrated gradients, or all of Γ the change, ``Float64[Q]``.

    The largest, relative to all that is shared out.
    """
    scale = np.maximum(np.maximum(np.abs(along).sum(1), np.abs(table).sum((1, 2))), np.abs(change))
    missed = np.maximum(np.abs(table.sum(2) - along).max(1), np.abs(table.sum((1, 2)) - change))
    return np.divide(missed, scale, out=np.zeros_like(missed), where=scale > 0)


def _misfit_cautions(misfit: np.ndarray, session: Session) -> tuple[Caution, ...]:
    rows = int((misfit > 10 * GAP).reshape(len(session), -1).any(1).sum())
    worst = float(misfit.max(initial=0.0))
    return (Caution.of("curvature_missed", "yellow", rows=rows, total=len(session), worst=worst),) if rows else ()


def _refuse_without_curvature(misfit: np.ndarray) -> None:
    """Raise :class:`NotApplicable` where the change is missed and no second derivative was met."""
    if misfit.max(initial=0.0) > GAP:
        raise NotApplicable(
            "this network's second derivative is zero everywhere",
            why=f"it is linear in pieces, made of rectifiers: what they do is missed, {misfit.max():.0%} of a change",
            fix="explain a network with torch.nn.Softplus(beta=10) for each rectifier, which is smooth; or use "
            "shapley_interactions, which needs no derivatives",
        )

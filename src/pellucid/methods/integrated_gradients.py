"""Integrated gradients: the change of the output shared out along a path from what is absent to the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.quadrature import gauss_legendre
from ..problem.model import Differentiable
from ..records.messages import Caution
from ..records.settings import Range
from .guided_path import guided_integral
from .mesh import COST, FIRST, fitted
from .method import Method
from .paths import Blurred, Path, Straight
from .starts import other_starts

FIRST_STEPS = 17
FIRST_GUIDED = 60
EVEN_STEPS, MOST_STEPS = 129, 1025
GAP, MOVED = 1e-3, 0.03
"""What is settled: the gap, and how far a doubling of points moves a contribution, as a share of the largest."""
ENDS = 2
"""Evaluations beside the steps: the row and the start of its path."""


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """φ = (x − x′) ∘ ∫₀¹ ∇f(x′ + α(x − x′)) dα (Sundararajan, Taly & Yan 2017, arXiv 1703.01365, eq. 1).

    With ``steps`` given, that many Gauss–Legendre points, exact for polynomials of degree 2·steps − 1. Without, the
    trapezoid rule on 17, 33, 65, 129 nested points, row by row, until the completeness gap is at most 1e-3 and no
    contribution moves by more than 3 % of the largest; where the gap stays, points are set close where the output
    bends, up to 1,025 evaluations in all (the record says where each row stopped). x′ is the mean of the removal's
    reference rows, so the base is f(x′).

    Another path answers another question. ``"blur"`` brings the image into focus (Blur IG, arXiv 2004.03383): it has a
    start of its own, and the removal is left alone. ``"guided"`` moves first the inputs to which the output is
    least sensitive (Guided IG, arXiv 2106.09788), which keeps out of places where gradients are large by chance.
    """

    steps: Annotated[int | None, Range(1, 100_000), "points on the path; none: raised until the gap is 1e-3"] = None
    path: Annotated[
        Literal["straight", "blur", "guided"],
        "the way to the row: straight, from a blurred image, or by the smallest gradients first",
    ] = "straight"
    spread: Annotated[bool, "also from other starts (zero, the mean, blurred): how far the values move is kept"] = False

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    source: ClassVar[str] = (
        "Sundararajan, Taly & Yan 2017, arXiv 1703.01365, equation 1; Xu et al. 2020, arXiv 2004.03383; "
        "Kapishnikov et al. 2021, arXiv 2106.09788"
    )
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = (
        "completeness",
        "null_player",
        "symmetry",
        "linearity",
        "implementation_invariance",
    )
    known_as: ClassVar[tuple[str, ...]] = ("ig", "blur_ig", "guided_ig", "blur_integrated_gradients")

    def __post_init__(self) -> None:
        super().__post_init__()
        lost = {"straight": (), "blur": ("symmetry",), "guided": ("symmetry", "linearity")}[self.path]
        promises = tuple(axiom for axiom in type(self).promises if axiom not in lost)
        object.__setattr__(self, "promises", promises)
        object.__setattr__(self, "own_removal", "a blurred path" if self.path == "blur" else "")

    def estimate(self, session: Session) -> Estimate:
        starts = other_starts(session) if self.spread and self.path != "blur" else {}
        runs = 1 + len(starts)
        least = (self.steps or 1) + ENDS  # a number of steps that was given is exact
        allowed = session.allowance(runs * (MOST_STEPS + ENDS), least=runs * least)
        most = min(allowed // runs - ENDS, MOST_STEPS)
        path = Blurred(session) if self.path == "blur" else Straight(session, session.start, session.start_values)
        contributions, used = self._along(path, most)
        values = session.pool(contributions)
        notes: dict[str, object] = {"steps": used}
        if not starts:
            return Estimate(values, base=path.base, notes=notes)
        others = [session.pool(self._along(Straight(session, start), most)[0]) for start in starts.values()]
        notes["starts"] = list(starts)
        spreads = np.ptp([values, *others], axis=0)
        cautions = _moved_cautions(values, others, session)
        return Estimate(values, base=path.base, notes=notes, arrays={"spreads": spreads}, cautions=cautions)

    def _along(self, path: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Contributions ``Float64[Q, D]`` along a path, and the steps of each question."""
        session = path.session
        change = session.full - path.base
        if self.path == "guided":
            assert isinstance(path, Straight)
            return self._guided(session, path.start, change, most)
        if self.steps is not None or most < FIRST_STEPS:
            steps = self.steps or most
            return path.integral(*gauss_legendre(steps)), np.full(session.questions, steps)
        return _nested(path, change, most)

    def _guided(self, session: Session, start: Tensor, change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The path depends on its steps, so with more of them it is walked anew: 60, 120, … for the rows that miss."""
        steps = self.steps or min(FIRST_GUIDED, most - 1)
        everyone = np.arange(session.questions)
        phi = guided_integral(session, start, max(steps, 1), everyone)
        used, spent = np.full(session.questions, steps), steps + 1
        missing = everyone[_misses(session, phi, change, everyone)]
        while self.steps is None and len(missing) and spent + 2 * steps + 1 <= most:
            steps, spent = 2 * steps, spent + 2 * steps + 1
            phi[missing], used[missing] = guided_integral(session, start, steps, missing), steps
            missing = missing[_misses(session, phi[missing], change, missing)]
        return phi, used

    def cost(self, players: int) -> float:
        return float(self.steps or {"straight": 65, "blur": 65, "guided": 183}[self.path]) * (4 if self.spread else 1)


def _nested(path: Path, change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Double the intervals of the rows that are not settled; nothing is computed twice.

    A row is settled when its contributions add up and the last doubling hardly moved any of them: a coarse grid may add
    up by luck. Rows that do not add up with 129 points bend in few places, and points are set close where they do.
    """
    parts = (FIRST_STEPS - 1) // 2
    ends = np.ones(parts + 1)
    ends[[0, -1]] = 0.5
    total = path.integral(np.linspace(0, 1, parts + 1), ends)
    used = np.full(len(total), parts + 1)
    open_rows = np.arange(len(total))
    while len(open_rows) and 2 * parts + 1 <= min(most, EVEN_STEPS):
        before = total[open_rows] / parts
        between = (np.arange(parts) + 0.5) / parts
        total[open_rows] += path.integral(between, np.ones(parts), open_rows)
        parts *= 2
        used[open_rows] = parts + 1
        phi = total[open_rows] / parts
        moved = np.abs(phi - before).max(1) > MOVED * np.abs(phi).max(1)
        open_rows = open_rows[_misses(path.session, phi, change, open_rows) | moved]
    phi = total / (used - 1)[:, None]
    open_rows = open_rows[_misses(path.session, phi[open_rows], change, open_rows)]
    if len(open_rows) and most - parts - 1 >= COST * FIRST:
        _refine(path, phi, used, open_rows, change, most - parts - 1)
    return phi, used


def _refine(path: Path, phi: np.ndarray, used: np.ndarray, rows: np.ndarray, change: np.ndarray, most: int) -> None:
    """Contributions of some questions by points where the output bends, written over those they improve on."""
    middles, lengths = fitted(path, rows, GAP * np.abs(change[rows]) / 2, most)
    found = path.integral(middles, lengths, rows)
    better = np.abs(found.sum(1) - change[rows]) < np.abs(phi[rows].sum(1) - change[rows])
    phi[rows[better]], used[rows[better]] = found[better], (lengths[better] > 0).sum(1)


def _misses(session: Session, phi: np.ndarray, change: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Whether contributions ``[b, D]`` of some questions miss their change by more than the gap that is allowed.

    The gap is a share of what the players are given, whose elements may cancel each other.
    """
    given = np.abs(session.pool(phi, questions=questions)).sum(1)
    return np.abs(phi.sum(1) - change[questions]) > GAP * np.maximum(given, np.abs(change[questions]))


def _moved_cautions(values: np.ndarray, others: list[np.ndarray], session: Session) -> tuple[Caution, ...]:
    """A caution for rows whose strongest player is another, or has another sign, with another start."""
    top = np.abs(values).argmax(1)
    each = np.arange(len(values))
    moved = np.zeros(len(values), dtype=bool)
    for other in others:
        moved |= (np.abs(other).argmax(1) != top) | (np.sign(other[each, top]) != np.sign(values[each, top]))
    rows = int(moved.reshape(len(session), -1).any(1).sum())
    return (Caution.of("other_starts", "yellow", rows=rows, total=len(session)),) if rows else ()

"""Integrated gradients: the change of the output shared out along a path from what is absent to the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.model import Differentiable
from ..records.messages import Caution
from ..records.settings import Range
from .guided_path import guided_integral
from .method import Method
from .paths import Blurred, Path, Straight
from .starts import other_starts

FIRST_STEPS = 17
FIRST_GUIDED = 60
MOST_STEPS = 1025
GAP = 1e-3
ENDS = 2
"""Evaluations beside the steps: the row and the start of its path."""


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """φ = (x − x′) ∘ ∫₀¹ ∇f(x′ + α(x − x′)) dα (Sundararajan, Taly & Yan 2017, arXiv 1703.01365, eq. 1).

    With ``steps`` given, that many Gauss–Legendre points, exact for polynomials of degree 2·steps − 1. Without, the
    trapezoid rule on 17, 33, 65, … nested points, row by row, until the completeness gap is at most
    1e-3 or 1,025 points are reached (the record says where each row stopped). x′ is the mean of
    the removal's reference rows, so the base is f(x′).

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
            nodes, weights = np.polynomial.legendre.leggauss(steps)
            return path.integral((nodes + 1) / 2, weights / 2), np.full(session.questions, steps)
        return _nested(path, change, most)

    def _guided(self, session: Session, start: Tensor, change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The path depends on its steps, so with more of them it is walked anew: 60, 120, … for the rows that miss."""
        steps = self.steps or min(FIRST_GUIDED, most - 1)
        everyone = np.arange(session.questions)
        phi = guided_integral(session, start, max(steps, 1), everyone)
        used, spent = np.full(session.questions, steps), steps + 1
        missing = everyone[_misses(phi, change)]
        while self.steps is None and len(missing) and spent + 2 * steps + 1 <= most:
            steps, spent = 2 * steps, spent + 2 * steps + 1
            phi[missing], used[missing] = guided_integral(session, start, steps, missing), steps
            missing = missing[_misses(phi[missing], change[missing])]
        return phi, used

    def cost(self, players: int) -> float:
        return float(self.steps or {"straight": 65, "blur": 65, "guided": 183}[self.path]) * (4 if self.spread else 1)


def _nested(path: Path, change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Double the intervals of the rows that still miss the change, to ``most`` points; none is computed twice."""
    points = FIRST_STEPS
    grid = np.linspace(0, 1, points)
    ends = np.full(points, 1.0)
    ends[[0, -1]] = 0.5
    total = path.integral(grid, ends)
    used = np.full(len(total), points)
    open_rows = np.arange(len(total))
    while True:
        phi = total[open_rows] / (points - 1)
        open_rows = open_rows[_misses(phi, change[open_rows])]
        if not len(open_rows) or 2 * points - 1 > most:
            return total / (used - 1)[:, None], used
        between = (grid[:-1] + grid[1:]) / 2
        total[open_rows] += path.integral(between, np.ones(len(between)), open_rows)
        points = 2 * points - 1
        grid = np.linspace(0, 1, points)
        used[open_rows] = points


def _misses(phi: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Whether contributions ``[Q, D]`` miss the change ``[Q]`` by more than the gap that is allowed."""
    scale = np.maximum(np.abs(phi).sum(1), np.abs(change))
    return np.abs(phi.sum(1) - change) > GAP * scale


def _moved_cautions(values: np.ndarray, others: list[np.ndarray], session: Session) -> tuple[Caution, ...]:
    """A caution for rows whose strongest player is another, or has another sign, with another start."""
    top = np.abs(values).argmax(1)
    each = np.arange(len(values))
    moved = np.zeros(len(values), dtype=bool)
    for other in others:
        moved |= (np.abs(other).argmax(1) != top) | (np.sign(other[each, top]) != np.sign(values[each, top]))
    rows = int(moved.reshape(len(session), -1).any(1).sum())
    return (Caution.of("other_starts", "yellow", rows=rows, total=len(session)),) if rows else ()

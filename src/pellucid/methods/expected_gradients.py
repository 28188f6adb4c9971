"""Expected gradients: integrated gradients averaged over a background, by points on the way from each row of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.model import Differentiable
from ..records.settings import Range
from .method import Method
from .moments import Moments

SAMPLES = 200
DRAWS = 10
"""Independent designs, each of the whole question; how they scatter tells the error."""
LEAST = 4
ENDS = 2


@dataclass(frozen=True)
class ExpectedGradients(Method):
    """φ = E[(x − x′) ∘ ∇f(x′ + α (x − x′))], x′ from the background, α uniform (Erion et al. 2021, arXiv 1906.10670).

    Integrated gradients from every reference row, on average; no single start has to stand for the absent. It is
    estimated by ten independent designs, in each of which the α are spread evenly and the reference rows occur equally
    often. The sum misses the change by chance (``left_over`` in the notes), which the standard errors tell.
    """

    samples: Annotated[int | None, Range(LEAST, 1_000_000), "points; none: 200, or what the budget allows"] = None

    name: ClassVar[str] = "expected_gradients"
    title: ClassVar[str] = "Expected gradients"
    source: ClassVar[str] = "Erion, Janizek, Sturmfels, Lundberg & Lee 2021, arXiv 1906.10670, equation 4"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = ("null_player", "linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("gradient_shap", "gradientshap", "gradshap", "shap_gradient")

    def estimate(self, session: Session) -> Estimate:
        wanted = self.samples or SAMPLES
        allowed = session.allowance(wanted + ENDS, least=(self.samples or LEAST) + ENDS) - ENDS
        references = session.references
        sizes = _sizes(min(wanted, allowed), references.shape[1], exact=self.samples is not None)
        plan = _Points(session, references, *session.design(_drawn, references.shape[1], sizes))
        moments, ends = Moments(session, "mean"), np.cumsum(sizes).tolist()
        part = session.x.new_zeros((session.questions, session.x.shape[1]), dtype=torch.float64)

        def fold(g: slice, c: slice, rows: Tensor, slopes: Tensor) -> None:
            found = (plan.differences(g, c) * slopes).double()
            asked = np.arange(session.questions)[g]
            for size, stop in zip(sizes, ends, strict=True):
                within = slice(max(stop - size, c.start) - c.start, min(stop, c.stop) - c.start)
                if within.start >= within.stop:
                    continue
                part[g] += found[:, within].sum(1)
                if stop <= c.stop:
                    moments.add(g, session.pool_there(part[g] / size, questions=asked)[:, None])
                    part[g] = 0.0

        session.each_gradient(plan.points, ends[-1], fold)
        values, errors = moments.found()
        left_over = session.full - session.empty - values.sum(1)
        return Estimate(values, errors, notes={"samples": ends[-1], "left_over": left_over})

    def cost(self, players: int) -> float:
        return float(self.samples or SAMPLES) + ENDS


class _Points:
    """Points between reference rows and the explained ones, the same plan for all rows."""

    def __init__(self, session: Session, references: Tensor, places: np.ndarray, alphas: np.ndarray):
        self.session, self.references = session, references
        self.places = torch.from_numpy(places)
        self.alphas = torch.as_tensor(alphas, dtype=session.x.dtype, device=session.x.device)

    def points(self, questions: Tensor, indices: Tensor) -> Tensor:
        items = self.session.item(questions)
        return torch.lerp(self._reference(items, indices), self.session.x[items], self.alphas[indices][:, None])

    def differences(self, g: slice, c: slice) -> Tensor:
        """x − x′ ``[g, c, D]`` for some questions and points."""
        items = self.session.item(torch.arange(g.start, g.stop)).repeat_interleave(c.stop - c.start)
        indices = torch.arange(c.start, c.stop).repeat(g.stop - g.start)
        away = self.session.x[items] - self._reference(items, indices)
        return away.reshape(g.stop - g.start, c.stop - c.start, -1)

    def _reference(self, items: Tensor, indices: Tensor) -> Tensor:
        return self.references[0 if len(self.references) == 1 else items, self.places[indices]]


def _sizes(samples: int, rows: int, exact: bool) -> tuple[int, ...]:
    """Points of each design: as even as they can be; multiples of the background's rows where they may be chosen."""
    draws = min(DRAWS, samples // 2)
    each = samples // draws
    if exact:
        return tuple(each + (draw < samples % draws) for draw in range(draws))
    return (each // rows * rows if each > rows else each,) * draws


def _drawn(rng: np.random.Generator, rows: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """For all designs one after another: reference rows ``Int[m]``, each as often as any other, and α ``Float[m]``, one
    from each of equal parts of the way."""
    places = [np.concatenate([rng.permutation(rows) for _ in range(-(-size // rows))])[:size] for size in sizes]
    alphas = [(np.arange(size) + rng.random(size)) / size for size in sizes]
    return np.concatenate(places), np.concatenate(alphas)

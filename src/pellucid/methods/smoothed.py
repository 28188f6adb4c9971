"""Smoothing: what a method says on average over noisy copies of the row, or how much that varies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.model import Differentiable
from ..records.errors import NotApplicable
from ..records.explanation import Explanation
from ..records.settings import Range
from .from_gradient import FromGradient, zero_gradient_cautions
from .input_x_gradient import InputXGradient
from .method import Method
from .moments import Moments, Of
from .noisy_rows import NoisyRows

SAMPLES = 25
PLAIN = InputXGradient()
ENDS = 2
"""Evaluations beside the copies: the row itself, and with everything removed."""
KEPT = ("null_player", "linearity", "implementation_invariance")
"""Axioms that survive an average over noise, where the method has them."""
FROM_INNER = ("needs", "kinds", "own_removal", "removes", "of_loss", "background_rows")


@dataclass(frozen=True)
class Smoothed(Method):
    """Any method, averaged over noisy copies of the row: E[φ(x + ε)], ε ~ N(0, (noise · range)²).

    SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825) for any method. ``how="variance"`` tells how much the values
    vary instead (VarGrad), ``how="square"`` the mean of their squares (SmoothGrad-squared). With ``absolute`` the noise
    has the standard deviation ``noise`` itself. The contributions add up to no change of the output at the row: the
    row itself is not among the copies.
    """

    of: Annotated[Method, "the method that is smoothed, by its name"] = PLAIN
    samples: Annotated[int | None, Range(2, 100_000), "noisy copies; none: 25, or what the budget allows"] = None
    noise: Annotated[float, Range(0, 1e6), "standard deviation of the noise, as a share of the values' range"] = 0.15
    how: Annotated[Of, "what is told of the values: their mean, their variance, or their mean square"] = "mean"
    absolute: Annotated[bool, "noise is in the units of the rows, not a share of their range"] = False

    name: ClassVar[str] = "smoothed"
    title: ClassVar[str] = "Smoothed"
    source: ClassVar[str] = "Smilkov et al. 2017, arXiv 1706.03825, section 3; Adebayo et al. 2018, arXiv 1810.03307"
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.of, Method) or self.of.answers is not Explanation:
            raise NotApplicable(
                f"{self.of!r} cannot be smoothed", why="it is no method that gives a number to each player of each row"
            )
        own = {name: getattr(self.of, name) for name in FROM_INNER}
        own["signed"] = self.of.signed and self.how == "mean"
        kept = KEPT if self.how == "mean" else tuple(axiom for axiom in KEPT if axiom != "linearity")
        own["promises"] = tuple(axiom for axiom in kept if axiom in self.of.promises)
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def estimate(self, session: Session) -> Estimate:
        samples, each = self._share_of_budget(session)
        noisy = NoisyRows(session, samples, self.noise, self.absolute)
        moments = Moments(session, self.how)
        if isinstance(self.of, FromGradient):
            pooling, cautions = self.of.pooled_by, _from_gradient(self.of, session, noisy, moments)
        else:
            pooling, cautions = _from_any(self.of, session, noisy, moments, each), ()
        values, errors = moments.found()
        return Estimate(values, errors, notes={"samples": samples}, cautions=cautions, pooling=pooling, complete=False)

    def _share_of_budget(self, session: Session) -> tuple[int, int | None]:
        """How many copies there are, and the evaluations of each; None where nothing limits them."""
        wanted, cost = self.samples or SAMPLES, self._of_each(session.n)
        allowed = session.allowance(ceil(wanted * cost) + ENDS, least=(self.samples or 2) + ENDS) - ENDS
        samples = self.samples or min(wanted, max(2, int(allowed / cost)))
        return samples, None if session.budget.allowance is None else allowed // samples

    def cost(self, players: int) -> float:
        return (self.samples or SAMPLES) * self._of_each(players) + ENDS

    def _of_each(self, players: int) -> float:
        """Evaluations of a copy: the method's, and one end that not every method counts."""
        return self.of.cost(players) + (not isinstance(self.of, FromGradient))


@dataclass(frozen=True)
class SmoothedGradient(Method, ABC):
    """What the members of the SmoothGrad family share: they are saliency, smoothed."""

    samples: Annotated[int | None, Range(2, 100_000), "noisy copies; none: 25, or what the budget allows"] = None
    noise: Annotated[float, Range(0, 10), "standard deviation of the noise, as a share of the values' range"] = 0.15

    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    promises: ClassVar[tuple[str, ...]] = ("null_player", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    @property
    @abstractmethod
    def same(self) -> Smoothed:
        """The composition that it is."""

    def estimate(self, session: Session) -> Estimate:
        return self.same.estimate(session)

    def cost(self, players: int) -> float:
        return self.same.cost(players)


def _from_gradient(method: FromGradient, session: Session, noisy: NoisyRows, moments: Moments) -> tuple:
    """Sum over the copies in one pass of gradients; cautions for rows where all of these are zero."""
    moved = torch.zeros((session.questions, 1), dtype=torch.bool, device=session.x.device)

    def fold(g: slice, c: slice, rows: Tensor, slopes: Tensor) -> None:
        elements = method.of_elements(rows, slopes).double().flatten(0, 1)
        asked = np.arange(session.questions)[g].repeat(c.stop - c.start)
        values = session.pool_there(elements, method.pooled_by, asked)
        moved[g] |= slopes.flatten(1).any(1, keepdim=True)
        moments.add(g, values.reshape(len(slopes), -1, session.n))

    session.each_gradient(noisy.points, noisy.samples, fold)
    return zero_gradient_cautions(moved.cpu().numpy(), session)


def _from_any(method: Method, session: Session, noisy: NoisyRows, moments: Moments, each: int | None) -> str:
    """Ask the method about the copies, about a batch of rows at a time; how it pooled its values."""
    step, T, pooling = max(session.rows_at_once // len(session), 1), session.targets, method.pooling
    for start in range(0, noisy.samples, step):
        numbers = np.arange(start, min(start + step, noisy.samples))
        copies = session.copies(noisy.of_all(numbers), numbers.tolist(), each)
        found = method.estimate(copies)
        pooling = found.pooling or pooling
        values = found.values.reshape(len(session), len(numbers), T, session.n)
        values = values.swapaxes(1, 2).reshape(session.questions, len(numbers), session.n)
        moments.add(slice(None), torch.from_numpy(values).to(session.x.device))
    return pooling

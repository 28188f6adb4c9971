"""Ways from where everything is absent to the row, and the integral of the gradient along them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..engine.session import Session
from ..engine.slopemaking import Recipe
from ..records.errors import NotApplicable

FADED = 4
"""A blurred path starts at a Gaussian of a fourth of the image's longer side."""
SHARP = 1e-3
"""A Gaussian of so few pixels blurs nothing."""


class Path(ABC):
    """A path γ with γ(0) the start and γ(1) the row, for every row of a session."""

    def __init__(self, session: Session):
        self.session = session

    start: Tensor
    """γ(0), ``[1, D]`` for all rows or ``[N, D]``."""

    @cached_property
    def base(self) -> np.ndarray:
        """The target at the start, ``Float64[Q]``."""
        return self.session.outputs_all(self.start.expand(len(self.session), -1), np.arange(len(self.session))).reshape(
            -1
        )

    @abstractmethod
    def at(self, items: Tensor, alphas: Tensor) -> Tensor:
        """γ ``[b, D]`` of rows ``Int[b]`` at their α."""

    @abstractmethod
    def integral(self, alphas: np.ndarray, weights: np.ndarray, questions: np.ndarray | None = None) -> np.ndarray:
        """Σ_j weights[j] · ∇f(γ(alphas[j])) ∘ γ′(alphas[j]), ``Float64[Q, D]``.

        α and weights are ``Float[m]``, the same for all questions, or ``Float[Q, m]``, each question's own.
        """

    def _recipe(self, nodes: Tensor, questions: np.ndarray | None) -> Recipe:
        """Points at nodes ``[m]``, or ``[Q, m]`` of the questions that are asked."""
        place = torch.zeros(self.session.questions, dtype=torch.long)
        if nodes.ndim == 2:
            place[slice(None) if questions is None else torch.as_tensor(questions)] = torch.arange(len(nodes))

        def points(asked: Tensor, indices: Tensor) -> Tensor:
            return self.at(
                self.session.item(asked), nodes[indices] if nodes.ndim == 1 else nodes[place[asked], indices]
            )

        return points


class Straight(Path):
    """γ(α) = x′ + α (x − x′), from one start ``[1, D]`` for all rows or ``[N, D]``, each row's own.

    The derivative is the same everywhere, so the gradients are summed before they are multiplied by it.
    """

    def __init__(self, session: Session, start: Tensor, base: np.ndarray | None = None):
        super().__init__(session)
        self.start = start
        if base is not None:
            self.base = base
        self.delta = session.x - start

    def at(self, items: Tensor, alphas: Tensor) -> Tensor:
        origin = self.start if len(self.start) == 1 else self.start[items]
        return torch.addcmul(origin, alphas.to(self.delta)[:, None], self.delta[items])

    def integral(self, alphas: np.ndarray, weights: np.ndarray, questions: np.ndarray | None = None) -> np.ndarray:
        nodes = torch.as_tensor(alphas, dtype=self.session.x.dtype, device=self.session.x.device)
        recipe = self._recipe(nodes, questions)
        return self.session.gradients(recipe, alphas.shape[-1], weights, questions, times=self.delta)


class Blurred(Path):
    """γ(α) = the image blurred by a Gaussian of σ = (1 − α)² · side / 4 pixels (Xu, Venugopalan & Sundararajan 2020,
    arXiv 2004.03383, eq. 5): it comes into focus, and no colour of its own stands for the absent.

    Raises :class:`NotApplicable` where the rows are not images.
    """

    def __init__(self, session: Session):
        super().__init__(session)
        shapes = [] if session.opaque else list(session.inputs.shapes.values())
        if session.kind != "image" or len(shapes) != 1:
            raise NotApplicable(
                "a blurred path needs images", why="blurring mixes neighbours, and these rows have none",
                fix='path="straight"',
            )  # fmt: skip
        self._shape = shapes[0]
        self._widest = max(self._shape[1:]) / FADED
        self.start = self._at(torch.arange(len(session)), torch.zeros(len(session), dtype=torch.float64))[0]

    def at(self, items: Tensor, alphas: Tensor) -> Tensor:
        return self._at(items, alphas)[0]

    def integral(self, alphas: np.ndarray, weights: np.ndarray, questions: np.ndarray | None = None) -> np.ndarray:
        session, nodes = self.session, torch.as_tensor(alphas)
        factors = torch.as_tensor(weights, dtype=torch.float64, device=session.x.device)
        asked = torch.arange(session.questions) if questions is None else torch.as_tensor(questions)
        out = torch.zeros((len(asked), session.x.shape[1]), dtype=torch.float64, device=session.x.device)

        def fold(g: slice, c: slice, rows: Tensor, slopes: Tensor) -> None:
            items = session.item(asked[g]).repeat_interleave(c.stop - c.start)
            own = nodes[c].repeat(len(rows)) if nodes.ndim == 1 else nodes[g, c].flatten()
            speed = self._at(items, own)[1].reshape(rows.shape)
            shared = factors[c, None] if factors.ndim == 1 else factors[g, c, None]
            out[g] += ((slopes * speed).double() * shared).sum(1)

        session.each_gradient(self._recipe(nodes, questions), alphas.shape[-1], fold, asked)
        return out.cpu().numpy()

    def _at(self, items: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
        """γ and γ′ (``Float64``) ``[b, D]`` of rows at their α: products with a smoothing matrix on either side."""
        images = self.session.x[items].double().reshape(len(items), *self._shape)
        sigma, rate = self._widest * (1 - alphas) ** 2, -2 * self._widest * (1 - alphas)
        down, down_rate = (m.to(images)[:, None] for m in _smoothing(self._shape[1], sigma, rate))
        across, across_rate = (m.to(images)[:, None].mT for m in _smoothing(self._shape[2], sigma, rate))
        half = down @ images
        speed = down_rate @ images @ across + half @ across_rate
        return (half @ across).flatten(1).to(self.session.x), speed.flatten(1)


def _smoothing(size: int, sigma: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices ``Float64[b, size, size]`` that blur by σ, rows summing to 1, and how they change with σ."""
    places = torch.arange(size, dtype=torch.float64)
    squared = (places[:, None] - places).square()
    sigma = sigma.clamp(min=SHARP)[:, None, None]
    blur = torch.softmax(-squared / (2 * sigma**2), dim=2)
    growth = squared / sigma**3
    return blur, blur * (growth - (blur * growth).sum(2, keepdim=True)) * rate[:, None, None]

"""LIME: a straight line fitted to the model's answers around one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method

POOR_FIT = 0.3


@dataclass(frozen=True)
class Lime(Method):
    """min_g Σ π(z) (f(z) − g(z))² + penalty · Ω(g), g linear (Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938, eq. 1).

    Columns of a table are varied around the row: numbers by their own spread (the background's, else 1), categories
    by drawing another background row's. Everywhere else players are switched on and off by the
    problem's removal. A value is the effect of the player's present state against the reference under
    the fitted line; ``report="weights"`` gives the line's weights per standard deviation instead.
    Standard errors are the robust ones of weighted least squares; the local fit (R², error) is in the notes.
    """

    samples: Annotated[int | None, Range(8, 1_000_000), "rows drawn around each row; none: 5000 (1000 on images)"] = (
        None
    )
    kernel_width: Annotated[
        float | None, Range(1e-3, 1e3), "width of the proximity kernel; none: 0.75·√n (0.25 for players on and off)"
    ] = None
    penalty: Annotated[float, Range(0, 1e6), "ridge penalty on the weights"] = 1e-3
    complexity: Annotated[int | None, Range(1, 10_000), "Ω: the most players with a weight; none: all"] = None
    discretise: Annotated[bool, "vary numbers over quartiles of the background, as same or other bin"] = False
    report: Annotated[Literal["effects", "weights"], "effect against the reference, or weight per spread"] = "effects"

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    source: ClassVar[str] = "Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938, equation 1 and algorithm 1"
    promises: ClassVar[tuple[str, ...]] = ("implementation_invariance",)
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        if session.n == 1:
            change = session.full - session.empty
            return Estimate(change[:, None], stderr=np.zeros((len(change), 1)))
        if session.kind == "table" and session.players.is_shared:
            return self._around_rows(session)
        return self._on_and_off(session)

    def cost(self, players: int) -> float:
        return float(self.samples or 5000)

    # Tables: rows drawn around the row -----------------------------------------------------

    def _around_rows(self, session: Session) -> Estimate:
        samples = self._count(session, 5000, session.n + 2)
        space = _Neighbourhood(session, self.discretise)
        width = self.kernel_width or 0.75 * np.sqrt(session.n)
        fits = []
        for item, full in enumerate(session.full.reshape(len(session), -1)):
            features, points = space.draw(session.noise(item * session.targets), item, samples)
            weights = np.exp(-np.einsum("bi,bi->b", features, features) / width**2 / 2)
            change = session.outputs_all(points, np.full(samples, item)) - full
            fits += [self._fit(features, one, weights) for one in change.T]
        values, errors, r2, error = (np.array(part) for part in zip(*fits, strict=True))
        if self.report == "effects":
            factor = np.repeat(space.effect, session.targets, 0)
            values, errors = values * factor, errors * np.abs(factor)
        return _estimate(session, values, errors, r2, error, samples)

    def _count(self, session: Session, default: int, least: int) -> int:
        """Rows to draw: as many as were asked for, else what the budget allows up to ``default``; both ends beside."""
        if self.samples is not None:
            session.allowance(self.samples + 2, least=self.samples + 2)
            return self.samples
        return min(session.allowance(default + 2, least=least + 2) - 2, default)

    def _fit(
        self, features: np.ndarray, change: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Weighted ridge through the row itself: weights, standard errors, R², local prediction error."""
        keep = np.arange(features.shape[1])
        if self.complexity is not None and self.complexity < len(keep):
            first = _ridge(features, change, weights, self.penalty)[0]
            size = np.abs(first) * np.sqrt(np.einsum("b,bi->i", weights, np.square(features)))
            keep = np.sort(np.argsort(-size, kind="stable")[: self.complexity])
        slope, errors, residual = _ridge(features[:, keep], change, weights, self.penalty)
        values, spread = np.zeros(features.shape[1]), np.zeros(features.shape[1])
        values[keep], spread[keep] = slope, errors
        return values, spread, *_quality(change, residual, weights)

    # Regions and words: players on and off -------------------------------------------------

    def _on_and_off(self, session: Session) -> Estimate:
        samples = self._count(session, 1000, min(session.n + 2, 2**session.n))
        masks = session.design(_switches, session.n, samples)
        width = self.kernel_width or 0.25
        distance = 1 - np.sqrt(masks.mean(1))
        weights = np.exp(-np.square(distance) / width**2)
        features = masks - 1.0
        if self.complexity is None:
            return self._on_and_off_folded(session, masks, features, weights)
        change = session.values(masks) - session.full[:, None]
        fits = [self._fit(features, row, weights) for row in change]
        values, errors, r2, error = (np.array(part) for part in zip(*fits, strict=True))
        return _estimate(session, values, errors, r2, error, samples)

    def _on_and_off_folded(
        self, session: Session, masks: np.ndarray, features: np.ndarray, weights: np.ndarray
    ) -> Estimate:
        """One solve serves all questions; what it needs of v is folded as it comes."""
        n = session.n
        gram = features.T @ (weights[:, None] * features)
        inverse = np.linalg.inv(gram + self.penalty * np.eye(n))
        crossed, moments = np.zeros((session.questions, n)), np.zeros((session.questions, 2))
        for part, v in session.sweep(masks):
            change = v - session.full[:, None]
            crossed += change @ (weights[part, None] * features[part])
            moments += np.stack([np.square(change) @ weights[part], change @ weights[part]], axis=1)
        values = crossed @ inverse
        residual = moments[:, 0] - 2 * (values * crossed).sum(1) + ((values @ gram) * values).sum(1)
        residual = np.maximum(residual, 0.0)
        mass = weights.sum()
        total = moments[:, 0] - np.square(moments[:, 1]) / mass
        meat = features.T @ (np.square(weights)[:, None] * features)
        spread = np.sqrt(((inverse @ meat) * inverse.T).sum(1))
        freedom = max(1 - n / (mass**2 / np.square(weights).sum()), 0.05)
        errors = np.sqrt(residual / mass / freedom)[:, None] * spread
        r2 = np.where(total > 1e-24, 1 - residual / np.maximum(total, 1e-300), 1.0)
        return _estimate(session, values, errors, r2, np.sqrt(residual / mass), len(masks))


def _estimate(
    session: Session, values: np.ndarray, errors: np.ndarray, r2: np.ndarray, error: np.ndarray, samples: int
) -> Estimate:
    rows, cautions = int((r2 < POOR_FIT).reshape(len(session), -1).any(1).sum()), ()
    if rows:
        cautions = (Caution.of("poor_local_fit", "yellow", rows=rows, total=len(session), lowest=float(r2.min())),)
    notes = {"local_r2": r2, "local_error": error, "samples": samples}
    return Estimate(values, stderr=errors, notes=notes, cautions=cautions)


def _ridge(
    features: np.ndarray, change: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes through the origin, their robust (HC0) standard errors and the residuals."""
    root = np.sqrt(weights)
    halved = features * root[:, None]  # a matrix times its own transpose takes half the work of a product of two
    inverse = np.linalg.inv(halved.T @ halved + penalty * np.eye(features.shape[1]))
    slope = inverse @ (halved.T @ (root * change))
    residual = change - features @ slope
    meat = np.multiply(halved, (root * residual)[:, None], out=halved)
    covariance = inverse @ (meat.T @ meat) @ inverse
    return slope, np.sqrt(np.maximum(np.diag(covariance), 0.0)), residual


def _quality(change: np.ndarray, residual: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted R² and root mean squared error of the line near the row."""
    mass = weights.sum()
    mean = (weights @ change) / mass
    total = weights @ np.square(change - mean)
    left = weights @ np.square(residual)
    return (1 - left / total if total > 1e-24 else 1.0), float(np.sqrt(left / mass))


def local_line(steps: np.ndarray, change: np.ndarray) -> tuple[float, float]:
    """R² and error of the least-squares line through ``change [k]`` at ``steps [k, D]`` from the row.

    NaN where there are no more points than elements: any line would do.
    """
    if steps.shape[1] >= len(steps):
        return float("nan"), float("nan")
    even = np.ones(len(change))
    return _quality(change, _ridge(steps, change, even, 1e-9)[2], even)


def _switches(rng: np.random.Generator, n: int, samples: int) -> np.ndarray:
    """Players on and off by a fair coin; the first row has everyone."""
    masks = rng.random((samples, n)) < 0.5
    masks[0] = True
    return masks


class _Neighbourhood:
    """How columns of a table are varied around a row, and what the line sees of it.

    A numeric player owns one element and moves by its spread; any other player takes the elements of a drawn
    background row as a whole, and the line sees "same" (0) or "other" (−1). Rows of whole numbers (bytes, truth
    values) are drawn too: between two of them there is nothing.
    """

    def __init__(self, session: Session, discretise: bool):
        self.x = session.x
        references = session.background
        self.draws = references[0] if len(references) == 1 else session.x
        labels = session.players.labels[0]
        self.owned = [np.flatnonzero(labels == player) for player in range(session.n)]
        types = session.types or ("numeric",) * session.n
        numeric = [
            len(own) == 1 and kind in ("numeric", "ordinal") for own, kind in zip(self.owned, types, strict=True)
        ]
        moves = not discretise and self.x.is_floating_point()
        self.moved = np.array(numeric) if moves else np.zeros(session.n, dtype=bool)
        self.places = torch.as_tensor([own[0] for own, moved in zip(self.owned, self.moved, strict=True) if moved])
        self.all_moved = bool(self.moved.all()) and self.places.tolist() == list(range(self.x.shape[1]))
        self.bins = self._quartiles(np.array(numeric)) if discretise else {}
        spread = self.draws.double().std(0, unbiased=False)
        self.spread = torch.where(spread > 0, spread, 1.0)[self.places] if len(self.places) else None
        self.effect = self._effects(session)

    def _effects(self, session: Session) -> np.ndarray:
        """What turns a weight into an effect against the references, ``Float64[N, n]``."""
        effect = np.ones((len(session), session.n))
        if self.spread is not None:
            start = self.draws.double().mean(0)[self.places]
            if len(session.background) != 1:
                start = session.start[:, self.places].double()
            moved = (self.x[:, self.places].double() - start) / self.spread
            effect[:, self.moved] = moved.cpu().numpy()
        for player in np.flatnonzero(~self.moved).tolist():
            effect[:, player] = 1 - self._same(self.x, self.draws[None], player).mean(1)
        return effect

    def _quartiles(self, numeric: np.ndarray) -> dict[int, torch.Tensor]:
        marks = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        return {
            int(player): torch.quantile(self.draws[:, self.owned[player][0]].double(), marks)
            for player in np.flatnonzero(numeric)
        }

    def _same(self, rows: torch.Tensor, others: torch.Tensor, player: int) -> np.ndarray:
        """Whether rows ``[N, D]`` and others ``[1|N, b, D]`` agree in a player (fall into one bin), ``Bool[N, b]``."""
        own = self.owned[player]
        if player in self.bins:
            a = torch.bucketize(rows[:, own].double().contiguous(), self.bins[player])[:, None]
            b = torch.bucketize(others[..., own].double().contiguous(), self.bins[player])
            return (a == b)[..., 0].cpu().numpy()
        return (rows[:, None, own] == others[..., own]).all(-1).cpu().numpy()

    def draw(self, rng: np.random.Generator, item: int, samples: int) -> tuple[np.ndarray, torch.Tensor]:
        """Features ``Float64[b, n]`` (0 at the row itself) and the points ``[b, D]`` they stand for."""
        if self.all_moved and self.spread is not None:
            return self._draw_numbers(rng, item, samples, self.spread)
        features = np.zeros((samples, len(self.owned)))
        points = self.x[item].repeat(samples, 1)
        if self.spread is not None:
            steps = rng.standard_normal((samples, len(self.places)), dtype=np.float32)
            points[:, self.places] += torch.from_numpy(steps).to(points) * self.spread.to(points)
            features[:, self.moved] = steps
        for player in np.flatnonzero(~self.moved).tolist():
            own = torch.from_numpy(self.owned[player])
            if len(self.draws) > 1:
                drawn = self.draws[torch.from_numpy(rng.integers(len(self.draws), size=samples))]
            else:
                drawn = torch.where(torch.from_numpy(rng.random(samples) < 0.5)[:, None], self.draws, self.x[item])
            points[:, own] = drawn[:, own]
            features[:, player] = self._same(self.x[item][None], drawn[None], player)[0] - 1.0
        features[0] = 0.0
        points[0] = self.x[item]
        return features, points

    def _draw_numbers(
        self, rng: np.random.Generator, item: int, samples: int, spread: torch.Tensor
    ) -> tuple[np.ndarray, torch.Tensor]:
        """The same where all players are numbers, in the order of the elements: nothing is gathered or scattered."""
        steps = rng.standard_normal((samples, len(self.places)), dtype=np.float32)
        steps[0] = 0.0
        points = torch.addcmul(self.x[item], torch.from_numpy(steps).to(self.x), spread.to(self.x))
        points[0] = self.x[item]
        return steps.astype(np.float64), points

"""The odd process given gradients too: at some pairs the odd part's slope in every player's share is known.

With s = 2z − 1 and masks z taken as shares, ∇o(s) = (g(z) + g(1 − z))/4, g being the gradient of v in z. The kernel
k(s, s′) = (10/n) s·s′ + B h(t), h = sinh/sinh τ, t = Σ cᵢ sᵢ s′ᵢ, is smooth in s, and so with h′ = cosh/sinh τ

    cov(o(s), ∂ₗ o(s′))   = (10/n) sₗ + B h′ cₗ sₗ
    cov(∂ᵢ o(s), ∂ₗ o(s′)) = (10/n) δᵢₗ + B (h cᵢ s′ᵢ cₗ sₗ + h′ cᵢ δᵢₗ)

The values of the game at shares other than 0 and 1 enter nothing: the process just need not be a product of players
between them, and a noise of the gradients' own, fitted like the rest, says how far it is from what they tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .odd_fit import FEW, MOST, Hyper, Posterior, descended, spread_out
from .odd_process import (
    LINEAR,
    NODES,
    OddLikelihood,
    Process,
    Reading,
    by_relevance,
    cholesky,
    gauss,
    inverted,
    noise_shares,
    profiled,
    ratios,
)


class SlopeFitter:
    """Fits games that share a design of ``signs [rows, n]``, gradients being known in the first ``sloped`` rows."""

    def __init__(self, signs: np.ndarray, sloped: int):
        self._few, self._first = _part(signs, sloped, FEW)
        self._most, self._last = _part(signs, sloped, MOST, self._first)

    def __call__(self, data: np.ndarray) -> Hyper:
        """Hyper-parameters for ``data [rows + sloped · n, R]``, every column a game with a scale of its own."""
        return descended((self._first, data[self._few]), (self._last, data[self._most]))


def _part(
    signs: np.ndarray, sloped: int, most: int, before: SlopeLikelihood | None = None
) -> tuple[np.ndarray, SlopeLikelihood]:
    """Which data a stage of the fit looks at, about ``most`` odd parts and as many slopes; and their likelihood."""
    rows, n = signs.shape
    own = spread_out(sloped, max(most // n, 2))
    others = sloped + spread_out(rows - sloped, most) if rows > sloped else np.empty(0, dtype=int)
    kept = np.concatenate([own, others])
    slopes = rows + (own[:, None] * n + np.arange(n)).ravel()
    return np.concatenate([kept, slopes]), SlopeLikelihood(signs[kept], len(own), before)


def assembled(signs: np.ndarray, sloped: int, c: np.ndarray, parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """A matrix over odd parts and slopes ``Float[rows + sloped · n, ·]``, of functions of t ``Float[rows, rows]``.

    ``parts`` are those between odd parts; between an odd part and a slope, times cₗ sₗ, which also stands between two
    slopes of one player, times cᵢ; and between any two slopes, times cᵢ s′ᵢ cₗ sₗ.
    """
    rows, n = signs.shape
    own, (plain, crossed, twice) = c * signs, parts
    out = np.empty((rows + sloped * n,) * 2)
    out[:rows, :rows] = plain
    out[:rows, rows:] = (crossed[:, :sloped, None] * own[:, None]).reshape(rows, -1)
    out[rows:, :rows] = out[:rows, rows:].T
    steep = out[rows:, rows:].reshape(sloped, n, sloped, n)
    np.multiply(
        (twice[:sloped, :sloped, None] * own[None, :sloped]).transpose(0, 2, 1)[..., None],
        own[:sloped, None, None],
        steep,
    )
    every = np.arange(n)
    steep[:, every, :, every] += c[:, None, None] * crossed[:sloped, :sloped]
    return out


def line(signs: np.ndarray, sloped: int) -> np.ndarray:
    """The linear part of the covariance of odd parts and slopes."""
    both = np.vstack([signs, np.tile(np.eye(signs.shape[1]), (sloped, 1))])
    return LINEAR / signs.shape[1] * (both @ both.T)


def noise(rows: int, slopes: int, hyper: Hyper) -> np.ndarray:
    """The noise of odd parts and of slopes, ``Float[rows + slopes]``."""
    return np.append(hyper.noise * noise_shares(rows), np.full(slopes, hyper.slope_noise))


class SlopeLikelihood:
    """The likelihood of odd parts at ``signs [rows, n]`` and of slopes at the first ``sloped`` of them."""

    noises = 2

    def __init__(self, signs: np.ndarray, sloped: int, part: SlopeLikelihood | None = None):
        self.signs, self.sloped, self.n = signs, sloped, signs.shape[1]
        self._line = line(signs, sloped)
        self._odd_parts = OddLikelihood(signs, part and part._odd_parts)

    @property
    def curvature(self) -> float:
        """That of the odd parts, and ½ for each pair with slopes: each player's slopes tell their own scale."""
        return self._odd_parts.curvature + self.sloped / 2

    def at(self, x: np.ndarray, data: np.ndarray) -> Posterior:
        hyper, rows, slopes = Hyper.of(x, self.n), len(self.signs), self.sloped * self.n
        c, tau = hyper.relevance, hyper.tau
        odd, even = ratios(self.signs, self.signs, hyper)
        by_height = assembled(self.signs, self.sloped, c, (odd, even, odd))
        spread = noise(rows, slopes, hyper)
        M = self._line + by_height
        M[np.diag_indices(len(M))] += spread
        lower = cholesky(M)
        inverse = inverted(lower)
        value, G = profiled(lower, inverse, data)
        u, stretch = self._by_relevance(G, odd, even, c), tau / np.tanh(tau)
        height, diagonal = float(np.vdot(G, by_height)), np.diag(G) * spread
        shared = [height, diagonal[:rows].sum(), diagonal[rows:].sum()]

        def directions() -> list[np.ndarray]:
            t = (self.signs * c) @ self.signs.T
            stretched = (t * even, t * odd + even, t * even + 2 * odd)
            by_tau = assembled(self.signs, self.sloped, c, stretched) - stretch * by_height
            ours = np.arange(len(M)) < rows
            return [inverse @ by_tau, inverse @ by_height, inverse * (spread * ours), inverse * (spread * ~ours)]

        return Posterior(value, np.concatenate([by_relevance(u, height, hyper), shared]), directions)

    def _by_relevance(self, G: np.ndarray, odd: np.ndarray, even: np.ndarray, c: np.ndarray) -> np.ndarray:
        """∂F/∂cᵢ, ``Float[n]``: Σ G ∘ ∂M/∂cᵢ, contracted player by player."""
        signs, k, n, rows = self.signs, self.sloped, self.n, len(self.signs)
        own, every = c * signs, np.arange(n)
        mixed = G[:rows, rows:].reshape(rows, k, n)
        steep = G[rows:, rows:].reshape(k, n, k, n)
        alike = steep[:, every, :, every]  # [n, k, k]: two slopes of one player
        once = np.einsum("abl,al->ab", mixed, own)
        half = np.einsum("aibl,al->abi", steep, own[:k], optimize=True)
        weight = G[:rows, :rows] * even
        weight[:, :k] += 2 * once * odd[:, :k]
        weight[:k, :k] += np.einsum("abi,bi->ab", half, own[:k]) * even[:k, :k]
        weight[:k, :k] += np.einsum("iab,i->ab", alike, c) * odd[:k, :k]
        u = ((weight @ signs) * signs).sum(0)
        u += 2 * (np.einsum("abi,ab->ai", mixed, even[:, :k]) * signs).sum(0)
        u += 2 * (np.einsum("abi,ab->bi", half, odd[:k, :k]) * signs[:k]).sum(0)
        return u + np.einsum("iab,ab->i", alike, even[:k, :k])


@dataclass(frozen=True, eq=False)
class SlopeProcess(Reading):
    """The process given odd parts and, after them, slopes at the first ``sloped`` pairs: ``[rows + sloped · n]``."""

    sloped: int

    def _covariance(self) -> np.ndarray:
        c = self.hyper.relevance
        odd, even = ratios(self.signs, self.signs, self.hyper)
        M = line(self.signs, self.sloped) + assembled(self.signs, self.sloped, c, (odd, even, odd))
        M[np.diag_indices(len(M))] += noise(len(self.signs), self.sloped * len(c), self.hyper)
        return M

    def _readout(self) -> np.ndarray:
        """Of odd parts as in :class:`Process`; of slopes its derivative in sₗ.

        That is b′ wᵢ sᵢ cₗ ∫ (wₗ sₗ + u) Π_{j≠i,l} (1 + u wⱼ sⱼ) du for l ≠ i, and (20/n) + b′ cᵢ ∫ Π_{j≠i} (…) du.
        """
        c, signs = self.hyper.relevance, self.signs[: self.sloped]
        n = len(c)
        weighted, every = np.tanh(c) * signs, np.arange(n)
        total = np.zeros((len(signs), n, n))  # [pair, l, i]
        for node, weight in zip(*gauss(min(n // 2 + 1, NODES)), strict=True):
            factors = 1 + node * weighted
            others = weight * factors.prod(1, keepdims=True) / factors
            crossed = (c * (weighted + node) / factors)[:, :, None] * (weighted * others)[:, None]
            crossed[:, every, every] = c * others
            total += crossed
        total *= self.height
        total[:, every, every] += 2 * LINEAR / n
        return np.vstack([Process(self.signs, self.hyper).readout, total.reshape(-1, n)])

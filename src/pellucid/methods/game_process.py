"""A Gaussian process on a game, its odd and its even part apart, from which any index of interaction is read off.

With signs s = ±1 (present, absent), a pair of a coalition and its complement tells o = (v(S) − v(Sᶜ))/2 and
e = (v(S) + v(Sᶜ))/2, which the prior takes as independent:

    cov(o, o′) = (10/n) s·s′ + B sinh(t)/sinh(τ),    cov(e, e′) = 10 + B cosh(t)/cosh(τ),    t = Σ cᵢ sᵢ s′ᵢ,  τ = Σ cᵢ,

each half with its own cᵢ, B and noise, fitted by likelihood as in ``odd_process``. An index of a part T is
Σ_m c(t + m) pₘ, where p(q) = Σ pₘ qᵐ = Δ_T f(q, …, q) is the difference over T of the multilinear extension f, every
player present with chance q. A product of exponentials has a product for its extension, so that the covariance of the
index with the data is a sum of products over Gauss–Legendre nodes, and the posterior is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np

from ..measures.indices import share
from .odd_fit import BOUNDS, MOST, START, Hyper
from .odd_process import LINEAR

ODD, EVEN = -1.0, 1.0
NODES = 40
"""Gauss–Legendre nodes at most: exact up to 40 players."""
HELD = 2**22
"""Products held at once."""
ITERATIONS = 15
"""Of the line search for the hyper-parameters of a half."""
FLOOR = 1e-8
"""Standard errors are at least this share of the scale of the data: what rounding leaves."""


@dataclass(frozen=True, eq=False)
class Readout:
    """The functional that an index is: for each size of part, weights on the nodes.

    Attributes
    ----------
    parts: ``Int[M, largest]``, −1 where a part has fewer members.
    nodes: ``Float[G]`` in −1 … 1, the nodes x = 2q − 1.
    weights: ``Float[largest + 1, G]`` with Σ_g w_t(g) q_gᵐ = c_t(t + m).
    """

    parts: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, index: str, parts: np.ndarray, n: int) -> Readout:
        largest, count = parts.shape[1], min(n, NODES)
        nodes, lengths = np.polynomial.legendre.leggauss(count)
        weights = np.zeros((largest + 1, count))
        for t in range(1, min(largest, n) + 1):
            degrees = range(min(count, n - t + 1))
            moments = [(2 * degree + 1) * _moment(index, largest, t, degree) for degree in degrees]
            weights[t] = lengths / 2 * np.polynomial.legendre.legval(nodes, moments)
        return cls(parts, nodes, weights)

    def sums(self, factors: np.ndarray, tops: np.ndarray) -> np.ndarray:
        """Σ_g w_t(g) Π_{i ∈ T} tops Π_{j ∉ T} factors(g) of each part: ``Float[A, M]``.

        ``factors`` are ``Float[A, n, G]`` and positive, ``tops`` ``Float[A, n]``.
        """
        found = np.zeros((len(factors), len(self.parts)))
        sizes, n = (self.parts >= 0).sum(1), factors.shape[1]
        for t in range(1, min(self.parts.shape[1], n) + 1):
            heads = {members: place for place, members in enumerate(combinations(range(n), t - 1))}
            own = np.flatnonzero(sizes == t)
            before = np.array([heads[tuple(part[: t - 1].tolist())] for part in self.parts[own]])
            members = np.array(list(heads), dtype=int).reshape(len(heads), t - 1)
            step = max(HELD // (len(heads) * factors.shape[2]), 1)
            for start in range(0, len(factors), step):
                block = factors[start : start + step]
                ratios = tops[start : start + step, :, None] / block
                left = (np.exp(np.log(block).sum(1)) * self.weights[t])[:, None]
                for place in range(t - 1):
                    left = left * ratios[:, members[:, place]]
                whole = np.broadcast_to(left, (len(block), len(heads), block.shape[2])) @ ratios.transpose(0, 2, 1)
                found[start : start + step, own] = whole[:, before, self.parts[own, t - 1]]
        return found


def _moment(index: str, largest: int, t: int, degree: int) -> float:
    """The index's functional of a shifted Legendre polynomial, in whole fractions: its terms are huge and cancel."""
    terms = (
        (-1) ** (degree + m) * comb(degree, m) * comb(degree + m, m) * share(index, largest, t, t + m)
        for m in range(degree + 1)
    )
    return float(sum(terms))


@dataclass(frozen=True, eq=False)
class Half:
    """One half of the process, given data ``Float[rows]`` at ``signs [rows, n]``.

    The first datum is that of everyone and nobody; it has no noise, so that indices that should add up do.
    """

    parity: float
    signs: np.ndarray
    data: np.ndarray
    hyper: Hyper

    @classmethod
    def fitted(cls, parity: float, signs: np.ndarray, data: np.ndarray, kept: np.ndarray) -> Half:
        """With hyper-parameters of the greatest posterior likelihood of the rows ``kept``."""
        from scipy.optimize import minimize

        n = signs.shape[1]
        start = np.concatenate([[np.log(START[0])], np.zeros(n), START[1:]])
        bounds = [BOUNDS[0], *[BOUNDS[1]] * n, BOUNDS[2], (-20.0, BOUNDS[3][1])]  # less noise: no Cholesky factor
        found = minimize(
            lambda x: cls(parity, signs[kept], data[kept], hyper_of(x)).objective(x), start, method="L-BFGS-B",
            jac=True, bounds=bounds, options={"maxiter": ITERATIONS},
        )  # fmt: skip
        return cls(parity, signs, data, hyper_of(found.x))

    @cached_property
    def _kernel(self) -> tuple[np.ndarray, np.ndarray]:
        """sinh(t)/sinh(τ) and its slope in t (cosh for the even part), exponents shifted so that none overflows."""
        t, tau = (self.signs * self.hyper.relevance) @ self.signs.T, self.hyper.tau
        rising, falling = np.exp(t - tau), self.parity * np.exp(-t - tau)
        return (rising + falling) / self._below, (rising - falling) / self._below

    @property
    def _below(self) -> float:
        return 1 + self.parity * np.exp(-2 * self.hyper.tau)

    @cached_property
    def lower(self) -> np.ndarray:
        """The Cholesky factor of the data's covariance."""
        n = self.signs.shape[1]
        plain = LINEAR / n * (self.signs @ self.signs.T) if self.parity == ODD else LINEAR
        covariance = plain + self.hyper.height * self._kernel[0]
        covariance[np.diag_indices(len(covariance))] += self.hyper.noise * self._noise
        return np.linalg.cholesky(covariance)

    @property
    def _noise(self) -> np.ndarray:
        return np.append(0.0, np.ones(len(self.signs) - 1))

    def _solved(self, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        from scipy.linalg import solve_triangular

        return solve_triangular(self.lower, right, lower=True, trans=int(transposed), check_finite=False)

    def objective(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log posterior of x = (log τ, δ, log B, log λ), the scale profiled out, and its gradient."""
        c, tau, rows = self.hyper.relevance, self.hyper.tau, len(self.signs)
        kernel, slope = self._kernel
        root = self._solved(np.eye(rows))
        inverse = root.T @ root
        alpha = inverse @ self.data
        q = max(float(self.data @ alpha), 1e-300)
        value = rows / 2 * np.log(q / rows) + np.log(np.diag(self.lower)).sum()
        G = (inverse - rows / q * np.outer(alpha, alpha)) / 2
        u = self.hyper.height * (((G * slope) @ self.signs) * self.signs).sum(0)
        by_height = self.hyper.height * (G * kernel).sum()
        rise = (1 - self.parity * np.exp(-2 * tau)) / self._below  # of log sinh τ, log cosh τ
        by_tau = (u * c).sum() - tau * rise * by_height
        by_noise = self.hyper.noise * (np.diag(G) * self._noise).sum()
        gradient = np.concatenate([[by_tau], u * c - c / tau * (u * c).sum(), [by_height, by_noise]])
        centre = np.concatenate([[np.log(START[0])], np.zeros(len(c)), START[1:]])
        precision = np.concatenate([np.ones(len(c) + 1), [1 / 9, 1 / 25]])  # log-normal priors, as in odd_process
        away = x - centre
        return float(value + (precision * away**2).sum() / 2), gradient + precision * away

    def read(self, readout: Readout) -> tuple[np.ndarray, np.ndarray]:
        """The index of all parts: posterior means and variances ``Float[M]``."""
        crossed, prior = self._covariances(readout)
        half, data = self._solved(crossed), self._solved(self.data)
        variance = np.maximum(prior - np.square(half).sum(0), 0.0)
        rows, n = self.signs.shape
        return data @ half, variance * self._spread(data) * rows / max(rows - n, 1)  # n relevances were fitted

    def _spread(self, half: np.ndarray) -> float:
        """How much larger than the process says its errors are: by the likelihood, or by leaving each pair out."""
        alpha = self._solved(half, transposed=True)[1:]
        precisions = np.square(self._solved(np.eye(len(half)))).sum(0)[1:]
        return float(max(np.square(half).mean(), (np.square(alpha) / precisions).mean()))

    def _covariances(self, readout: Readout) -> tuple[np.ndarray, np.ndarray]:
        """Of each part with the data ``[rows, M]``, and its own prior variance ``[M]``."""
        fall = np.exp(-2 * self.hyper.relevance)
        a, b, nodes, n = (1 + fall) / 2, (1 - fall) / 2, readout.nodes, len(fall)
        total, own = np.zeros((len(self.signs), len(readout.parts))), np.zeros(len(readout.parts))
        sizes = (readout.parts >= 0).sum(1)
        for sign, factor in ((1.0, 1.0), (-1.0, self.parity)):
            signs = sign * self.signs
            slopes = b[:, None] * nodes
            total += factor * readout.sums(a[:, None] + signs[:, :, None] * slopes, 2 * b * signs)
            both = readout.sums(
                a[:, None] + sign * nodes[:, None, None] * slopes, np.tile(4 * sign * b, (len(nodes), 1))
            )
            own += factor * (readout.weights[sizes].T * both).sum(0)
        total, own = (self.hyper.height / self._below * part for part in (total, own))
        if self.parity == ODD:
            single = np.flatnonzero(sizes == 1)
            total[:, single] += 2 * LINEAR / n * self.signs[:, readout.parts[single, 0]]
            own[single] += 4 * LINEAR / n
        return total, own


def hyper_of(x: np.ndarray) -> Hyper:
    """What x = (log τ, δ, log B, log λ) stands for, the δ being log relevances up to a constant."""
    shares = np.exp(x[1:-2] - x[1:-2].max())
    return Hyper(np.exp(x[0]) * shares / shares.sum(), float(np.exp(x[-2])), float(np.exp(x[-1])))


def estimated(
    signs: np.ndarray, pairs: np.ndarray, ends: np.ndarray, kept: np.ndarray, readout: Readout
) -> tuple[np.ndarray, np.ndarray]:
    """The index of one game and its standard errors, ``Float[M]`` each.

    ``pairs`` are the values ``Float[rows − 1, 2]`` of coalitions and complements at ``signs[1:]``, ``ends`` v(everyone)
    and v(nobody), ``kept`` the rows on which the hyper-parameters are fitted.
    """
    values, variances, scales = np.zeros(len(readout.parts)), np.zeros(len(readout.parts)), 0.0
    every = np.vstack([ends, pairs])
    middle = every.mean(1)
    for parity, data in ((ODD, (every[:, 0] - every[:, 1]) / 2), (EVEN, middle - middle[0])):
        scale = np.sqrt(np.mean(np.square(data)))
        if scale <= FLOOR**2 * np.abs(every).max(initial=0.0):
            continue
        mean, variance = Half.fitted(parity, signs, data / scale, kept).read(readout)
        values += scale * mean
        variances += scale**2 * variance
        scales += scale
    return values, np.maximum(np.sqrt(variances), FLOOR * scales)


def rows_to_fit(rng: np.random.Generator, rows: int) -> np.ndarray:
    """At most 200 rows, the ends' among them."""
    return np.append(0, 1 + np.sort(rng.permutation(rows - 1)[: MOST - 1]))

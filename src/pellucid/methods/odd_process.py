"""A Gaussian process on the odd part of a game, whose relevance per player is fitted by likelihood.

With signs s = ±1 (present, absent) the prior covariance of o(s) = (v(S) − v(Sᶜ))/2 is

    k(s, s′) = (10/n) s·s′ + B sinh(t)/sinh(τ),     t = Σ cᵢ sᵢ s′ᵢ,   τ = Σ cᵢ,

the odd part of the product kernel Π(1 + wᵢ sᵢ s′ᵢ) with wᵢ = tanh(cᵢ), beside a linear part. Shapley values are linear
in o, so their posterior mean is a matrix times the data, made once for all games that share the hyper-parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

LINEAR = 10.0
"""Prior variance of the linear part, in units of the data's mean square."""
ENDS = 1e-3
"""Share of the noise that v(everyone) − v(nobody), known exactly, keeps."""
NODES = 40
"""Gauss–Legendre nodes at most: exact up to 80 players."""
MOST_FITTED = 200
"""Pairs at most on which hyper-parameters are fitted; the values are read from all."""
ITERATIONS = 15
ITERATIONS_ALONE = 6
"""Of a single game's fit. Fifteen would gain 7 % of error on average (12 % at 5n evaluations), but the line search
carries the rounding of float32 answers, which a row's place in its batch decides, from step to step: by fifteen up to
1e-4 of the values, by eight above 1e-5 for some rows, by six below 2e-6 but for one row or two in a hundred (3e-5)."""
START = (1.5, 0.0, -7.0)
"""τ, log B and log λ at the start, which are their priors' centres too."""
BOUNDS = ((np.log(0.05), np.log(8.0)), (-5.0, 4.0), (-7.0, 9.0), (-25.0, 2.0))
"""Of log τ, of each player's log relevance, of log B, of log λ."""


@dataclass(frozen=True, eq=False)
class Hyper:
    """cᵢ ``Float[n]``, the height B of the interactions, the noise λ."""

    relevance: np.ndarray
    height: float
    noise: float

    @property
    def tau(self) -> float:
        return float(self.relevance.sum())

    def reshaped(self, profile: np.ndarray) -> Hyper:
        """The same with each player's relevance times ``profile``, τ kept."""
        relevance = self.relevance * profile
        return Hyper(relevance * self.tau / relevance.sum(), self.height, self.noise)


def covariance(signs: np.ndarray, others: np.ndarray, hyper: Hyper) -> np.ndarray:
    """k(s, s′) for ``signs [a, n]`` and ``others [b, n]``: ``Float[a, b]``, without noise."""
    return LINEAR / signs.shape[1] * (signs @ others.T) + hyper.height * _ratios(signs, others, hyper.relevance)[0]


def _ratios(signs: np.ndarray, others: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sinh(t)/sinh(τ) and cosh(t)/sinh(τ), with exponents shifted by τ so that neither overflows."""
    t, tau = (signs * relevance) @ others.T, relevance.sum()
    rising, falling = np.exp(t - tau), np.exp(-t - tau)
    below = -np.expm1(-2 * tau)
    return (rising - falling) / below, (rising + falling) / below


def _noise(n: int) -> np.ndarray:
    """The diagonal that λ multiplies; the first datum is half of v(everyone) − v(nobody)."""
    return np.append(ENDS, np.ones(n - 1))


def fitted(signs: np.ndarray, data: np.ndarray) -> Hyper:
    """Hyper-parameters of the greatest posterior likelihood for ``data [rows, R]`` at ``signs [rows, n]``.

    Every column is a game with a scale of its own, which is profiled out. Start and steps are fixed, so the same data
    give the same answer.
    """
    from scipy.optimize import minimize

    n = signs.shape[1]
    start = np.concatenate([[np.log(START[0])], np.zeros(n), START[1:]])
    bounds = [BOUNDS[0], *[BOUNDS[1]] * n, BOUNDS[2], BOUNDS[3]]
    steps = ITERATIONS_ALONE if data.shape[1] == 1 else ITERATIONS
    found = minimize(_objective, start, (signs, data), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": steps})
    return _hyper(found.x)


def _hyper(x: np.ndarray) -> Hyper:
    shares = np.exp(x[1:-2] - x[1:-2].max())
    return Hyper(np.exp(x[0]) * shares / shares.sum(), float(np.exp(x[-2])), float(np.exp(x[-1])))


def _objective(x: np.ndarray, signs: np.ndarray, data: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the log posterior of x = (log τ, δ, log B, log λ), on average over the games, and its gradient."""
    hyper = _hyper(x)
    c, tau, rows = hyper.relevance, hyper.tau, len(signs)
    odd, even = _ratios(signs, signs, c)
    M = LINEAR / signs.shape[1] * (signs @ signs.T) + hyper.height * odd
    M[np.diag_indices(rows)] += hyper.noise * _noise(rows)
    lower = _cholesky(M)
    inverse = _inverse(lower)
    alpha = inverse @ data
    q = np.maximum((data * alpha).sum(0), 1e-300)
    value = rows / 2 * np.log(q / rows).mean() + np.log(np.diag(lower)).sum()
    G = (inverse - (alpha * (rows / q)) @ alpha.T / data.shape[1]) / 2
    u = hyper.height * (((G * even) @ signs) * signs).sum(0)
    by_height = hyper.height * (G * odd).sum()
    gradient = np.concatenate(
        [
            [(u * c).sum() - tau / np.tanh(tau) * by_height],
            u * c - c / tau * (u * c).sum(),
            [by_height, hyper.noise * (np.trace(G) - (1 - ENDS) * G[0, 0])],
        ]
    )
    return _with_prior(x, value, gradient)


def _with_prior(x: np.ndarray, value: float, gradient: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-normal priors: log τ about log 1.5 and δ about 0 (sd 1), log B about 0 (sd 3), log λ about −7 (sd 5)."""
    centre = np.concatenate([[np.log(START[0])], np.zeros(len(x) - 3), START[1:]])
    precision = np.concatenate([np.ones(len(x) - 2), [1 / 9, 1 / 25]])
    away = x - centre
    return float(value + (precision * away**2).sum() / 2), gradient + precision * away


def _cholesky(M: np.ndarray) -> np.ndarray:
    """The Cholesky factor; where rounding has made ``M`` indefinite, that of M with a little more noise."""
    try:
        return np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        return np.linalg.cholesky(M + 1e-9 * np.trace(M) / len(M) * np.eye(len(M)))


def _inverse(lower: np.ndarray) -> np.ndarray:
    """The inverse of a matrix from its Cholesky factor."""
    from scipy.linalg import lapack

    found, fault = lapack.dpotri(lower.T, lower=0)  # pyright: ignore[reportAttributeAccessIssue]
    assert fault == 0, fault
    return np.triu(found) + np.triu(found, 1).T


@dataclass(frozen=True, eq=False)
class Process:
    """The process given data at ``signs [rows, n]``, the first row all ones."""

    signs: np.ndarray
    hyper: Hyper

    @cached_property
    def lower(self) -> np.ndarray:
        """The Cholesky factor of M, ``Float[rows, rows]``."""
        M = covariance(self.signs, self.signs, self.hyper)
        M[np.diag_indices(len(M))] += self.hyper.noise * _noise(len(M))
        return _cholesky(M)

    @cached_property
    def readout(self) -> np.ndarray:
        """T ``Float[rows, n]``, the covariance of the data with the Shapley values.

        T_ai = (20/n) s_ai + b′ wᵢ s_ai ∫₋₁¹ Π_{j≠i} (1 + u wⱼ s_aj) du, by Gauss–Legendre.
        """
        n = self.signs.shape[1]
        weighted = np.tanh(self.hyper.relevance) * self.signs
        total = np.zeros_like(weighted)
        for node, weight in zip(*np.polynomial.legendre.leggauss(min(n // 2 + 1, NODES)), strict=True):
            factors = 1 + node * weighted
            total += weight * np.exp(np.log(factors).sum(1))[:, None] / factors
        return 2 * LINEAR / n * self.signs + self._height * weighted * total

    @property
    def _height(self) -> float:
        """b′ = B Π cosh(cᵢ)/sinh(τ)."""
        return float(self.hyper.height * np.exp(np.log(np.cosh(self.hyper.relevance)).sum()) / np.sinh(self.hyper.tau))

    @cached_property
    def _half(self) -> np.ndarray:
        """L⁻¹ T: what is small here is a difference of large numbers through M⁻¹, but not through L⁻¹."""
        return self._solved(self.readout)

    def _solved(self, right: np.ndarray, transposed: bool = False) -> np.ndarray:
        from scipy.linalg import solve_triangular

        return solve_triangular(self.lower, right, lower=True, trans=int(transposed), check_finite=False)

    @cached_property
    def map(self) -> np.ndarray:
        """H = Tᵀ M⁻¹, ``Float[n, rows]``: values = H · data."""
        return self._solved(self._half, transposed=True).T

    @cached_property
    def variances(self) -> np.ndarray:
        """Posterior variances of the values, ``Float[n]``, in units of a game's own scale."""
        prior = 4 * LINEAR / len(self.hyper.relevance) + self._height * _reach(np.tanh(self.hyper.relevance))
        return np.maximum(prior - np.square(self._half).sum(0), 0.0)

    @cached_property
    def _precisions(self) -> np.ndarray:
        """diag M⁻¹, ``Float[rows]``: one over the variance of each datum given the others."""
        return np.square(self._solved(np.eye(len(self.signs)))).sum(0)

    def evidence(self, data: np.ndarray) -> float:
        """Minus the log likelihood of ``data [rows, 1]`` with its scale profiled out, up to a constant."""
        rows = len(data)
        q = np.square(self._solved(data)).sum()
        return float(rows / 2 * np.log(q / rows) + np.log(np.diag(self.lower)).sum())

    def spread(self, data: np.ndarray) -> np.ndarray:
        """How much larger than the process says its errors are, ``Float[R]``: a factor of all variances.

        The largest of three: the scale of the likelihood, q/rows; the mean squared error of each pair predicted from
        the others, over its variance; and that mean weighted by what a pair's error does to the values.
        """
        half = self._solved(data)
        alpha = self._solved(half, transposed=True)[1:]
        errors = np.square(alpha) / self._precisions[1:, None]
        weight = np.square(self.map[:, 1:]).sum(0) / self._precisions[1:]
        return np.maximum.reduce([np.square(half).mean(0), errors.mean(0), weight @ errors / weight.sum()])


def _reach(w: np.ndarray) -> np.ndarray:
    """κᵢ = 4 wᵢ Σ_{k even} e_k(w without i)/(k + 1)², e_k being elementary symmetric polynomials."""
    n = len(w)
    polynomials = np.zeros((n, n))
    polynomials[:, 0] = 1.0
    for j in range(n):
        others = np.arange(n) != j
        polynomials[others, 1:] += w[j] * polynomials[others, :-1]
    k = np.arange(0, n, 2)
    return 4 * w * (polynomials[:, ::2] / np.square(k + 1.0)).sum(1)

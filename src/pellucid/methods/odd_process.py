"""A Gaussian process on the odd part of a game, whose relevance per player is fitted by likelihood.

With signs s = ±1 (present, absent) the prior covariance of o(s) = (v(S) − v(Sᶜ))/2 is

    k(s, s′) = (10/n) s·s′ + B sinh(t)/sinh(τ),     t = Σ cᵢ sᵢ s′ᵢ,   τ = Σ cᵢ,

the odd part of the product kernel Π(1 + wᵢ sᵢ s′ᵢ) with wᵢ = tanh(cᵢ), beside a linear part. Shapley values are linear
in o, so their posterior mean is a matrix times the data, made once for all games that share the hyper-parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .odd_fit import FEW, MOST, Hyper, Posterior, Prior, descended, expected, spread_out

LINEAR = 10.0
"""Prior variance of the linear part, in units of the data's mean square."""
ENDS = 1e-3
"""Share of the noise that v(everyone) − v(nobody), known exactly, keeps."""
NODES = 40
"""Gauss–Legendre nodes at most: exact up to 80 players."""
ASKED = 2
"""Players whose relevance is varied to tell the curvature of all."""


def covariance(signs: np.ndarray, others: np.ndarray, hyper: Hyper) -> np.ndarray:
    """k(s, s′) for ``signs [a, n]`` and ``others [b, n]``: ``Float[a, b]``, without noise."""
    return LINEAR / signs.shape[1] * (signs @ others.T) + ratios(signs, others, hyper)[0]


def ratios(signs: np.ndarray, others: np.ndarray, hyper: Hyper) -> tuple[np.ndarray, np.ndarray]:
    """B sinh(t)/sinh(τ) and B cosh(t)/sinh(τ), ``Float[a, b]``; exponents are shifted by τ, so that none overflows."""
    t, tau = (signs * hyper.relevance) @ others.T, hyper.tau
    t -= tau
    rising, scale = np.exp(t, out=t), hyper.height / -np.expm1(-2 * tau)
    rising *= scale
    falling = np.exp(-2 * tau) * scale**2 / rising
    odd = rising - falling
    rising += falling
    return odd, rising


def noise_shares(n: int) -> np.ndarray:
    """The diagonal that λ multiplies; the first datum is half of v(everyone) − v(nobody)."""
    return np.append(ENDS, np.ones(n - 1))


class Fitter:
    """Fits games that share a design; what the design alone decides is kept."""

    def __init__(self, signs: np.ndarray):
        self._few, self._most = (spread_out(len(signs), most) for most in (FEW, MOST))
        self._first = OddLikelihood(signs[self._few])
        more = len(self._most) > len(self._few)
        self._last = OddLikelihood(signs[self._most], self._first) if more else self._first

    def __call__(self, data: np.ndarray) -> Hyper:
        """Hyper-parameters for ``data [rows, R]``, every column a game with a scale of its own."""
        return descended((self._first, data[self._few]), (self._last, data[self._most]))


class OddLikelihood:
    """The likelihood of odd parts at ``signs [rows, n]``, the first row all ones.

    Its curvature is that of a few players, evenly spread: at the start all are alike but for the luck of the design.
    Where ``part`` of the design has told it, it is taken to grow with the rows: near enough for the length of steps.
    """

    noises = 1

    def __init__(self, signs: np.ndarray, part: OddLikelihood | None = None):
        self.signs, self.n, self._part = signs, signs.shape[1], part
        self._line = LINEAR / self.n * (signs @ signs.T)

    def at(self, x: np.ndarray, data: np.ndarray) -> Posterior:
        hyper, rows, signs = Hyper.of(x, self.n), len(self.signs), self.signs
        c, tau = hyper.relevance, hyper.tau
        odd, even = ratios(signs, signs, hyper)
        noise = hyper.noise * noise_shares(rows)
        M = self._line + odd
        M[np.diag_indices(rows)] += noise
        lower = cholesky(M)
        inverse = inverted(lower)
        value, G = profiled(lower, inverse, data)
        u = (((G * even) @ signs) * signs).sum(0)
        by_height = float(np.vdot(G, odd))
        gradient = np.concatenate([by_relevance(u, by_height, hyper), [by_height, np.diag(G) @ noise]])
        stretch = tau / np.tanh(tau)

        def directions() -> list[np.ndarray]:
            by_tau = even * ((signs * c) @ signs.T) - stretch * odd
            return [inverse @ by_tau, inverse @ odd, inverse * noise]

        return Posterior(value, gradient, directions)

    @property
    def curvature(self) -> float:
        return self._curvature

    @cached_property
    def _curvature(self) -> float:
        if self._part is not None:
            return self._part.curvature * len(self.signs) / len(self._part.signs)
        x = Prior(self.n, self.noises).centre
        hyper, signs = Hyper.of(x, self.n), self.signs
        odd, even = ratios(signs, signs, hyper)
        M = self._line + odd
        M[np.diag_indices(len(M))] += hyper.noise * noise_shares(len(M))
        inverse, found = inverted(cholesky(M)), []
        mean = inverse @ (even * (signs @ signs.T)) / self.n
        for i in spread_out(self.n, ASKED):
            one = inverse @ (even * np.outer(signs[:, i], signs[:, i])) - mean
            found.append(expected([hyper.relevance[i] * one])[0, 0])
        return float(np.mean(found))


@lru_cache(maxsize=64)
def gauss(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss–Legendre on −1 … 1."""
    return np.polynomial.legendre.leggauss(nodes)


def profiled(lower: np.ndarray, inverse: np.ndarray, data: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the log likelihood of ``data [rows, R]``, each column's scale profiled out, on average; and its ∂/∂M."""
    rows, games = data.shape
    alpha = inverse @ data
    q = np.maximum((data * alpha).sum(0), 1e-300)
    value = rows / 2 * np.log(q / rows).mean() + np.log(np.diag(lower)).sum()
    G = (alpha * (-rows / (2 * games * q))) @ alpha.T
    G += inverse / 2
    return float(value), G


def by_relevance(u: np.ndarray, by_height: float, hyper: Hyper) -> np.ndarray:
    """The gradient in log τ and in each δ, ``Float[1 + n]``, from that in each cᵢ at a fixed height over sinh τ."""
    c, tau = hyper.relevance, hyper.tau
    return np.concatenate([[u @ c - tau / np.tanh(tau) * by_height], u * c - c / tau * (u @ c)])


def cholesky(M: np.ndarray) -> np.ndarray:
    """The Cholesky factor; where rounding has made ``M`` indefinite, that of M with a little more noise."""
    try:
        return np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        return np.linalg.cholesky(M + 1e-9 * np.trace(M) / len(M) * np.eye(len(M)))


def inverted(lower: np.ndarray) -> np.ndarray:
    """The inverse of a matrix from its Cholesky factor."""
    from scipy.linalg import lapack

    half, fault = lapack.dpotri(lower.T, lower=0)  # pyright: ignore[reportAttributeAccessIssue]
    assert fault == 0, fault
    found = half + half.T  # the half that was not asked for holds the factor's zeros
    found[np.diag_indices(len(found))] /= 2
    return found


@dataclass(frozen=True, eq=False)
class Reading:
    """A process given data: values, their variances, and how well the data bear these out; what data, its kinds say.

    ``signs [rows, n]`` are where odd parts were asked, the first row all ones; further data may follow theirs.
    """

    signs: np.ndarray
    hyper: Hyper

    @abstractmethod
    def _covariance(self) -> np.ndarray:
        """M, that of the data with their noise, ``Float[data, data]``."""

    @abstractmethod
    def _readout(self) -> np.ndarray: ...

    @cached_property
    def readout(self) -> np.ndarray:
        """T, the covariance of the data with the Shapley values, ``Float[data, n]``."""
        return self._readout()

    @cached_property
    def lower(self) -> np.ndarray:
        """The Cholesky factor of M."""
        return cholesky(self._covariance())

    @property
    def height(self) -> float:
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
        """H = Tᵀ M⁻¹, ``Float[n, data]``: values = H · data."""
        return self._solved(self._half, transposed=True).T

    @cached_property
    def variances(self) -> np.ndarray:
        """Posterior variances of the values, ``Float[n]``, in units of a game's own scale."""
        prior = 4 * LINEAR / len(self.hyper.relevance) + self.height * _reach(np.tanh(self.hyper.relevance))
        return np.maximum(prior - np.square(self._half).sum(0), 0.0)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return inverted(self.lower)

    @property
    def _precisions(self) -> np.ndarray:
        """diag M⁻¹, ``Float[data]``: one over the variance of each datum given the others."""
        return np.diag(self._inverse)

    def evidence(self, data: np.ndarray) -> float:
        """Minus the log likelihood of ``data [data, 1]`` with its scale profiled out, up to a constant."""
        rows = len(data)
        q = np.square(self._solved(data)).sum()
        return float(rows / 2 * np.log(q / rows) + np.log(np.diag(self.lower)).sum())

    def spread(self, data: np.ndarray) -> np.ndarray:
        """How much larger than the process says its errors are, ``Float[R]``: a factor of all variances.

        The largest of three: the scale of the likelihood, q/rows; the mean squared error of each datum predicted from
        the others, over its variance; and that mean weighted by what a datum's error does to the values.
        """
        likely = np.square(self._solved(data)).mean(0)
        errors = np.square(self.each_left_out(data))[1:] * self._precisions[1:, None]
        weight = np.square(self.map[:, 1:]).sum(0) / self._precisions[1:]
        return np.maximum.reduce([likely, errors.mean(0), weight @ errors / weight.sum()])

    def each_left_out(self, data: np.ndarray) -> np.ndarray:
        """Each datum less what all others predict of it, ``Float[data, R]`` (Rasmussen & Williams 2006, eq. 5.12)."""
        return self._told(data) / self._precisions[:, None]

    def left_out(self, data: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Data less what all but ``rows`` predict of them, ``Float[rows, R]``."""
        return np.linalg.solve(self._inverse[np.ix_(rows, rows)], self._told(data)[rows])

    def _told(self, data: np.ndarray) -> np.ndarray:
        """M⁻¹ · data."""
        return self._solved(self._solved(data), transposed=True)


class Process(Reading):
    """The process given odd parts."""

    def _covariance(self) -> np.ndarray:
        M = covariance(self.signs, self.signs, self.hyper)
        M[np.diag_indices(len(M))] += self.hyper.noise * noise_shares(len(M))
        return M

    def _readout(self) -> np.ndarray:
        """T_ai = (20/n) s_ai + b′ wᵢ s_ai ∫₋₁¹ Π_{j≠i} (1 + u wⱼ s_aj) du, by Gauss–Legendre."""
        n = self.signs.shape[1]
        weighted = np.tanh(self.hyper.relevance) * self.signs
        total = np.zeros_like(weighted)
        for node, weight in zip(*gauss(min(n // 2 + 1, NODES)), strict=True):
            factors = 1 + node * weighted
            total += weight * factors.prod(1, keepdims=True) / factors  # Π is e^τ at most
        return 2 * LINEAR / n * self.signs + self.height * weighted * total


def _reach(w: np.ndarray) -> np.ndarray:
    """κᵢ = 4 wᵢ Σ_{k even} e_k(w without i)/(k + 1)², e_k being elementary symmetric polynomials."""
    n = len(w)
    polynomials = np.zeros((n, n))
    polynomials[:, 0] = 1.0
    for j in range(n):
        others = np.full((n, 1), w[j])
        others[j] = 0.0
        polynomials[:, 1:] += others * polynomials[:, :-1]
    k = np.arange(0, n, 2)
    return 4 * w * (polynomials[:, ::2] / np.square(k + 1.0)).sum(1)

"""How sure a figure is: intervals by bootstrap for anything, exact or nearly exact ones for shares."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from ..records.errors import InputError
from .weights import ratio

LEVEL_90 = 1.645
BLOCK = 2**18  # numbers per block of draws: what fits a core's cache is several times faster


def bootstrap(
    statistic: Callable[..., Any],
    *arrays: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    strata: np.ndarray | None = None,
) -> tuple[Any, Any, Any]:
    """A figure with its percentile bootstrap interval: ``(value, low, high)``.

    Parameters
    ----------
    statistic: ``statistic(*arrays)`` gives a number or an array of numbers. If it has an argument
        named ``weights`` it is called as ``statistic(*arrays, weights=w)`` with ``w`` ``Float64[b, N]``
        (how often each row was drawn, in b draws) and gives its figures with the leading axis b:
        the fast way, which all measures of this room know. Otherwise it is called once a draw
        on the rows themselves.
    arrays: arrays of N rows each, drawn together.
    strata: ``[N]``, rows drawn only among their own kind, so that each keeps its count.

    Draws where the figure is NaN are left out of the interval; it is NaN if all are. With few rows, or
    a share at 0 or 1, the interval is too narrow (:func:`wilson` is not).
    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    Raises :class:`InputError` without rows, or where the arrays disagree about N.
    """
    rows = _rows_of(arrays)
    if draws < 1 or not 0 < level < 1:
        raise InputError(f"a bootstrap needs draws ≥ 1 and 0 < level < 1, not {draws} and {level}")
    if strata is not None and len(strata) != rows:
        raise InputError(f"{len(strata)} strata for {rows} rows")
    weighted = "weights" in inspect.signature(statistic).parameters
    found = []
    for picked in _picks(rows, draws, seed, strata):
        if weighted:
            found.append(np.asarray(statistic(*arrays, weights=_counts(picked, rows)), dtype=np.float64))
        else:
            found.append(np.array([statistic(*(array[draw] for array in arrays)) for draw in picked], dtype=np.float64))
    low, high = percentiles(np.concatenate(found), ((1 - level) / 2, (1 + level) / 2))
    value = np.asarray(statistic(*arrays), dtype=np.float64)
    if value.ndim == 0:
        return float(value), float(low), float(high)
    return value, low, high


def percentiles(samples: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    """Quantiles along the first axis over what is not NaN (linear between neighbours): ``[len(at), ...]``."""
    ordered = np.sort(samples, axis=0)  # NaN goes last
    last = (~np.isnan(samples)).sum(axis=0) - 1
    found = []
    for share in at:
        place = share * np.maximum(last, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(last, 0))
        left, right = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (below, above))
        found.append(left + (right - left) * (place - below))
    return np.stack(found)


def wilson(successes: Any, n: Any, level: float = 0.95) -> tuple[Any, Any]:
    """The score interval of a share, ``successes`` of ``n``; good down to small n, never outside [0, 1].

    Numbers or arrays; NaN for n = 0. Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    successes, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    share = ratio(successes, n)
    centre = ratio(successes + z**2 / 2, n + z**2)
    with np.errstate(invalid="ignore"):
        half = z * np.sqrt(share * (1 - share) * n + z**2 / 4) / (n + z**2)
    # At the ends the interval reaches the end itself; rounding must not stop it short.
    low = np.where(successes == 0, 0.0 * share, centre - half)
    high = np.where(successes == n, 0.0 * share + 1.0, centre + half)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


@lru_cache(maxsize=4096)
def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share: it covers the truth at least as often as ``level``. Wider than Wilson's.

    Each end is where the binomial tail has (1 − level)/2, found by bisection. (NaN, NaN) for n = 0.
    Source: Clopper & Pearson 1934.
    """
    if not 0 <= successes <= n:
        raise InputError(f"{successes} successes among {n} trials")
    if n == 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _share_with_upper_tail(successes, n, tail)
    high = 1.0 if successes == n else 1.0 - _share_with_upper_tail(n - successes, n, tail)
    return low, high


def difference_of_shares(
    first: tuple[int, int], second: tuple[int, int], level: float = 0.95
) -> tuple[float, float, float]:
    """How much larger one share is than another, each given as (successes, n): ``(value, low, high)``.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    (a, n), (b, m) = first, second
    p, q = (k / of if of else math.nan for k, of in (first, second))
    (p_low, p_high), (q_low, q_high) = wilson(a, n, level), wilson(b, m, level)
    value = p - q
    return value, value - math.hypot(p - p_low, q_high - q), value + math.hypot(p_high - p, q - q_low)


def dice(hits: Any, sizes: Any, level: float = 0.95) -> tuple[Any, Any]:
    """The interval of an overlap 2·hits / sizes (an F1: hits among truths + guesses); NaN for nothing.

    It grows with the share hits / (sizes − hits) of all rows that are in either, which has a score interval.
    """
    hits, sizes = np.asarray(hits, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    low, high = (2 * np.asarray(end) / (1 + np.asarray(end)) for end in wilson(hits, sizes - hits, level))
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


def area(value: float, positives: int, others: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of an area under the ROC curve of so many positive and other rows; NaN without one of them.

    Unlike a bootstrap it has a width where every positive row stands above every other one.
    Source: Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part
    2", method 5: Hanley & McNeil's variance at the ends themselves, both counts replaced by their mean in its terms.
    """
    if not positives or not others or not math.isfinite(value):
        return math.nan, math.nan
    z, more = NormalDist().inv_cdf((1 + level) / 2), (positives + others) / 2 - 1

    def outside(end: float) -> bool:
        terms = 1 + more * (1 - end) / (2 - end) + more * end / (1 + end)
        return (value - end) ** 2 > z**2 * end * (1 - end) * terms / (positives * others)

    def edge(inner: float, outer: float) -> float:
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return (inner + outer) / 2

    return (0.0 if value == 0 else edge(value, 0.0)), (1.0 if value == 1 else edge(value, 1.0))


def mean_of_figures(
    values: np.ndarray, lows: np.ndarray, highs: np.ndarray, weights: np.ndarray
) -> tuple[float, float, float]:
    """The weighted mean of independent figures with their intervals ``[K]``, and its own: ``(value, low, high)``.

    Source: Zou & Donner 2008, "Construction of confidence limits about effect measures" (MOVER).
    """
    share = weights / weights.sum()
    value = float(share @ values)
    low, high = (math.sqrt(float(np.square(share * (values - ends)).sum())) for ends in (lows, highs))
    return value, value - low, value + high


def difference_of_means(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """How much larger the mean of one sample ``[n]`` is than that of another: ``(value, low, high)``.

    NaN bounds for a sample of fewer than two. Source: Welch 1947 (unequal variances); see :func:`student`.
    """
    value = float(np.mean(first) - np.mean(second)) if len(first) and len(second) else math.nan
    if min(len(first), len(second)) < 2:
        return value, math.nan, math.nan
    one, two = (float(np.var(sample, ddof=1)) / len(sample) for sample in (first, second))
    error = one + two
    if error == 0:
        return value, value, value
    freedom = error**2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    half = student(level, freedom) * math.sqrt(error)
    return value, value - half, value + half


def student(level: float, freedom: float) -> float:
    """The quantile of Student's t that a symmetric interval of this level needs.

    By its expansion around the normal one (Abramowitz & Stegun 26.7.5): right to 5 % for one degree of freedom, to
    0.5 % for two or more.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def widening(freedom: float) -> float:
    """What a standard error with few degrees of freedom is multiplied by, so that ± 1.645 of it covers 90 %."""
    return student(0.9, freedom) / NormalDist().inv_cdf(0.95)


def order_is_open(values: np.ndarray, errors: np.ndarray, first: int) -> np.ndarray:
    """Whether the ``first`` largest |values| along axis 1 could stand in another order, or give way to the next.

    Neighbours in the order of |value| are told apart when they lie further apart than the 90 % interval of their
    difference, as if their errors were independent. What is NaN takes no part. The axis is dropped from the result.
    """
    size = np.where(np.isfinite(values), np.abs(values), -1.0)
    order = np.take(np.argsort(-size, axis=1, kind="stable"), range(min(first + 1, size.shape[1])), 1)
    ranked = np.moveaxis(np.take_along_axis(size, order, 1), 1, -1)
    variance = np.take_along_axis(np.square(np.where(size < 0, 0.0, errors)), order, 1)
    variance = np.moveaxis(variance, 1, -1)
    near = ranked[..., :-1] - ranked[..., 1:] < LEVEL_90 * np.sqrt(variance[..., :-1] + variance[..., 1:])
    return np.asarray((near & (ranked[..., 1:] >= 0)).any(-1))


def _share_with_upper_tail(successes: int, n: int, tail: float) -> float:
    """The p for which P(X ≥ successes) = tail, X binomial(n, p).

    By Newton's steps, halving where one leads out of what is left: dP/dp = k/p · P(X = k) at k = successes. For a tail
    below one half p is below k/n, and of the terms beyond k only those within a dozen standard deviations count.
    """
    share = successes / n
    last = min(n, successes + 30 + math.ceil(12 * math.sqrt(n * share * (1 - share))))
    k, logs = np.arange(successes, last + 1), _log_factorials(n)
    choose = logs[n] - logs[k] - logs[n - k]
    low, high = 0.0, 1.0 if successes == n else share
    p = wilson(successes, n, 1 - 2 * tail)[0]
    for _ in range(100):
        p = p if low < p < high else (low + high) / 2
        terms = np.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))
        found, slope = float(terms.sum()), float(terms[0]) * successes / p
        low, high = (p, high) if found < tail else (low, p)
        step = (found - tail) / slope if slope > 0 else math.inf
        if abs(step) <= 1e-15 * p or low == high:
            break
        p -= step
    return p


@lru_cache(maxsize=64)
def _log_factorials(n: int) -> np.ndarray:
    """ln 0!, ln 1!, … ln n!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _rows_of(arrays: tuple[np.ndarray, ...]) -> int:
    sizes = {len(array) for array in arrays}
    if len(sizes) != 1 or sizes == {0}:
        raise InputError(f"a bootstrap needs arrays with the same number of rows, at least one, not {sorted(sizes)}")
    return sizes.pop()


def _picks(rows: int, draws: int, seed: int, strata: np.ndarray | None):
    """Blocks ``Int[b, N]`` of drawn row numbers; the same draws whatever the size of a block."""
    kinds = np.zeros(rows, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1].reshape(-1)
    order = np.argsort(kinds, kind="stable")
    sizes = np.bincount(kinds)
    size, start = np.repeat(sizes, sizes), np.repeat(np.cumsum(sizes) - sizes, sizes)
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // rows)
    for done in range(0, draws, step):
        chance = generator.random((min(step, draws - done), rows))
        yield order[start + (chance * size).astype(np.int64)]


def _counts(picked: np.ndarray, rows: int) -> np.ndarray:
    offset = picked + rows * np.arange(len(picked))[:, None]
    return np.bincount(offset.reshape(-1), minlength=picked.size).reshape(picked.shape).astype(np.float64)

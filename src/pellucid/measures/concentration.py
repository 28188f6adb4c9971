"""How concentrated an explanation is: does it speak of few players or of all of them a little?

Every function takes ``[N, n]`` (NaN or infinite: an absent player) and returns ``Float64[N]``; a row
without players or whose values are all zero has no concentration and gives NaN. A short explanation
is not a true one: an answer that names one player at random scores best on each of these.
"""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError


def gini(values: np.ndarray) -> np.ndarray:
    """The Gini index of the magnitudes: 0 when all are equal, 1 − 1/n when one player holds everything.

    Source: Hurley & Rickard 2009, "Comparing Measures of Sparsity", equation for the Gini index:
    1 − 2 Σₖ (|a|₍ₖ₎ / Σ|a|) · (n − k + ½) / n, magnitudes ascending.
    """
    shares, count = _shares(values)
    shares = np.sort(shares, axis=1)  # absent players are NaN and go last
    k = np.arange(1, shares.shape[1] + 1)
    n = np.maximum(count, 1)[:, None]
    lorenz = np.where(np.isnan(shares), 0.0, shares * (n - k + 0.5) / n).sum(axis=1)
    return _where_defined(1 - 2 * lorenz, shares)


def entropy(values: np.ndarray) -> np.ndarray:
    """The entropy in nats of |a| / Σ|a|: 0 when one player holds everything, log n when all are equal.

    Source: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model Explanations", definition 3
    (complexity).
    """
    shares, _ = _shares(values)
    positive = np.where(shares > 0, shares, 1.0)  # x log x → 0 at zero; absent players add nothing
    return _where_defined(np.abs((positive * np.log(positive)).sum(axis=1)), shares)


def effective_count(values: np.ndarray, mass: float = 0.9) -> np.ndarray:
    """The smallest number of players that together hold ``mass`` of Σ|a|."""
    if not 0 < mass <= 1:
        raise InputError(f"the mass to be held must be in (0, 1], not {mass}")
    shares, _ = _shares(values)
    falling = -np.sort(-np.nan_to_num(shares), axis=1)
    # A sum that misses the mass by rounding alone has reached it.
    short = np.cumsum(falling, axis=1) < mass - 1e-12
    return _where_defined(np.minimum(short.sum(axis=1) + 1.0, shares.shape[1]), shares)


def _shares(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|a| / Σ|a| as ``[N, n]``, NaN for absent players and in rows without any mass; and the players present."""
    sizes = np.abs(np.atleast_2d(np.asarray(values, dtype=np.float64)))
    sizes = np.where(np.isfinite(sizes), sizes, np.nan)
    largest = np.max(np.nan_to_num(sizes), axis=1, keepdims=True, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = np.where(largest > 0, sizes / largest, np.nan)  # so that the sum cannot overflow
        shares = sizes / np.nansum(sizes, axis=1, keepdims=True)
    return shares, (~np.isnan(shares)).sum(axis=1)


def _where_defined(figure: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(shares).all(axis=1), np.nan, figure)

"""Which of several shares are the largest, found with few trials: bounds by Kullback–Leibler divergence.

Source: Kaufmann & Kalyanakrishnan 2013, "Information complexity in bandit subset selection" (KL-LUCB).
"""

from __future__ import annotations

import numpy as np

HALVINGS = 10


def exploration_rate(step: int, arms: np.ndarray | int, delta: float) -> np.ndarray:
    """β(t, δ) = ln(k·K·t^α/δ) + ln ln(k·K·t^α/δ) with α = 1.1, k = 405.5 (theorem 2): bounds at this rate hold for
    all K arms and all steps together with probability 1 − δ."""
    inner = np.log(405.5 * np.maximum(arms, 1) * step**1.1 / delta)
    return inner + np.log(inner)


def kl_bounds(hits: np.ndarray, trials: np.ndarray, rate: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest q with trials · KL(hits/trials, q) ≤ rate, element by element.

    (0, 1) where nothing was tried yet. Both are found by bisection, the lower as the upper of the misses.
    """
    share, room = _shares(hits, trials, rate)
    upper = _furthest(np.stack([share, 1 - share]), room)
    return 1 - upper[1], upper[0]


def kl_bound(hits: np.ndarray, trials: np.ndarray, rate: np.ndarray | float, above: np.ndarray) -> np.ndarray:
    """One of the two of :func:`kl_bounds`: the largest where ``above`` says so, else the smallest."""
    share, room = _shares(hits, trials, rate)
    bound = _furthest(np.where(above, share, 1 - share), room)
    return np.where(above, bound, 1 - bound)


def _shares(hits: np.ndarray, trials: np.ndarray, rate: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """The shares of hits, and the divergence that each may lie away."""
    hits, trials, rate = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (hits, trials, rate)))
    share = np.divide(hits, trials, out=np.full(hits.shape, 0.5), where=trials > 0)
    return share, np.divide(rate, trials, out=np.full(hits.shape, np.inf), where=trials > 0)


def _furthest(share: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The largest q with KL(share, q) ≤ room; where it is not met, its outer end, so that no interval is too narrow."""
    other = 1 - share
    open_ = (share > 0) & (share < 1)
    inside = np.where(open_, share, 0.5)
    entropy = np.where(open_, inside * np.log(inside) + (1 - inside) * np.log1p(-inside), 0.0)
    low, high = share.copy(), np.minimum(1.0, share + np.sqrt(np.minimum(room, 1.0) / 2))  # Pinsker's inequality
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(HALVINGS):
            q = (low + high) / 2
            within = entropy - share * np.log(q) - other * np.log1p(-q) <= room  # NaN, so False, at a share of 1
            np.copyto(low, q, where=within)
            np.copyto(high, q, where=~within)
    return np.where(np.isinf(room), 1.0, high)

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
    hits, trials, rate = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (hits, trials, rate)))
    share = np.divide(hits, trials, out=np.full(hits.shape, 0.5), where=trials > 0)
    room = np.divide(rate, trials, out=np.full(hits.shape, np.inf), where=trials > 0)
    both = np.stack([share, 1 - share])
    inside = np.where((both > 0) & (both < 1), both, 0.5)
    entropy = np.where((both > 0) & (both < 1), inside * np.log(inside) + (1 - inside) * np.log1p(-inside), 0.0)
    low, high = both, np.minimum(1.0, both + np.sqrt(np.minimum(room, 1.0) / 2))  # Pinsker's inequality
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(HALVINGS):
            q = (low + high) / 2
            distance = entropy - both * np.log(q) - np.where(both < 1, (1 - both) * np.log1p(-q), 0.0)
            within = np.where(both > 0, distance, -np.log1p(-q)) <= room
            low, high = np.where(within, q, low), np.where(within, high, q)
    upper = np.where(np.isinf(room), 1.0, high)  # the outer end, so that the interval is never too narrow
    return 1 - upper[1], upper[0]

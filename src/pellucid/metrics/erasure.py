"""What comprehensiveness and sufficiency share: the players named first, at several shares of all."""

from __future__ import annotations

import numpy as np

from .metric import Case

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the players, as in DeYoung et al. 2020; each is rounded up to whole players, so at least one."""


def named_first(case: Case) -> np.ndarray:
    """``Bool[Q, shares, n]``: the players with the largest values, at each share; of equal ones the first."""
    n = case.session.n
    rank = np.argsort(np.argsort(-case.values, axis=1, kind="stable"), axis=1)
    sizes = np.ceil(np.array(SHARES) * n - 1e-9).astype(int)  # 0.1 · 30 is a little more than 3
    return rank[:, None, :] < sizes[:, None]

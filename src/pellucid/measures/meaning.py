"""What a model's outputs mean, told from their sizes alone: probabilities, their logarithms, or any numbers."""

from __future__ import annotations

import numpy as np

NEAR_ONE = 1e-3
"""How far a row of probabilities may miss the sum of 1."""


def meaning(outputs: np.ndarray) -> str:
    """How ``outputs`` ``[N, K]`` read, one of :data:`pellucid.records.preflight.MEANINGS`.

    A few rows can look like what they are not: one number of a regression may lie in [0, 1] by chance.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    if not np.isfinite(outputs).all():
        return "not_finite"
    single = outputs.shape[1] == 1
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    if within and single:
        return "probability"
    if within:
        return "probabilities" if np.allclose(outputs.sum(1), 1, rtol=0, atol=NEAR_ONE) else "independent"
    if not single and (outputs <= 0).all() and np.allclose(np.exp(outputs).sum(1), 1, rtol=0, atol=NEAR_ONE):
        return "log_probabilities"
    return "number" if single else "scores"

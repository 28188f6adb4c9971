"""Shap's link functions: what is explained is the linked output."""

from __future__ import annotations

import numpy as np

from ...records.errors import InputError


def identity(x: np.ndarray) -> np.ndarray:
    """The output itself."""
    return x


def logit(outputs: np.ndarray) -> np.ndarray:
    """log(p / (1 − p)). Raises :class:`InputError` for probabilities of 0 and 1, whose log-odds are infinite."""
    p = np.asarray(outputs, dtype=np.float64)
    if not ((p > 0) & (p < 1)).all():
        raise InputError(
            "the log-odds of an output that is not between 0 and 1 do not exist",
            why="they are averaged over the background, and one such row would outweigh all others",
            fix="explain the probabilities: leave link out",
        )
    return np.log(p) - np.log1p(-p)

"""Shap's link functions: what is explained is the linked output."""

from __future__ import annotations

import numpy as np


def identity(x: np.ndarray) -> np.ndarray:
    """The output itself."""
    return x


def logit(x: np.ndarray) -> np.ndarray:
    """The log-odds of a probability."""
    return np.log(x / (1 - x))

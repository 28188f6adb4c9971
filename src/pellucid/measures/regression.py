"""How far predicted numbers are from true ones. Rows may carry weights (see ``weights.py``)."""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError
from .weights import Figures, mean, ratio, weights_for


def mae(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The mean absolute error, in the target's unit."""
    truth, predicted = _pair(truth, predicted)
    return mean(np.abs(predicted - truth), weights)


def rmse(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The root of the mean squared error, in the target's unit."""
    truth, predicted = _pair(truth, predicted)
    return np.sqrt(mean((predicted - truth) ** 2, weights))


def r2(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)². Zero for always answering the mean, NaN for a constant target."""
    truth, predicted = _pair(truth, predicted)
    weights = weights_for(len(truth), weights)
    if not len(truth):
        return np.full(weights.shape[:-1], np.nan)[()]
    centred = truth - truth.mean()
    squares = weights @ centred**2
    spread = squares - ratio((weights @ centred) ** 2, weights.sum(axis=-1))
    # What is left of a constant target is rounding, a 1e-16th of the squares.
    spread = np.where(spread > 1e-12 * squares, spread, 0.0)
    return 1.0 - ratio(weights @ (predicted - truth) ** 2, spread)


def _pair(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise InputError(f"true and predicted numbers must be [N] alike, not {truth.shape} and {predicted.shape}")
    return truth, predicted

"""Whether stated confidence can be read as a chance: of the rows said to be 80 % sure, are 80 % right?

Rows are put in bins of equal mass (as many rows in each), which leaves no bin empty. All functions
take the top-label view: ``confidence [N]`` of the answer given, and ``right [N]`` whether it was right.
"""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError
from .weights import Figures, ratio, sums_by_group, weights_for

BINS = 15


def equal_mass_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each row, ``Int[N]`` numbered from 0 by rising confidence.

    Equal confidences share a bin, so there may be fewer than ``bins``.
    """
    if bins < 1:
        raise InputError(f"calibration needs at least one bin, not {bins}")
    confidence = np.asarray(confidence, dtype=np.float64)
    if not len(confidence):
        return np.zeros(0, dtype=np.int64)
    starts = len(confidence) * np.arange(1, bins) // bins
    edges = np.unique(np.sort(confidence)[starts])
    return np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)[1].reshape(-1)


def reliability_curve(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """``Float64[bins, 2]`` (mean confidence, share right) by rising confidence, and the rows in each, ``Int[bins]``."""
    confidence, right = _pair(confidence, right)
    place = equal_mass_bins(confidence, bins)
    rows = np.bincount(place)
    points = [np.bincount(place, weights=values) / rows for values in (confidence, right)]
    return np.stack(points, axis=1), rows


def expected_calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS, weights: np.ndarray | None = None
) -> Figures:
    """ECE: the mean distance over rows between a bin's confidence and its share of right answers.

    Bins are those of the unweighted rows. The figure is above zero even for a perfectly calibrated
    model, by the chance within bins; compare :func:`ece_if_calibrated`.
    Source: Naeini et al. 2015; equal mass: Nixon et al. 2019 (arXiv 1904.01685).
    """
    distance, rows = _distances(confidence, right, bins, weights)
    return ratio((distance * rows).sum(axis=-1), rows.sum(axis=-1))


def maximum_calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS, weights: np.ndarray | None = None
) -> Figures:
    """The largest distance of any bin. Noisy: with few rows per bin it is large for any model."""
    distance, rows = _distances(confidence, right, bins, weights)
    return np.where(rows.sum(axis=-1) > 0, np.nan_to_num(distance).max(axis=-1, initial=0.0), np.nan)[()]


def ece_if_calibrated(confidence: np.ndarray, bins: int = BINS, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """``Float64[draws]``: the ECE that these confidences would show if every one of them were true."""
    confidence = np.asarray(confidence, dtype=np.float64)
    place = equal_mass_bins(confidence, bins)
    generator = np.random.default_rng(seed)
    found = np.empty(draws)
    for draw in range(draws):
        surplus = confidence - (generator.random(len(confidence)) < confidence)
        found[draw] = np.abs(np.bincount(place, weights=surplus)).sum()
    return found / max(len(confidence), 1)


def _distances(
    confidence: np.ndarray, right: np.ndarray, bins: int, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Per bin ``[..., bins]``: the distance (NaN without rows) and the rows."""
    confidence, right = _pair(confidence, right)
    weights = weights_for(len(confidence), weights)
    place = equal_mass_bins(confidence, bins)
    rows = sums_by_group(weights, place)[1]
    surplus = sums_by_group(weights * (confidence - right), place)[1]
    return np.nan_to_num(np.abs(ratio(surplus, rows))), rows


def _pair(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise InputError(f"confidence and right must be [N] alike, not {confidence.shape} and {right.shape}")
    return confidence, right

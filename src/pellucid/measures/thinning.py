"""Fewer points for the same line: a curve of thousands of points is drawn with two hundred."""

from __future__ import annotations

import numpy as np


def thinned(curve: np.ndarray, points: int = 200) -> np.ndarray:
    """At most ``points`` rows of ``curve [M, 2]``, both ends kept, evenly spaced along the line's length.

    Length is measured in units of each axis' range, so that a steep part keeps its points. Rows that are
    not finite are left out.
    """
    curve = np.asarray(curve, dtype=np.float64)
    curve = curve[np.isfinite(curve).all(axis=1)]
    if len(curve) <= points:
        return curve
    span = np.ptp(curve, axis=0)
    steps = np.abs(np.diff(curve, axis=0)) / np.where(span > 0, span, 1.0)
    length = np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
    places = np.searchsorted(length, np.linspace(0.0, length[-1], points - 1))
    return curve[np.unique(np.append(places, len(curve) - 1))]

"""Rows that count more than once: the shared footing of all measures that a bootstrap resamples.

A measure takes ``weights`` of shape ``[..., N]`` (how often each of N rows counts; None: once) and
returns its figures with the same leading axes. With ``weights`` of ``[draws, N]`` one call
measures every bootstrap draw, which is a hundred times faster than drawing the rows themselves.
"""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError

Figures = np.ndarray | np.float64
"""One figure without weights or with ``[N]``; an array with the leading axes of the weights otherwise."""


def weights_for(rows: int, weights: np.ndarray | None) -> np.ndarray:
    """The weights as ``Float64[..., N]``. Raises :class:`InputError` where their last axis is not N."""
    if weights is None:
        return np.ones(rows)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim == 0 or weights.shape[-1] != rows:
        raise InputError(f"weights of shape {weights.shape} for {rows} rows", fix="give one weight per row, [..., N]")
    return weights


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The mean of per-row ``values [N]``; NaN without rows."""
    values = np.asarray(values, dtype=np.float64)
    weights = weights_for(len(values), weights)
    return ratio(weights @ values, weights.sum(axis=-1))


def ratio(top: Figures, bottom: Figures) -> np.ndarray:
    """``top / bottom``, NaN where the bottom is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom == 0, np.nan, top / bottom)[()]


def sums_by_group(weights: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups that occur (ascending), and the weight in each: ``[..., groups]``."""
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    if not len(names):
        return names, np.zeros((*weights.shape[:-1], 0))
    return names, np.add.reduceat(weights[..., order], starts, axis=-1)

"""What numbers say of a layer's units over rows: which are duplicates, where rows lie in a plane, how sizes run on."""

from __future__ import annotations

import numpy as np

ALIKE = 0.999
"""Units whose values over the rows correlate so strongly are one unit twice."""
LEAST = 8
"""Rows below which a correlation says nothing."""


def twins(*values: np.ndarray) -> np.ndarray:
    """For each unit the first one before it that it duplicates, ``Int[U]``; −1 where there is none.

    ``values`` are ``Float[N, U]``, several things known of each unit at each row; all must correlate, with either sign
    of the scale but the same one. Constant units duplicate nobody. With fewer than 8 rows nothing is told.
    """
    found = np.full(values[0].shape[1], -1)
    if len(values[0]) < LEAST:
        return found
    alike = np.ones((len(found), len(found)), dtype=bool)
    for each in values:
        alike &= _correlations(each) >= ALIKE
    for unit in range(1, len(found)):
        before = np.flatnonzero(alike[unit, :unit])
        if len(before):
            found[unit] = before[0]
    return found


def _correlations(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(0)
    sizes = np.linalg.norm(centred, axis=0)
    varied = sizes > 1e-9 * np.maximum(np.abs(values).max(0), 1e-12) * np.sqrt(len(values))
    unit = np.divide(centred, sizes, out=np.zeros_like(centred), where=varied)
    return unit.T @ unit


def plane(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``Float[N, U]`` in their first two principal components ``Float[N, 2]``, with the shares of variance.

    Signs are fixed: of each component the largest entry is positive. Missing components are 0.
    """
    centred = values - values.mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    count = min(2, len(sizes))
    signs = np.sign(right[np.arange(count), np.abs(right[:count]).argmax(1)])
    found, shares = np.zeros((len(values), 2)), np.zeros(2)
    found[:, :count] = left[:, :count] * sizes[:count] * np.where(signs == 0, 1, signs)
    total = float((sizes**2).sum())
    shares[:count] = sizes[:count] ** 2 / total if total else 0
    return found, shares


def alignment(one: np.ndarray, other: np.ndarray) -> float:
    """The mean cosine between rows of two arrays ``Float[N, D]``; NaN where all are zero."""
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    known = sizes > 0
    return float(((one * other).sum(1)[known] / sizes[known]).mean()) if known.any() else float("nan")


def trend(sizes: np.ndarray) -> float:
    """By what factor positive sizes grow from one entry to the next, on average (least squares of their logs)."""
    known = sizes > 0
    if known.sum() < 2:
        return float("nan")
    slope = np.polyfit(np.flatnonzero(known), np.log(sizes[known]), 1)[0]
    return float(np.exp(slope))

"""How strongly two columns hang together, for numbers and categories in any mixture: pure array functions."""

from __future__ import annotations

import math

import numpy as np


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of ``Float64[N]`` and ``Float64[N]``; NaN when either is constant."""
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(np.clip(a @ b / scale, -1, 1)) if scale > 0 else math.nan


def cramers_v(first: np.ndarray, second: np.ndarray) -> float:
    """Cramér's V of codes ``Int64[N]`` and ``Int64[N]`` with Bergsma's correction (2013); NaN when either is constant.

    The correction takes away what chance alone gives to columns with many categories.
    """
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), 1)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.shape
    n = table.sum()
    if min(rows, columns) < 2 or n < 2:
        return math.nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float(((table - expected) ** 2 / expected).sum() / n)
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    fewest = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return math.sqrt(min(1.0, phi / fewest)) if fewest > 0 else math.nan


def correlation_ratio(codes: np.ndarray, numbers: np.ndarray) -> float:
    """The correlation ratio η of numbers ``Float64[N]`` by group ``Int64[N]``, with Kelley's correction (1935).

    NaN when the numbers are constant, there is one group, or as many groups as rows.
    """
    _, codes = np.unique(codes, return_inverse=True)
    counts = np.bincount(codes)
    n, groups = len(numbers), len(counts)
    centered = numbers - numbers.mean()
    total = float(centered @ centered)
    if groups < 2 or groups >= n or total <= 0:
        return math.nan
    means = np.bincount(codes, weights=centered) / counts
    within = total - float(counts @ means**2)
    return math.sqrt(min(1.0, max(0.0, 1 - within / total * (n - 1) / (n - groups))))


def separation(numbers: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve of one column alone, ``max(AUC, 1 - AUC)``, ties halved; NaN for one class."""
    _, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    yes = int(positive.sum())
    no = len(positive) - yes
    if yes == 0 or no == 0:
        return math.nan
    area = (float(ranks[codes][positive].sum()) - yes * (yes + 1) / 2) / (yes * no)
    return max(area, 1 - area)

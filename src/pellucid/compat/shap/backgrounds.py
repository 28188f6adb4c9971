"""Fewer background rows: a seeded draw, and the means of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...problem.removal import MOST_ROWS
from ...records.errors import InputError
from ..asked import counted, numbers

CLOSE = 0.01
"""A cluster's share among the rows that stand for it may miss its share of the data by this much."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Centres of clusters ``data [k, n]`` and what share of the rows each stands for."""

    data: np.ndarray
    weights: np.ndarray
    group_names: tuple[str, ...] = ()

    def rows(self) -> np.ndarray:
        """The centres repeated by their weights: as few rows as give every share to within 1 % (at most 100)."""
        tried = ((total, _apportioned(self.weights, total)) for total in range(len(self.data), MOST_ROWS + 1))
        close = (counts for total, counts in tried if np.abs(counts / total - self.weights).max() <= CLOSE)
        return np.repeat(self.data, next(close, _apportioned(self.weights, MOST_ROWS)), axis=0)


def _apportioned(weights: np.ndarray, total: int) -> np.ndarray:
    """``total`` seats by the largest remainder."""
    exact = weights * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts


def kmeans(X: Any, k: int, round_values: bool = True) -> Summary:
    """``k`` cluster means weighted by their sizes; ``round_values`` moves each number to the nearest in its column."""
    from sklearn.cluster import KMeans

    names = tuple(map(str, getattr(X, "columns", ())))
    rows = numbers(X, "rows")
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise InputError("these rows have no cluster means", fix="give rows × columns, a finite number in every cell")
    if counted(k, "k") > len(rows):
        raise InputError(f"{k} cluster means of {len(rows)} rows", fix=f"k: at most {len(rows)}")
    found = KMeans(n_clusters=k, random_state=0).fit(rows)
    centres = np.array(found.cluster_centers_)
    if round_values:
        for column in range(rows.shape[1]):
            nearest = np.abs(rows[:, column][:, None] - centres[:, column]).argmin(0)
            centres[:, column] = rows[nearest, column]
    return Summary(centres, np.bincount(np.asarray(found.labels_), minlength=k) / len(rows), names)


def sample(X: Any, nsamples: int = 100, random_state: int = 0) -> Any:
    """Rows drawn without replacement, the same at every call; all of them where there are no more."""
    if not hasattr(X, "__len__"):
        raise InputError(f"a {type(X).__name__} is not rows", fix="give an array or a DataFrame")
    if counted(nsamples, "nsamples") >= len(X):
        return X
    kept = np.random.default_rng(random_state).choice(len(X), nsamples, replace=False)
    return X.iloc[kept] if hasattr(X, "iloc") else X[kept]

"""Dividing rows into train, validation and test: reproducible, stratified, and never through a group.

The order in which rows are dealt comes from the raw output of PCG64, whose stream numpy keeps
fixed for good; so one seed gives one split under every version of every library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..records.errors import InputError, shorten

MOST_BINS = 10
ROWS_PER_BIN = 10


def split_rows(
    n: int,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    labels: np.ndarray | None = None,
    task: str | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Which split each of ``n`` rows belongs to: ``Int8[n]``, 0 train, 1 validation, 2 test.

    Rows are dealt separately for each class (for a regression: for each of at most ten quantile
    bins of the label), each share exact to rounding. With ``groups`` whole groups are dealt, the
    largest first, each to the split that lacks most; a group counts for its commonest class.

    Raises InputError for fractions that are no three shares of one.
    """
    shares = checked_fractions(fractions)
    strata = _strata(n, labels, task)
    order = np.random.PCG64(seed).random_raw(n)
    split = np.zeros(n, dtype=np.int8)
    if groups is not None:
        return _deal_groups(np.asarray(groups), strata, order, shares)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        rows = rows[np.argsort(order[rows], kind="stable")]
        split[rows] = np.repeat(np.arange(3, dtype=np.int8), quotas(len(rows), shares))
    return split


def checked_fractions(fractions: Sequence[float]) -> np.ndarray:
    """Three shares as ``Float64[3]``; InputError when they are no shares of one."""
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise InputError(
            f"split={shorten(fractions)} is not three shares that add up to 1",
            fix="give the shares of train, validation and test, e.g. split=(0.6, 0.2, 0.2)",
        )
    if shares[0] == 0:
        raise InputError("the train split would be empty", fix="give train a share above 0")
    return shares


def checked_groups(values: np.ndarray, rows: int) -> np.ndarray:
    """One group per row as ``Str[N]``. Raises InputError when the number differs."""
    if values.shape != (rows,):
        raise InputError(f"groups= has shape {values.shape} for {rows} rows", fix="give one group per row")
    return np.array([str(value) for value in values])


def quotas(n: int, shares: np.ndarray) -> np.ndarray:
    """``n`` rows in whole numbers by largest remainder, ``Int64[3]``; ties go to the earlier split."""
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.argsort(-(exact - counts), kind="stable")[: n - int(counts.sum())]
    counts[rest] += 1
    return counts


def _strata(n: int, labels: np.ndarray | None, task: str | None) -> np.ndarray:
    if labels is None:
        return np.zeros(n, dtype=np.int64)
    if task != "regression":
        return np.unique(labels, return_inverse=True)[1]
    bins = max(1, min(MOST_BINS, n // ROWS_PER_BIN))
    edges = np.quantile(labels, np.arange(1, bins) / bins)
    return np.searchsorted(edges, labels, side="right")


def _deal_groups(groups: np.ndarray, strata: np.ndarray, order: np.ndarray, shares: np.ndarray) -> np.ndarray:
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    sizes = np.bincount(member)
    votes = np.zeros((len(sizes), int(strata.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(votes, (member, strata), 1)
    home = votes.argmax(axis=1)
    part = np.zeros(len(sizes), dtype=np.int8)
    for stratum in np.unique(home):
        mine = np.flatnonzero(home == stratum)
        mine = mine[np.lexsort((order[first[mine]], -sizes[mine]))]
        lacking = quotas(int(sizes[mine].sum()), shares).astype(np.float64)
        for group in mine:
            chosen = int(np.argmax(lacking))
            part[group] = chosen
            lacking[chosen] -= sizes[group]
    return part[member]

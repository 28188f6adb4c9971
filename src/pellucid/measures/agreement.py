"""How far two explanations of the same rows agree: rank correlations and overlaps of their strongest players.

Every function takes two arrays ``[N, n]`` (N rows, n players) and returns ``Float64[N]``. A player
whose value is NaN or infinite on either side is absent from that row on both. What is undefined is NaN.

Overlaps follow Krishna et al. 2022, "The Disagreement Problem in Explainable Machine Learning"
(arXiv 2202.01602), section 3; equal magnitudes are put in order by the player's index, and a row of
fewer than k players is judged on all it has.
"""

from __future__ import annotations

import numpy as np

from ..records.errors import InputError


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the signed values, ties at their average rank.

    NaN for fewer than two players or where one side is constant.
    """
    a, b = _pair(a, b)
    return _correlation(average_ranks(a), average_ranks(b))


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation. NaN for fewer than two players or where one side is constant."""
    return _correlation(*_pair(a, b))


def top_overlap(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """The share of the k strongest players (by magnitude) that both sides name ("feature agreement")."""
    a, b = _pair(a, b)
    return _share(_both_top(a, b, k), a, k)


def sign_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """The share of the k strongest players that both sides name with the same sign (zero is a sign of its own)."""
    a, b = _pair(a, b)
    return _share(_both_top(a, b, k) & (np.sign(a) == np.sign(b)), a, k)


def rank_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """The share of the k strongest players that both sides name at the same place."""
    a, b = _pair(a, b)
    return _share(_both_top(a, b, k) & (_places(a) == _places(b)), a, k)


def signed_rank_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """The share of the k strongest players that both sides name at the same place with the same sign."""
    a, b = _pair(a, b)
    same = (_places(a) == _places(b)) & (np.sign(a) == np.sign(b))
    return _share(_both_top(a, b, k) & same, a, k)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks 1 … n along the last axis, ties sharing their average rank; NaN stays NaN and takes no rank."""
    order = np.argsort(values, axis=-1, kind="stable")  # NaN goes last
    ordered = np.take_along_axis(values, order, axis=-1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    last = np.roll(new, -1, axis=-1)
    last[..., -1:] = True
    first = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    final = np.where(last, place, values.shape[-1])[..., ::-1]
    final = np.minimum.accumulate(final, axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + final) / 2 + 1, axis=-1)
    ranks[np.isnan(values)] = np.nan
    return ranks


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as ``Float64[N, n]``, NaN where either of them has no finite value."""
    a = np.atleast_2d(np.asarray(a, dtype=np.float64))
    b = np.atleast_2d(np.asarray(b, dtype=np.float64))
    if a.ndim != 2 or a.shape != b.shape:
        raise InputError(f"attributions to compare must be two arrays [N, n] of one shape, not {a.shape} and {b.shape}")
    present = np.isfinite(a) & np.isfinite(b)
    return np.where(present, a, np.nan), np.where(present, b, np.nan)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    present = ~np.isnan(a)
    count = present.sum(axis=1)
    a, b = _centred(a, present), _centred(b, present)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(count > 1, np.clip(value, -1.0, 1.0), np.nan)


def _centred(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Deviations from the row's mean in units of its range, so that nothing under- or overflows; 0 if constant."""
    if not values.size:
        return np.zeros(values.shape)
    low = np.where(present, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(present, values, -np.inf).max(axis=1, keepdims=True)
    # Halved first: the range of two finite numbers can overflow. A constant row becomes exactly zero.
    spread = np.where(high > low, high / 2 - low / 2, np.inf)
    with np.errstate(invalid="ignore"):
        scaled = np.where(present, (values / 2 - low / 2) / spread, 0.0)
    mean = scaled.sum(axis=1, keepdims=True) / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return np.where(present, scaled - mean, 0.0)


def _places(values: np.ndarray) -> np.ndarray:
    """The place of each player by falling magnitude, 0 first; absent players come last."""
    order = np.argsort(np.where(np.isnan(values), np.inf, -np.abs(values)), axis=1, kind="stable")
    places = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
    return places


def _both_top(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    if k < 1:
        raise InputError(f"agreement among the strongest players needs k ≥ 1, not {k}")
    return (_places(a) < k) & (_places(b) < k) & ~np.isnan(a)


def _share(agreed: np.ndarray, present: np.ndarray, k: int) -> np.ndarray:
    most = np.minimum(k, (~np.isnan(present)).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.where(most > 0, agreed.sum(axis=1) / most, np.nan)

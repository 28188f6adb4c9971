"""Indices of interaction: how the worth of a coalition is divided among the parts of one to a few players.

Every index here is a rule for unanimity games: of a game that is worth 1 to whoever has all s members of S, a part of
t of these members gets c_t(s), all others nothing. Any game is a sum of such games (its Möbius transform a), so a
part T gets Σ_{S ⊇ T} a(S) c_|T|(|S|).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb

import numpy as np

INDICES = ("k-SII", "SII", "STII", "FSII", "BII")
EFFICIENT = ("k-SII", "STII", "FSII")
"""Indices whose parts add up to v(everyone) − v(nobody)."""
_BERNOULLI = (Fraction(1), Fraction(-1, 2), Fraction(1, 6))


def share(index: str, largest: int, t: int, s: int) -> Fraction:
    """c_t(s): what each part of t players gets of a unanimity game of s ≥ t players, parts having ``largest`` at most.

    SII and BII: Grabisch & Roubens 1999 (the interaction indices of Shapley and Banzhaf). k-SII: Bordt & von Luxburg
    2023, arXiv 2209.04012 (n-Shapley values, the recursion with Bernoulli numbers solved). STII: Sundararajan,
    Dhamdhere & Agarwal 2020, arXiv 1902.05622. FSII: Tsai, Yeh & Ravikumar 2023, arXiv 2203.00870 (Faith-Shap by
    the Möbius transform).
    """
    more = s - t
    if index == "SII":
        return Fraction(1, more + 1)
    if index == "BII":
        return Fraction(1, 2**more)
    if index == "k-SII":  # parts of up to k − t further players hand some of theirs on
        steps = range(min(largest - t, more) + 1)
        return sum((_BERNOULLI[j] * comb(more, j) / (more - j + 1) for j in steps), Fraction(0))
    if index == "STII":
        return Fraction(int(more == 0)) if t < largest else Fraction(1, comb(s, largest))
    if s <= largest:
        return Fraction(int(more == 0))
    sign, own = (-1) ** (largest - t), Fraction(t * comb(largest, t), largest + t)
    return sign * own * Fraction(comb(s - 1, largest), comb(s + largest - 1, largest + t))


@cache
def shares(index: str, largest: int, n: int) -> np.ndarray:
    """c_t(s) of all t = 0 … ``largest`` and s = 0 … n, ``Float64[largest + 1, n + 1]``, 0 where there is none."""
    table = np.zeros((largest + 1, n + 1))
    for t in range(1, largest + 1):
        for s in range(t, n + 1):
            table[t, s] = share(index, largest, t, s)
    table.setflags(write=False)
    return table


def of_game(worth: np.ndarray, index: str, parts: np.ndarray) -> np.ndarray:
    """The index ``Float64[Q, M]`` of ``parts`` ``Int[M, largest]`` from the worth ``Float64[Q, 2ⁿ]`` of all coalitions.

    Player i is bit i of a coalition's place. Two fast transforms (n 2ⁿ additions) for each size of part.
    """
    n = worth.shape[1].bit_length() - 1
    members = np.array([place.bit_count() for place in range(2**n)])
    table = shares(index, parts.shape[1], n)
    game, sizes = mobius(worth), (parts >= 0).sum(1)
    places = np.where(parts >= 0, 2 ** np.maximum(parts, 0), 0).sum(1)
    values = np.zeros((len(worth), len(parts)))
    for t in range(1, parts.shape[1] + 1):
        own = sizes == t
        values[:, own] = _sums_above(game * table[t][members])[:, places[own]]
    return values


def mobius(worth: np.ndarray) -> np.ndarray:
    """a(S) = Σ_{R ⊆ S} (−1)^(|S| − |R|) v(R) of all coalitions, ``Float64[Q, 2ⁿ]``."""
    found = np.array(worth, dtype=np.float64)
    for without, present in _halves(found):
        present -= without
    return found


def _sums_above(table: np.ndarray) -> np.ndarray:
    """Σ_{S ⊇ T} of a table over coalitions, for all T."""
    for without, present in _halves(table):
        without += present
    return table


def _halves(table: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each player, views of a table ``[Q, 2ⁿ]``: the coalitions without the player, and the same with it."""
    n = table.shape[1].bit_length() - 1
    views = [table.reshape(len(table), 2 ** (n - 1 - player), 2, 2**player) for player in range(n)]
    return [(view[:, :, 0], view[:, :, 1]) for view in views]

"""Permutation Shapley against the definition, a slow twin that walks its orders, and its standard errors' cover."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest

import pellucid
from pellucid.methods.permutation_shapley import _walk
from pellucid.removals import Constant


def explained(function, n, **given):
    return pellucid.explain(function, np.ones((1, n)), "permutation_shapley", removal=Constant(0.0), **given)


def tabled(n, seed=0):
    """A game of random numbers as a black box, and as a function of a set."""
    table = np.random.default_rng(seed).normal(size=2**n)
    powers = 2 ** np.arange(n)
    return lambda rows: table[(np.asarray(rows) > 0.5) @ powers], lambda present: table[sum(1 << i for i in present)]


def along(worth, order):
    """What each player adds on arriving in this order."""
    found, present = np.zeros(len(order)), set()
    for player in order:
        before = worth(present)
        present = present | {player}
        found[player] = worth(present) - before
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_with_all_coalitions_it_is_the_definition(n):
    function, worth = tabled(n, n)
    wanted = sum(along(worth, order) for order in permutations(range(n))) / factorial(n)
    for given in ({}, {"budget": 2**n}, {"samples": 2**n}):
        e = explained(function, n, **given)
        np.testing.assert_allclose(e.values[0], wanted, atol=1e-10)
        assert e.notes["exact"] and not e.stderr.any()


@pytest.mark.parametrize(("n", "budget"), [(5, 6), (5, 10), (6, 40), (9, 18), (9, 60), (12, 200)])
def test_it_is_the_mean_over_its_orders_walked_one_by_one(n, budget):
    function, worth = tabled(n, 3)
    walk = _walk(np.random.default_rng(1), n, budget)
    orders = np.argsort((walk.coalitions.sum(1)[walk.before - 1] * (walk.before > 0)), axis=1)
    values = np.append(np.append(worth(set()), function(walk.coalitions)), worth(set(range(n))))
    found, errors = walk.along(values[:, None])
    seen = np.array([along(worth, order) for order in orders])
    np.testing.assert_allclose(found[0], seen.mean(0), atol=1e-12)
    assert len(walk.coalitions) == len(np.unique(walk.coalitions, axis=0)) <= budget - 2
    if budget < 2 * n:
        assert len(orders) == 1
    else:
        assert (orders[0::2] == orders[1::2, ::-1]).all()
    pairs = (seen[0::2] + seen[1::2]) / 2 if len(seen) > 1 else seen
    if len(pairs) > 1:
        own = len(pairs) - 1  # degrees of freedom; two more are lent by the mean over all players
        variance = (own * pairs.var(0, ddof=1) + 2 * pairs.var(0, ddof=1).mean()) / (own + 2)
        quantile = {3: 2.353, 7: 1.895}.get(own + 2)
        told = errors[0] / np.sqrt(variance / len(pairs)) * 1.645
        assert np.ptp(told) < 1e-9 and (1.7 < told[0] < 2.4 if quantile is None else abs(told[0] - quantile) < 5e-3)


def test_what_recurs_is_not_paid_twice():
    function, _ = tabled(8)
    e = explained(function, 8, samples=150)
    assert e.notes["orders"] * 7 > 150  # more prefixes than evaluations
    assert e.cost.evaluations <= 150


@pytest.mark.parametrize("n", [2, 4, 12, 40])
def test_an_additive_game_is_exact_from_n_plus_one_evaluations(n):
    weights = np.random.default_rng(n).normal(size=n)
    for budget in (n + 1, 2 * n - 1, 2 * n, 5 * n):
        e = explained(lambda rows: np.asarray(rows) @ weights, n, budget=budget)
        np.testing.assert_allclose(e.values[0], weights, atol=1e-12)


def test_a_single_pair_says_nothing_of_its_error():
    function, _ = tabled(10)
    for budget in (11, 19, 20, 30):
        assert np.isnan(explained(function, 10, budget=budget).stderr).all()
    assert (explained(function, 10, budget=60).stderr > 0).all()


def test_a_budget_below_one_order_is_a_sentence():
    with pytest.raises(pellucid.PellucidError, match="needs at least 11 evaluations"):
        explained(lambda rows: np.asarray(rows).sum(1), 10, budget=10)


def test_games_of_pairs_are_exact_with_an_order_and_its_reverse():
    """Hence a player who does nothing gets nothing, and alike players get the same."""
    matrix = np.triu(np.random.default_rng(4).normal(size=(9, 9)))
    matrix[3], matrix[:, 3] = 0, 0

    def function(rows):
        return np.einsum("bi,ij,bj->b", np.asarray(rows), matrix, np.asarray(rows))

    wanted = np.diag(matrix) + (matrix + matrix.T - 2 * np.diag(np.diag(matrix))).sum(1) / 2
    e = explained(function, 9, budget=18)
    np.testing.assert_allclose(e.values[0], wanted, atol=1e-12)
    assert e.values[0, 3] == 0


def test_nothing_changes_nothing():
    for n in (1, 3, 30):
        e = explained(lambda rows: np.full(len(rows), 0.25), n, budget=5 * n)
        assert not e.values.any() and not np.nan_to_num(e.stderr).any()
        assert e.values.sum() == 0


TANH = np.random.default_rng(4).normal(size=(8, 5))


def three_way(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return np.tanh(rows @ TANH).sum(1) + rows[:, 0] * rows[:, 1] * rows[:, 2] - rows[:, 3] * rows[:, 4] * rows[:, 5]


def products(rows):
    """Sparse interactions of three and four: two pairs of orders have seen no spread of most players."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows[:, [0, 1, 2]].prod(1) - 2 * rows[:, [3, 4, 5, 6]].prod(1) + rows[:, [0, 6, 7]].prod(1) + rows[:, 2]


@pytest.mark.parametrize("game", [three_way, products])
@pytest.mark.parametrize("budget", [40, 80])
def test_intervals_cover_the_truth(game, budget):
    """Nominal 90 %; measured 86–96 % over eight games of 10 to 32 players and budgets of 5n to 40n."""
    truth = pellucid.explain(game, np.ones((1, 8)), "exact_shapley", removal=Constant(0.0)).values
    hits = []
    for seed in range(200):
        e = explained(game, 8, budget=budget, seed=seed)
        hits.append(np.abs(e.values - truth) <= 1.645 * e.stderr + 1e-12)
    assert 0.83 <= np.mean(hits) <= 0.97

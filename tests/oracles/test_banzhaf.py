"""Banzhaf values against the definition, games with known answers, the least-squares line, and their errors' cover."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import pellucid
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.removals import Constant


def game(n, worth):
    """A game v(set) as a black box over rows of ones and zeros, and its only row."""

    def function(rows):
        return np.array([float(worth({i for i in range(n) if row[i] > 0.5})) for row in np.asarray(rows)])

    return function, np.ones((1, n))


def solved(worth, n, **settings):
    function, row = game(n, worth)
    return pellucid.explain(function, row, "banzhaf", removal=Constant(0.0), **settings)


def from_the_definition(worth, n):
    """The mean of v(S ∪ i) − v(S) over the coalitions without i (Banzhaf 1965)."""
    values = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            for chosen in combinations(others, size):
                values[i] += worth({*chosen, i}) - worth(set(chosen))
    return values / 2 ** (n - 1)


GAMES = {
    "majority of three": (3, lambda s: len(s) >= 2, [0.5, 0.5, 0.5]),
    "glove": (3, lambda s: min(len(s & {0}), len(s & {1, 2})), [0.75, 0.25, 0.25]),
    "unanimity of three among five": (5, lambda s: {0, 2, 3} <= s, [0.25, 0, 0.25, 0.25, 0]),
    "weighted majority": (3, lambda s: sum([2, 1, 1][i] for i in s) >= 3, [0.75, 0.25, 0.25]),
    "additive": (5, lambda s: sum([1.0, -2.0, 3.0, 0.5, 0.0][i] for i in s), [1.0, -2.0, 3.0, 0.5, 0.0]),
    "alone": (1, lambda s: 2.0 * len(s) + 1, [2.0]),
    "two": (2, lambda s: float({0, 1} <= s), [0.5, 0.5]),
}


@pytest.mark.parametrize("name", GAMES)
def test_games_with_known_answers(name):
    n, worth, wanted = GAMES[name]
    e = solved(worth, n)
    np.testing.assert_allclose(e.values[0], wanted, atol=1e-12)
    assert e.notes["exact"] and not e.stderr.any() and np.isnan(e.gap[0])


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_definition_and_the_least_squares_line(n):
    table = np.random.default_rng(n).normal(size=2**n)
    wanted = from_the_definition(lambda s: table[sum(1 << i for i in s)], n)
    values = solved(lambda s: table[sum(1 << i for i in s)], n, budget=2**n).values[0]
    np.testing.assert_allclose(values, wanted, atol=1e-12)
    every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    line = np.linalg.lstsq(np.column_stack([every, np.ones(2**n)]), table, rcond=None)[0]
    np.testing.assert_allclose(values, line[:n], atol=1e-12)


@pytest.mark.parametrize("n", [4, 12, 25, 80])
def test_an_additive_game_is_exact_from_the_smallest_budget_on(n):
    weights = np.random.default_rng(n).normal(size=n)
    for samples in (min(2 * n + 2, 2**n), min(2 * n + 4, 2**n), 8 * n):
        e = pellucid.explain(
            lambda rows: np.asarray(rows) @ weights, np.ones((1, n)), "banzhaf", samples=samples, removal=Constant(0.0)
        )
        np.testing.assert_allclose(e.values[0], weights, atol=1e-9)
        assert np.nanmax(np.append(e.stderr, 0)) <= 1e-5  # what is left of a difference of sums
        assert np.isnan(e.stderr).all() == (samples == 2 * n + 2)


WEIGHTS = np.random.default_rng(4).normal(size=(10, 5))


def smooth(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return np.tanh(rows @ WEIGHTS).sum(1) + rows[:, 0] * rows[:, 1] * rows[:, 2] - rows[:, 3] * rows[:, 4] * rows[:, 5]


@pytest.mark.parametrize("samples", [60, 200, 700])
def test_standard_errors_cover_the_truth(samples):
    row = np.ones((1, 10))
    truth = pellucid.explain(smooth, row, "banzhaf", removal=Constant(0.0)).values
    hits, errors, told = [], [], []
    for seed in range(200):
        e = pellucid.explain(smooth, row, "banzhaf", samples=samples, seed=seed, removal=Constant(0.0))
        hits.append(np.abs(e.values - truth) <= 1.645 * e.stderr)
        errors.append(e.values - truth)
        told.append(e.stderr)
    assert 0.84 <= np.mean(hits) <= 0.96
    assert np.sqrt(np.mean(np.square(told)) / np.mean(np.square(errors))) == pytest.approx(1.0, abs=0.15)
    assert np.abs(np.mean(errors, 0)).max() <= 4 * np.std(errors, 0).max() / np.sqrt(200)


def test_sixteen_players_are_enumerated_where_the_budget_allows():
    def product(rows):
        return np.prod(np.asarray(rows)[:, :3], axis=1)

    e = pellucid.explain(product, np.ones((1, 16)), "banzhaf", removal=Constant(0.0), budget=2**16)
    np.testing.assert_allclose(e.values[0], [0.25] * 3 + [0.0] * 13, atol=1e-12)
    assert e.notes["exact"]
    assert not pellucid.explain(product, np.ones((1, 16)), "banzhaf", removal=Constant(0.0)).notes["exact"]


def test_too_small_a_budget_is_refused():
    with pytest.raises(BudgetError, match="at least 42 evaluations"):
        pellucid.explain(lambda rows: np.asarray(rows).sum(1), np.ones((1, 20)), "banzhaf", budget=41)
    with pytest.raises(NotApplicable, match="at least 42 evaluations, samples=30"):
        pellucid.explain(lambda rows: np.asarray(rows).sum(1), np.ones((1, 20)), "banzhaf", samples=30)


@pytest.mark.parametrize("method", ["banzhaf", "kernel_shapley", "amortised_shapley"])
def test_more_players_than_a_float_counts_coalitions_of(method) -> None:
    """As long texts have them."""
    n = 1100
    slopes = np.random.default_rng(0).normal(size=n)
    e = pellucid.explain(lambda rows: np.asarray(rows) @ slopes, np.ones((1, n)), method, removal=Constant(0.0),
                         budget=2400)  # fmt: skip
    np.testing.assert_allclose(e.values[0], slopes, atol=1e-6)

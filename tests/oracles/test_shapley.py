"""Shapley values against the definition by permutations, games with known answers, and their standard errors' cover."""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.methods.coalition_design import drawn_pairs
from pellucid.methods.kernel_shapley import CALM, fitted_to
from pellucid.removals import Constant, Marginal


def game(n, worth):
    """A game v(set) as a black box over rows of ones and zeros, and its only row."""

    def function(rows):
        return np.array([float(worth({i for i in range(n) if row[i] > 0.5})) for row in np.asarray(rows)])

    return function, np.ones((1, n))


def from_the_definition(worth, n):
    """The mean marginal contribution over all orders (Shapley 1953)."""
    total = np.zeros(n)
    for order in permutations(range(n)):
        present = set()
        for player in order:
            before = worth(present)
            present = present | {player}
            total[player] += worth(present) - before
    return total / factorial(n)


def solved(worth, n, method="exact_shapley", **settings):
    function, row = game(n, worth)
    return pellucid.explain(function, row, method, removal=Constant(0.0), **settings).values[0]


GAMES = {
    "unanimity": (4, lambda s: {0, 2} <= s, [0.5, 0, 0.5, 0]),
    "glove": (3, lambda s: min(len(s & {0}), len(s & {1, 2})), [2 / 3, 1 / 6, 1 / 6]),
    # Littlechild & Owen 1973: a runway of cost c is shared by all who need it that long.
    "airport": (3, lambda s: max(([8.0, 11.0, 13.0][i] for i in s), default=0), [8 / 3, 8 / 3 + 1.5, 8 / 3 + 1.5 + 2]),
    "weighted majority": (3, lambda s: sum([2, 1, 1][i] for i in s) >= 3, [2 / 3, 1 / 6, 1 / 6]),
    "additive": (5, lambda s: sum([1.0, -2.0, 3.0, 0.5, 0.0][i] for i in s), [1.0, -2.0, 3.0, 0.5, 0.0]),
}


@pytest.mark.parametrize("name", GAMES)
def test_games_with_known_answers(name):
    n, worth, wanted = GAMES[name]
    np.testing.assert_allclose(solved(worth, n), wanted, atol=1e-12)
    np.testing.assert_allclose(solved(worth, n, "kernel_shapley", samples=2**n), wanted, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_every_estimator_at_full_budget_is_the_definition(n):
    table = np.random.default_rng(n).normal(size=2**n)

    def worth(present):
        return table[sum(1 << i for i in present)]

    wanted = from_the_definition(worth, n)
    np.testing.assert_allclose(solved(worth, n), wanted, atol=1e-10)
    np.testing.assert_allclose(solved(worth, n, "kernel_shapley"), wanted, atol=1e-10)
    np.testing.assert_allclose(solved(worth, n, "kernel_shapley", budget=2**n), wanted, atol=1e-10)


def test_ten_players_by_the_formula_over_coalitions():
    n, table = 10, np.random.default_rng(0).normal(size=2**10)
    wanted = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            for chosen in combinations(others, size):
                place = sum(1 << j for j in chosen)
                wanted[i] += (table[place | 1 << i] - table[place]) / (n * comb(n - 1, size))

    def worth(present):
        return table[sum(1 << i for i in present)]

    np.testing.assert_allclose(solved(worth, n), wanted, atol=1e-10)
    np.testing.assert_allclose(solved(worth, n, "kernel_shapley"), wanted, atol=1e-10)


@pytest.mark.parametrize("n", [4, 12, 25, 60])
def test_an_additive_game_is_exact_at_any_budget_and_no_player_is_dropped(n):
    weights = np.random.default_rng(n).normal(size=n)
    for samples in sorted({min(2 * n, 2**n), min(2 * n + 2, 2**n), min(3 * n, 2**n), 8 * n}):
        e = pellucid.explain(
            lambda rows: np.asarray(rows) @ weights, np.ones((1, n)), "kernel_shapley", samples=samples,
            removal=Constant(0.0),
        )  # fmt: skip
        np.testing.assert_allclose(e.values[0], weights, atol=1e-9, err_msg=f"{samples} samples")
        assert np.nanmax(np.append(e.stderr, 0)) <= 1e-5  # what is left of a difference of sums


def test_a_linear_model_against_an_independent_background():
    w = np.array([2.0, -1.0, 0.5])
    rng = np.random.default_rng(1)
    x, background = rng.normal(size=(4, 3)), rng.normal(size=(50, 3))
    wanted = w * (x - background.mean(0))
    for method in ("exact_shapley", "kernel_shapley"):
        e = pellucid.explain(lambda rows: rows @ w, x, method, background=background)
        np.testing.assert_allclose(e.values, wanted, atol=1e-10)
        np.testing.assert_allclose(e.base[:, 0], (background @ w).mean(), atol=1e-12)


def test_the_value_function_is_the_mean_of_the_target_not_the_target_of_the_mean():
    background = np.array([[-1.0, 0.0], [1.0, 2.0], [3.0, -2.0]])
    x = np.array([[0.5, 1.0]])

    def function(rows):
        return np.asarray(rows)[:, 0] ** 2 * np.asarray(rows)[:, 1] + np.asarray(rows)[:, 1] ** 2

    def worth(present):
        made = background.copy()
        for i in present:
            made[:, i] = x[0, i]
        return function(made).mean()

    e = pellucid.explain(function, x, "exact_shapley", background=background)
    np.testing.assert_allclose(e.values[0], from_the_definition(worth, 2), atol=1e-12)
    assert e.base[0, 0] == pytest.approx(worth(set()), abs=1e-12)


def test_float32_networks_agree_with_the_definition():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    x, background = torch.randn(2, 5), torch.randn(4, 5)
    e = pellucid.explain(net, x, "exact_shapley", background=background, target=("output 1", "output 0"))
    for row in range(2):

        def worth(present, row=row):
            made = background.clone()
            for i in present:
                made[:, i] = x[row, i]
            with torch.no_grad():
                out = net(made).double()
            return float((out[:, 1] - out[:, 0]).mean())

        np.testing.assert_allclose(e.values[row], from_the_definition(worth, 5), atol=1e-5)


def test_efficiency_symmetry_and_the_dummy_hold_on_every_run():
    def function(rows):
        rows = np.asarray(rows)
        return np.tanh(rows[:, 0] * 2 - rows[:, 2]) + (rows[:, 0] + rows[:, 1]) ** 2 * rows[:, 3] + rows[:, 1] * 0

    row = np.random.default_rng(3).normal(size=(1, 14))
    for seed in range(8):
        e = pellucid.explain(function, row, "kernel_shapley", samples=200, seed=seed, removal=Constant(0.0))
        assert e.values.sum() == pytest.approx(e.full[0, 0] - e.base[0, 0], abs=1e-9)
        assert np.abs(e.values[0, 4:] / np.maximum(e.stderr[0, 4:], 1e-12)).mean() < 2  # within their own errors


SMOOTH = np.random.default_rng(4).normal(size=(8, 5))


def three_way(rows):
    """Interactions of three, which pairs of coalitions do not cancel."""
    rows = np.asarray(rows, dtype=np.float64)
    return np.tanh(rows @ SMOOTH).sum(1) + rows[:, 0] * rows[:, 1] * rows[:, 2] - rows[:, 3] * rows[:, 4] * rows[:, 5]


@pytest.mark.parametrize("samples", [60, 120])
def test_standard_errors_of_kernel_shapley_cover_the_truth(samples):
    """Nominal 90 %; measured 86–95 % over nine games of 10 to 32 players and budgets of 5n to 40n."""
    row = np.ones((1, 8))
    truth = pellucid.explain(three_way, row, "exact_shapley", removal=Constant(0.0)).values
    hits, errors, told = [], [], []
    for seed in range(200):
        e = pellucid.explain(three_way, row, "kernel_shapley", samples=samples, seed=seed, removal=Constant(0.0))
        hits.append(np.abs(e.values - truth) <= 1.645 * e.stderr)
        errors.append(e.values - truth)
        told.append(e.stderr)
    assert 0.80 <= np.mean(hits) <= 0.97
    assert np.sqrt(np.mean(np.square(told)) / np.mean(np.square(errors))) == pytest.approx(1.0, abs=0.3)


def test_standard_errors_know_that_partitions_of_the_players_balance_each_other():
    """Without the design's effect they are half as large again as the errors of a sparse game."""

    def sparse(rows):
        rows = np.asarray(rows, dtype=np.float64)
        return sum(rows[:, [k, (k + 3) % 12, (2 * k + 7) % 12]].prod(1) * (k - 3) for k in range(8))

    row = np.ones((1, 12))
    truth = pellucid.explain(sparse, row, "exact_shapley", removal=Constant(0.0)).values
    runs = [
        pellucid.explain(sparse, row, "kernel_shapley", samples=240, seed=seed, removal=Constant(0.0))
        for seed in range(100)
    ]
    told = np.sqrt(np.mean([np.square(e.stderr) for e in runs]))
    assert told / np.sqrt(np.mean([np.square(e.values - truth) for e in runs])) == pytest.approx(1.1, abs=0.2)


def test_the_effect_of_the_design_is_that_of_sums_over_partitions():
    """Pair by pair as in the docstring, with the runs found anew: sets of one size in which no player stands twice."""
    fit = fitted_to(drawn_pairs(np.random.default_rng(1), 9, 60))
    residual = np.random.default_rng(2).normal(size=60)
    together, apart, runs, seen, size, sums = 0.0, 0.0, 0, set(range(9)), 0, np.zeros(9)
    for first, weight, r in zip(fit.pairs.first, fit.solve, residual, strict=True):
        smaller = {i for i in range(9) if first[i] == (2 * first.sum() < 9)}
        if (np.minimum(fit.pairs.first.sum(1), 9 - fit.pairs.first.sum(1)) == len(smaller)).sum() == comb(
            9, len(smaller)
        ):
            continue  # a size that was drawn whole
        if len(smaller) != size or seen & smaller:
            together, runs = together + (sums**2).sum(), runs + 1
            seen, size, sums = set(), len(smaller), np.zeros(9)
        seen |= smaller
        sums = sums + weight * r
        apart += ((weight * r) ** 2).sum()
    together += (sums**2).sum()
    wanted = (together / apart * runs + CALM) / (runs + CALM)
    assert fit.balance.effect(residual[None])[0] == pytest.approx(wanted, rel=1e-9)


def test_the_error_falls_with_the_root_of_the_samples():
    weights = np.random.default_rng(5).normal(size=(24, 6))

    def function(rows):
        return np.tanh(np.asarray(rows) @ weights / 2).sum(1)

    row = np.ones((1, 24))
    truth = pellucid.explain(function, row, "kernel_shapley", samples=100_000, removal=Constant(0.0)).values
    root = []
    for samples in (200, 3200):
        runs = [
            pellucid.explain(function, row, "kernel_shapley", samples=samples, seed=s, removal=Constant(0.0)).values
            for s in range(12)
        ]
        root.append(np.sqrt(np.mean(np.square(np.array(runs) - truth))))
    assert 2.5 < root[0] / root[1] < 8  # four times by theory for sixteen times the samples


def test_seeds():
    row = np.random.default_rng(6).normal(size=(2, 12))
    weights = np.random.default_rng(7).normal(size=(12, 4))
    given = {"removal": Constant(0.0), "samples": 100}
    one, again, other = (
        pellucid.explain(lambda rows: np.tanh(rows @ weights).sum(1), row, "kernel_shapley", seed=seed, **given).values
        for seed in (1, 1, 2)
    )
    assert one.tobytes() == again.tobytes()
    assert not np.array_equal(one, other)


def test_background_of_one_row_is_a_constant_and_several_are_a_mean():
    def function(rows):
        return np.asarray(rows)[:, 0] * np.asarray(rows)[:, 1]

    x, background = np.array([[2.0, 3.0]]), np.array([[1.0, 1.0], [0.0, 5.0]])
    single = [pellucid.explain(function, x, "exact_shapley", background=background[k : k + 1]).values for k in range(2)]
    both = pellucid.explain(function, x, "exact_shapley", removal=Marginal(background)).values
    np.testing.assert_allclose(both, np.mean(single, axis=0), atol=1e-12)
